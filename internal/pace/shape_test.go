package pace

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// TestShapes checks that one client keeps quotas of every size and window, in about the time that they allow.
func TestShapes(t *testing.T) {
	shapes := []struct {
		n   int
		per time.Duration
	}{{1, time.Second}, {5, time.Second}, {1, time.Minute}, {200, 5 * time.Minute}, {1000, time.Hour}}
	goals := map[hints]struct{ time, refused float64 }{withText: {1.15, 0.1}, withRetryAfter: {1.6, 0.35}, withNothing: {2, 0.4}}
	for _, shape := range shapes {
		for _, kind := range pacetest.Kinds() {
			for h, goal := range goals {
				r := load{
					limiter: &pacetest.Limiter{Kind: kind, N: shape.n, Per: shape.per, RefusedCount: true},
					hints:   h, requests: max(6*shape.n, 60), clients: 1, workers: 4, seed: 1,
				}.run(t)
				assert.LessOrEqual(t, r.ratio(), goal.time, "time: %d per %v, %v, %v", shape.n, shape.per, kind, h)
				assert.LessOrEqual(t, r.share(), goal.refused, "refused: %d per %v, %v, %v", shape.n, shape.per, kind, h)
			}
		}
	}
}

// script has a pacer alone at a service that serve plays, for a time. It returns the requests that were accepted and
// refused in each minute.
func script(t *testing.T, p *Pacer, duration time.Duration, serve func(now time.Time) (Hint, bool)) (accepted, refused []int) {
	t.Helper()
	minutes := int(duration / time.Minute)
	accepted, refused = make([]int, minutes), make([]int, minutes)
	for start := time.Now(); ; {
		turn := mustWait(t, p)
		minute := int(time.Since(start) / time.Minute)
		if minute >= minutes {
			turn.Unsent()
			return accepted, refused
		}
		time.Sleep(20 * time.Millisecond)
		hint, ok := serve(time.Now())
		time.Sleep(20 * time.Millisecond)
		if ok {
			accepted[minute]++
			turn.Allowed()
			continue
		}
		refused[minute]++
		turn.Refused(hint)
	}
}

func sum(counts []int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func sliding(n int, per time.Duration) *pacetest.Limiter {
	return &pacetest.Limiter{Kind: pacetest.Sliding, N: n, Per: per, RefusedCount: true}
}

func TestQuotaThatChanges(t *testing.T) {
	for h := withText; h <= withNothing; h++ {
		for _, change := range []struct{ from, to int }{{20, 10}, {20, 40}, {60, 6}, {6, 60}} {
			synctest.Test(t, func(t *testing.T) {
				p := New(Config{})
				use := func(n int) func(time.Time) (Hint, bool) {
					l := sliding(n, time.Minute)
					return func(now time.Time) (Hint, bool) {
						ok, retryAfter := l.Allow(now)
						return h.of(l, retryAfter), ok
					}
				}
				script(t, p, 20*time.Minute, use(change.from))
				script(t, p, 40*time.Minute, use(change.to))
				accepted, refused := script(t, p, time.Hour, use(change.to))
				assert.GreaterOrEqual(t, sum(accepted), 60*change.to*8/10, "%v, %+v", h, change)
				assert.LessOrEqual(t, sum(refused), sum(accepted)/10, "%v, %+v", h, change)
			})
		}
	}
}

// Two quotas are in force at once, as one for the API and one for the user.
func TestTwoQuotas(t *testing.T) {
	for h := withText; h <= withNothing; h++ {
		for _, quotas := range [][2]*pacetest.Limiter{
			{sliding(20, time.Minute), sliding(10, time.Minute)},
			{sliding(5, time.Minute), sliding(100, time.Hour)},
			{sliding(2, time.Second), sliding(200, 5*time.Minute)},
		} {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				p := New(Config{OnLearn: func(q Quota) { told++ }})
				serve := func(now time.Time) (Hint, bool) {
					for _, l := range quotas {
						if ok, retryAfter := l.Allow(now); !ok {
							return h.of(l, retryAfter), false
						}
					}
					return Hint{}, true
				}
				script(t, p, 2*time.Hour, serve)
				accepted, refused := script(t, p, 4*time.Hour, serve)
				strict := quotas[1]
				assert.GreaterOrEqual(t, sum(accepted), int(4*time.Hour/strict.Per)*strict.N*7/10, "%v, %s", h, strict.Text())
				assert.LessOrEqual(t, sum(refused), sum(accepted)/3, "%v, %s", h, strict.Text())
				if h == withText {
					assert.LessOrEqual(t, told, 2)
				}
			})
		}
	}
}

