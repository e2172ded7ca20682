package pace

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestParseHint(t *testing.T) {
	const reached = "The throttling threshold has been reached: policy user over ratelimit,"
	tests := []struct {
		name, text string
		requests   int
		per        time.Duration
	}{
		{"seen on the CDN", reached + "limit:20,time:1 minute", 20, time.Minute},
		{"several minutes", reached + "limit:200,time:5 minute", 200, 5 * time.Minute},
		{"second", reached + "limit:5,time:1 second", 5, time.Second},
		{"hours", reached + "limit:100,time:2 hours", 100, 2 * time.Hour},
		{"day", reached + "limit:100,time:1 day", 100, 24 * time.Hour},
		{"within JSON", `{"error_msg":"over ratelimit,limit:20,time:1 minute","error_code":"APIGW.0308"}`, 20, time.Minute},
		{"upper case and spaces", "LIMIT: 20, TIME: 1 Minutes.", 20, time.Minute},
		{"no time is per second", reached + "limit:20", 20, time.Second},
		{"the most", "limit:10000,time:31 day", 10_000, 31 * 24 * time.Hour},

		{"no limit", "too many requests", 0, 0},
		{"empty", "", 0, 0},
		{"ratelimit is no limit", "ratelimit:20,time:1 minute", 0, 0},
		{"limit zero", "limit:0,time:1 minute", 0, 0},
		{"limit negative", "limit:-1,time:1 minute", 0, 0},
		{"limit absurd", "limit:10001,time:1 minute", 0, 0},
		{"limit overflows", "limit:99999999999999999999,time:1 minute", 0, 0},
		{"time zero", "limit:20,time:0 minute", 0, 0},
		{"time absurd", "limit:20,time:32 day", 0, 0},
		{"time overflows", "limit:20,time:99999999999999999999 second", 0, 0},
		{"time without number", "limit:20,time:minute", 0, 0},
		{"time without unit", "limit:20,time:1", 0, 0},
		{"unknown unit", "limit:20,time:1 fortnight", 0, 0},
		{"after 4 KiB", strings.Repeat("x", 4<<10) + " limit:20,time:1 minute", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, Hint{tt.requests, tt.per, 7 * time.Second}, ParseHint(tt.text, 7*time.Second))
		})
	}
	assert.Zero(t, ParseHint("", -time.Second), "a negative Retry-After is none")
}

func FuzzParseHint(f *testing.F) {
	f.Add("policy user over ratelimit,limit:20,time:1 minute", int64(0))
	f.Add("limit:9223372036854775807,time:9223372036854775807 day", int64(math.MaxInt64))
	f.Add("limit:1,time:1 \xff", int64(-1))
	f.Fuzz(func(t *testing.T, text string, retryAfter int64) {
		hint := ParseHint(text, time.Duration(retryAfter))
		assert.GreaterOrEqual(t, hint.RetryAfter, time.Duration(0))
		assert.Equal(t, hint.Requests > 0, hint.Per > 0, "both or none")
		assert.True(t, hint.Requests >= 0 && hint.Requests <= maxRequests)
		assert.True(t, hint.Per == 0 || hint.Per >= time.Second && hint.Per <= maxPer)

		// No hint, however hostile, stops the pacer for good or makes it panic.
		p := New(Config{})
		turn, err := p.Wait(t.Context(), Normal, time.Time{})
		if assert.NoError(t, err) {
			turn.Refused(hint)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		now := p.now()
		for _, n := range []int{1, 2, 100, maxRequests} {
			at := p.share.turn(n, now, p.inFlight(), &p.history)
			assert.GreaterOrEqual(t, at, now)
		}
		assert.LessOrEqual(t, p.share.turn(1, now, 0, &p.history)-now, maxPer/8)
	})
}
