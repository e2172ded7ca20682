package pace

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// saturate sends requests one after another until the time is over, as fast as p lets it, and returns the
// moments of refusals, from the start.
func saturate(t testing.TB, p *Pacer, l *pacetest.Limiter, h hints, duration time.Duration) (sent int, refused []time.Duration) {
	for start := time.Now(); time.Since(start) < duration; sent++ {
		turn, err := p.Wait(t.Context(), Normal, time.Time{})
		require.NoError(t, err)
		time.Sleep(50 * time.Millisecond)
		if ok, retryAfter := l.Allow(time.Now()); !ok {
			refused = append(refused, time.Since(start))
			turn.Refused(h.of(l, retryAfter))
			continue
		}
		turn.Allowed()
	}
	return sent, refused
}

func TestLearn(t *testing.T) {
	bubble := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
	unlimited := func() *pacetest.Limiter { return &pacetest.Limiter{N: 1e9, Per: time.Second} }
	isForgotten := func(p *Pacer) bool { return !p.limited.Load() }

	bubble("text: told once, with the service's numbers", func(t *testing.T) {
		var told []Quota
		p := New(Config{OnLearn: func(q Quota) { told = append(told, q) }})
		saturate(t, p, &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}, withText, time.Hour)
		assert.Equal(t, []Quota{{20, time.Minute, FromText}}, told)
		mustWait(t, p).Refused(Hint{Requests: 10, Per: time.Minute})
		assert.Equal(t, []Quota{{20, time.Minute, FromText}, {10, time.Minute, FromText}}, told, "a changed quota")
	})

	bubble("no text: told when measured", func(t *testing.T) {
		for h, source := range map[hints]Source{withRetryAfter: FromRetryAfter, withNothing: Measured} {
			var told []Quota
			p := New(Config{OnLearn: func(q Quota) { told = append(told, q) }})
			saturate(t, p, &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}, h, time.Hour)
			require.Len(t, told, 1)
			assert.Equal(t, source, told[0].Source)
			assert.InEpsilon(t, 20.0/60, told[0].rate(), 0.15)
		}
	})

	bubble("told outside the lock", func(t *testing.T) {
		var p *Pacer
		p = New(Config{OnLearn: func(Quota) {
			_, err := p.Wait(t.Context(), Normal, time.Now())
			assert.Error(t, err)
		}})
		mustWait(t, p).Refused(Hint{Requests: 1, Per: time.Minute})
	})

	bubble("quota still enforced: tried again and again, at a small price", func(t *testing.T) {
		p := New(Config{})
		l := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute, RefusedCount: true}
		sent, refused := saturate(t, p, l, withText, 12*time.Hour)
		assert.Greater(t, sent, 12*60*18)
		assert.Less(t, len(refused), 12)
		assert.False(t, isForgotten(p))
	})

	bubble("quota no longer enforced: forgotten", func(t *testing.T) {
		for h := withText; h <= withNothing; h++ {
			p := New(Config{})
			saturate(t, p, &pacetest.Limiter{N: 20, Per: time.Minute}, h, 5*time.Minute)
			assert.False(t, isForgotten(p))
			start := time.Now()
			for !isForgotten(p) {
				saturate(t, p, unlimited(), h, time.Minute)
				require.Less(t, time.Since(start), time.Hour)
			}
			mustWait(t, p).Refused(perMinute)
			assert.False(t, isForgotten(p), "learnt again")
		}
	})

	bubble("nothing had to wait: the quota is kept", func(t *testing.T) {
		p := New(Config{})
		l := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}
		saturate(t, p, l, withText, 2*time.Second)
		for range 200 {
			time.Sleep(time.Minute)
			mustWait(t, p).Allowed()
		}
		assert.False(t, isForgotten(p))
		assert.EqualValues(t, 20, p.share.size)
	})

	bubble("others used a part: one refusal decreases the share once", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		turns := make([]*Turn, 20)
		for i := range turns {
			turns[i] = mustWait(t, p)
		}
		for _, turn := range turns[:15] {
			turn.Allowed()
		}
		for _, turn := range turns[15:] {
			turn.Refused(perMinute)
		}
		assert.InDelta(t, 14, p.share.size, 0.01)
	})

	bubble("quota raised: the new text counts at once", func(t *testing.T) {
		p := New(Config{})
		saturate(t, p, &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}, withText, 5*time.Minute)
		sent, _ := saturate(t, p, &pacetest.Limiter{Kind: pacetest.Sliding, N: 40, Per: time.Minute}, withText, time.Hour)
		assert.Greater(t, sent, 40*60*7/10)
	})

	bubble("window used up by a process before: the whole quota within minutes", func(t *testing.T) {
		for h := withText; h <= withNothing; h++ {
			l := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute, RefusedCount: true}
			saturate(t, New(Config{}), l, h, 2*time.Second)
			p := New(Config{})
			saturate(t, p, l, h, 10*time.Minute)
			sent, refused := saturate(t, p, l, h, 10*time.Minute)
			assert.Greater(t, sent-len(refused), 110, "with %v", h)
		}
	})

	bubble("text without time, but the window is a minute: the true quota is found", func(t *testing.T) {
		for _, kind := range pacetest.Kinds() {
			l := &pacetest.Limiter{Kind: kind, N: 20, Per: time.Minute, RefusedCount: true}
			sent, refused := 0, 0
			p := New(Config{})
			for start := time.Now(); time.Since(start) < time.Hour; sent++ {
				turn := mustWait(t, p)
				if ok, _ := l.Allow(time.Now()); ok {
					turn.Allowed()
				} else {
					turn.Refused(ParseHint("limit:20", 0))
					refused++
				}
				time.Sleep(time.Millisecond)
			}
			assert.Greater(t, sent-refused, 20*60/4, kind.String())
			assert.Less(t, refused, sent/3, kind.String())
		}
	})

	bubble("a burst before the first refusal: the same window for all", func(t *testing.T) {
		p := New(Config{})
		l := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute, RefusedCount: true}
		var all sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for range 200 {
			all.Go(func() {
				for {
					turn := mustWait(t, p)
					time.Sleep(50 * time.Millisecond)
					ok, _ := l.Allow(time.Now())
					if ok {
						turn.Allowed()
						return
					}
					turn.Refused(perMinute)
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		start := time.Now()
		all.Wait()
		assert.Equal(t, 180, refused, "only those of the first burst")
		assert.InDelta(t, 9*61.2, time.Since(start).Seconds(), 2)
	})
}

// TestNeverRefusedAgain checks that a client which is alone meets no refusal after those of the requests that
// were in flight when the quota was learnt, for any quota, window, traffic and transit times.
func TestNeverRefusedAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &pacetest.Limiter{
			Kind:         rapid.SampledFrom(pacetest.Kinds()).Draw(rt, "kind"),
			N:            rapid.IntRange(1, 50).Draw(rt, "n"),
			Per:          rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute}).Draw(rt, "per"),
			RefusedCount: rapid.Bool().Draw(rt, "refusedCount"),
		}
		transit := rapid.SliceOfN(rapid.Int64Range(0, int64(l.Per/10)), 8, 8).Draw(rt, "transit")
		pause := rapid.SliceOfN(rapid.Int64Range(0, int64(l.Per)), 8, 8).Draw(rt, "pause")
		burst := rapid.SliceOfN(rapid.IntRange(1, 2*l.N), 8, 8).Draw(rt, "burst")
		synctest.Test(t, func(t *testing.T) {
			p := New(Config{})
			var all sync.WaitGroup
			var mu sync.Mutex
			for i := range 8 {
				for j := range burst[i] {
					all.Go(func() {
						for {
							turn := mustWait(t, p)
							late := !turn.free
							time.Sleep(time.Duration(transit[(i+j)%8]))
							mu.Lock()
							ok, _ := l.Allow(time.Now())
							mu.Unlock()
							time.Sleep(time.Duration(transit[(i+j+3)%8]))
							if ok {
								turn.Allowed()
								return
							}
							if late {
								assert.Less(rt, p.share.calm, time.Since(p.epoch)-p.share.refused, "refused within the quota")
							}
							turn.Refused(ParseHint(l.Text(), 0))
						}
					})
				}
				time.Sleep(time.Duration(pause[i]))
			}
			all.Wait()
		})
	})
}