// Refusals that make no sense, or that a proxy sends, neither stop a client nor have it send without a pause.
func TestOddRefusals(t *testing.T) {
	for name, hint := range map[string]Hint{
		"no hint":               {},
		"limit:0":               ParseHint("limit:0,time:1 minute", 0),
		"time:0":                ParseHint("limit:20,time:0 minute", 0),
		"limit:-20":             ParseHint("limit:-20,time:1 minute", 0),
		"limit:10^9":            ParseHint("limit:1000000000,time:1 second", 0),
		"time:10^9 days":        ParseHint("limit:20,time:1000000000 day", 0),
		"limit without time":    ParseHint("limit:20", 0),
		"one in 31 days":        ParseHint("limit:1,time:31 day", 0),
		"Retry-After: hours":    {RetryAfter: 5 * time.Hour},
		"Retry-After, and text": ParseHint("limit:20,time:1 minute", 5*time.Hour),
		"Retry-After: the past": ParseHint("", -time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(Config{})
				accepted, refused := script(t, p, 4*time.Hour, func(time.Time) (Hint, bool) { return hint, false })
				assert.Zero(t, sum(accepted))
				assert.LessOrEqual(t, sum(refused[60:]), 3*120, "a service that refuses all is left alone")
				assert.GreaterOrEqual(t, sum(refused), 1)
				l := sliding(20, time.Minute)
				accepted, _ = script(t, p, 6*time.Hour, func(now time.Time) (Hint, bool) {
					ok, _ := l.Allow(now)
					return perMinute, ok
				})
				assert.GreaterOrEqual(t, sum(accepted[5*60:]), 60*20*8/10, "the true quota is found")
			})
			synctest.Test(t, func(t *testing.T) {
				p, l, requests := New(Config{}), sliding(20, time.Minute), 0
				accepted, _ := script(t, p, 4*time.Hour, func(now time.Time) (Hint, bool) {
					if requests++; requests == 100 || requests == 500 {
						return hint, false
					}
					ok, _ := l.Allow(now)
					return perMinute, ok
				})
				assert.GreaterOrEqual(t, sum(accepted[3*60:]), 60*20*8/10, "two of them in between cost little")
			})
		})
	}
}

// TestShare checks that four clients share a quota, and that one takes over the shares of the others.
func TestShare(t *testing.T) {
	for _, kind := range pacetest.Kinds() {
		for h := withText; h <= withNothing; h++ {
			synctest.Test(t, func(t *testing.T) {
				l := &pacetest.Limiter{Kind: kind, N: 20, Per: time.Minute, RefusedCount: true}
				pacers := [4]*Pacer{New(Config{}), New(Config{}), New(Config{}), New(Config{})}
				var accepted [4]int
				var all sync.WaitGroup
				for i, p := range pacers {
					all.Go(func() {
						time.Sleep(rand.N(time.Second))
						sent, refused := saturate(t, p, l, h, time.Hour)
						accepted[i] = sent - len(refused)
					})
				}
				all.Wait()
				total := sum(accepted[:])
				assert.GreaterOrEqual(t, total, 60*20*5/10, "%v, %v", kind, h)
				least := 5
				if h == withText {
					least = total / 20
				}
				for _, n := range accepted {
					assert.GreaterOrEqual(t, n, least, "%v, %v: %v", kind, h, accepted)
				}
				saturate(t, pacers[0], l, h, 30*time.Minute)
				sent, refused := saturate(t, pacers[0], l, h, 30*time.Minute)
				assert.GreaterOrEqual(t, sent-len(refused), 30*20*8/10, "alone: %v, %v", kind, h)
			})
		}
	}
}

// A probe hangs, so it has no outcome for hours. Others are probes meanwhile.
func TestProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(Hint{})
		hung := mustWait(t, p)
		start := time.Now()
		mustWait(t, p).Allowed()
		assert.Equal(t, maxProbe, time.Since(start))
		hung.Refused(Hint{})
		mustWait(t, p).Allowed()
		assert.Less(t, time.Since(start), 10*time.Minute)
	})
}

// The window is a day long and full, and refused requests count: requests that come too early must not keep it full.
func TestEarlyRequestsGrowRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := New(Config{}), sliding(1, 24*time.Hour)
		accepted, refused := script(t, p, 30*24*time.Hour, func(now time.Time) (Hint, bool) {
			ok, _ := l.Allow(now)
			return Hint{Requests: 1, Per: 24 * time.Hour}, ok
		})
		assert.GreaterOrEqual(t, sum(accepted), 8)
		assert.LessOrEqual(t, sum(refused), 120)
	})
}

func TestTenThousandWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		p := New(Config{})
		var all sync.WaitGroup
		var served atomic.Int32
		start := time.Now()
		for range n {
			all.Go(func() {
				turn := mustWait(t, p)
				time.Sleep(time.Second)
				turn.Refused(perMinute)
				turn, err := p.Wait(t.Context(), Normal, start.Add(15*time.Minute))
				if err != nil {
					assert.ErrorAs(t, err, new(*NoTurnError))
					return
				}
				served.Add(1)
				turn.Allowed()
			})
		}
		waiting := func() int {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.queue.len()
		}
		time.Sleep(2 * time.Second)
		assert.LessOrEqual(t, waiting(), 1000, "the rest was told at once")
		all.Wait()
		assert.LessOrEqual(t, time.Since(start), 15*time.Minute)
		assert.Greater(t, int(served.Load()), 15*20*6/10)
		assert.Zero(t, waiting())
	})
}
