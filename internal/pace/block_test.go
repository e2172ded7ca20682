package pace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestMeasure checks what blocks come to. Times are in seconds. A block begins at the refusal and ends when a
// probe is accepted.
func TestMeasure(t *testing.T) {
	type block struct {
		accepted        []float64 // since the block before
		refused, probed float64
	}
	burst := func(n int, from float64) (accepted []float64) {
		for i := range n {
			accepted = append(accepted, from+float64(i)/100)
		}
		return accepted
	}
	tests := []struct {
		name   string
		blocks []block
		rate   float64 // per second
	}{
		{"burst from idle: the window is from its first request to the probe", []block{
			{append([]float64{1}, burst(20, 1000)...), 1001, 1060},
		}, 20.0 / 60},
		{"steady traffic, then refused: at least as long before the block as the block", []block{
			{[]float64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 100, 150},
		}, 5.0 / 90},
		{"whole cycle: from probe to probe", []block{
			{burst(20, 0), 1, 40},
			{[]float64{42, 44, 46, 48, 50, 52, 54, 56, 58}, 60, 70},
		}, 10.0 / 30},
		{"what was accepted before the last block does not count", []block{
			{[]float64{0.6, 0.61}, 1, 4},
			{nil, 4.2, 8},
		}, 1.0 / 4},
		{"nothing accepted before: a guess", []block{
			{nil, 0, 40},
		}, guess / 40.0},
		{"refused for hours, nothing accepted before: no rarer than probes", []block{
			{nil, 0, 4 * 3600},
		}, 1.0 / 120},
		{"nothing accepted for long: half the rate before", []block{
			{burst(20, 0), 1, 40},
			{nil, 41, 400},
		}, 10.0 / 40},
		{"more accepted than the rate before: a little less", []block{
			{burst(20, 0), 1, 40},
			{burst(30, 41), 42, 70},
		}, 0.95 * 20 / 40},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s share
			var h history
			seconds := func(at float64) time.Duration { return time.Duration(at * float64(time.Second)) }
			for _, b := range tt.blocks {
				for _, at := range b.accepted {
					h.add(seconds(at), true)
				}
				h.add(seconds(b.refused), false)
				s.refuse(seconds(b.refused), 0)
				s.measure(seconds(b.probed), &h)
				h.add(seconds(b.probed), true)
			}
			assert.InEpsilon(t, tt.rate, s.size/s.window.Seconds(), 0.02)
			assert.GreaterOrEqual(t, s.size, 9.0, "large enough for increases in steps")
		})
	}
}

func TestIntervalIsBounded(t *testing.T) {
	assert.Equal(t, 10*time.Minute, (&share{size: 1e-30, window: time.Minute}).interval())
	assert.Equal(t, time.Hour, (&share{size: 1e-30, window: maxPer}).interval())
	assert.Zero(t, new(share).interval())
}
