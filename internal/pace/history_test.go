package pace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// TestHistory compares a history with the slice of everything that was added.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		var all []outcome
		var at time.Duration
		check := func(t *rapid.T) {
			capacity := max(keepAtLeast, len(h.ring))
			from := time.Duration(rapid.Int64Range(-1, int64(at)+1).Draw(t, "from"))
			younger, count, first := 0, 0, time.Duration(0)
			for _, o := range all[max(0, len(all)-capacity):] {
				if o.at <= from {
					continue
				}
				younger++
				if o.accepted {
					if count++; count == 1 {
						first = o.at
					}
				}
			}
			gotCount, gotFirst := h.accepted(from)
			assert.Equal(t, younger, h.next-h.since(from))
			assert.Equal(t, count, gotCount)
			assert.Equal(t, first, gotFirst)
		}
		for range rapid.IntRange(0, 4).Draw(t, "rounds") {
			for range rapid.SampledFrom([]int{0, 1, 10, 1000}).Draw(t, "outcomes") {
				at += time.Duration(rapid.IntRange(0, 3).Draw(t, "later"))
				o := outcome{at, rapid.Bool().Draw(t, "accepted")}
				h.add(o.at, o.accepted)
				all = append(all, o)
			}
			check(t)
			if rapid.Bool().Draw(t, "grow") {
				all = all[max(0, len(all)-max(keepAtLeast, len(h.ring))):]
				h.grow(len(h.ring) + 700)
				check(t)
			}
		}
	})
}
