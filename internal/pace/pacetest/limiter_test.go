package pacetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// TestLimiter checks each kind against its definition, over every stretch of time of a random script, and
// that Retry-After is the moment from which on the next request is accepted.
func TestLimiter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limiter{
			Kind: rapid.SampledFrom(Kinds()).Draw(t, "kind"),
			N:    rapid.IntRange(1, 6).Draw(t, "n"), Per: time.Minute,
			RefusedCount: rapid.Bool().Draw(t, "refusedCount"),
		}
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		var accepted []time.Time
		waited := false
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			ok, retryAfter := l.Allow(now)
			assert.True(t, ok || !waited, "accepted after Retry-After")
			if ok {
				accepted = append(accepted, now)
			}
			waited = !ok && rapid.Bool().Draw(t, "wait")
			if waited {
				assert.LessOrEqual(t, retryAfter, l.Per)
				now = now.Add(retryAfter + time.Nanosecond)
				continue
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second)
		}
		for i := range accepted {
			for j := i; j < len(accepted); j++ {
				span, count := accepted[j].Sub(accepted[i]), j-i+1
				var most int
				switch {
				case l.Kind == Bucket:
					most = l.N + int(float64(l.N)*float64(span)/float64(l.Per)+1e-6)
				case l.Kind == Sliding:
					most = l.N * (1 + int(span/l.Per))
				default:
					most = l.N * (2 + int(span/l.Per))
				}
				assert.LessOrEqual(t, count, most, "%d in %v", count, span)
			}
		}
	})
}

func TestText(t *testing.T) {
	l := Limiter{N: 20, Per: time.Minute}
	assert.Equal(t, "The throttling threshold has been reached: policy user over ratelimit,limit:20,time:1 minute", l.Text())
	l = Limiter{N: 5, Per: 10 * time.Second}
	assert.Equal(t, "The throttling threshold has been reached: policy user over ratelimit,limit:5,time:10 second", l.Text())
}