func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{OnLearn: func(Quota) {}})
		l := &pacetest.Limiter{Kind: pacetest.Bucket, N: 50, Per: time.Second}
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				for j := range 40 {
					turn, err := p.Wait(t.Context(), Class(j%2), time.Now().Add(time.Duration(i)*time.Second))
					if err != nil {
						assert.ErrorAs(t, err, new(*NoTurnError))
						continue
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
					ok, retryAfter := l.Allow(time.Now())
					switch {
					case !ok:
						turn.Refused(hints(i%3).of(l, retryAfter))
					case j%7 == 0:
						turn.Unsent()
					default:
						turn.Allowed()
					}
				}
			})
		}
		all.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		assert.Zero(t, p.inFlight())
		assert.Zero(t, p.queue.len())
		assert.Nil(t, p.timer)
	})
}

func TestQuotaString(t *testing.T) {
	assert.Equal(t, "20 requests per 1m0s (from the 429's text)", Quota{20, time.Minute, FromText}.String())
	assert.Equal(t, "1 request per 3.2s (measured)", Quota{1, 3217 * time.Millisecond, Measured}.String())
	assert.Equal(t, "5 requests per 250ms (measured with Retry-After)", Quota{5, 250400 * time.Microsecond, FromRetryAfter}.String())
	assert.Equal(t, "a quota not known yet", Quota{}.String())
}
