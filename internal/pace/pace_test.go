package pace

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var perMinute = Hint{Requests: 20, Per: time.Minute}

// mustWait returns a turn, which must come.
func mustWait(t *testing.T, p *Pacer) *Turn {
	t.Helper()
	turn, err := p.Wait(t.Context(), Normal, time.Time{})
	require.NoError(t, err)
	return turn
}

// learnt returns a pacer that has used its quota of 20 per minute in the last 200 ms, and was refused once.
func learnt(t *testing.T) *Pacer {
	t.Helper()
	p := New(Config{})
	time.Sleep(time.Hour)
	for range 20 {
		mustWait(t, p).Allowed()
		time.Sleep(10 * time.Millisecond)
	}
	mustWait(t, p).Refused(perMinute)
	return p
}

// inOrder starts requests, one after another, and returns a function that waits for them and returns the
// names of those that had a turn, in the order of the turns.
func inOrder(t *testing.T, p *Pacer) (start func(name string, class Class), turns func() []string) {
	var mu sync.Mutex
	var order []string
	var all sync.WaitGroup
	start = func(name string, class Class) {
		all.Go(func() {
			turn, err := p.Wait(t.Context(), class, time.Time{})
			if !assert.NoError(t, err) {
				return
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			turn.Allowed()
		})
		synctest.Wait()
	}
	return start, func() []string { all.Wait(); return order }
}

func TestWait(t *testing.T) {
	bubble := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}

	bubble("no quota known: no request waits", func(t *testing.T) {
		p, start := New(Config{}), time.Now()
		for range 5000 {
			mustWait(t, p)
		}
		assert.Zero(t, time.Since(start))
	})

	bubble("full window: the next request waits until it leaves", func(t *testing.T) {
		p, start := learnt(t), time.Now()
		mustWait(t, p).Allowed()
		assert.InDelta(t, 60, time.Since(start).Seconds(), 2)
	})

	bubble("window with room: requests of a burst go at once", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		start := time.Now()
		for range 20 {
			mustWait(t, p).Allowed()
		}
		assert.Zero(t, time.Since(start))
		mustWait(t, p).Allowed()
		assert.InDelta(t, 60, time.Since(start).Seconds(), 2)
	})

	bubble("request in flight: it uses the window", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		flying := make([]*Turn, 20)
		for i := range flying {
			flying[i] = mustWait(t, p)
		}
		time.Sleep(5 * time.Minute)
		_, err := p.Wait(t.Context(), Normal, time.Now().Add(time.Second))
		require.Error(t, err)
		for _, turn := range flying {
			turn.Allowed()
		}
	})

	bubble("unsent: the next request has the turn", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		start := time.Now()
		turns := make([]*Turn, 20)
		for i := range turns {
			turns[i] = mustWait(t, p)
		}
		begin, order := inOrder(t, p)
		begin("waiting", Normal)
		time.Sleep(time.Second)
		turns[7].Unsent()
		assert.Equal(t, []string{"waiting"}, order())
		assert.InDelta(t, 1, time.Since(start).Seconds(), 0.1)
	})

	bubble("first come, first served; a poll every tenth turn", func(t *testing.T) {
		p := learnt(t)
		begin, order := inOrder(t, p)
		var want []string
		for range 3 {
			begin("poll", Poll)
		}
		for i := range 27 {
			name := string(rune('a' + i))
			begin(name, Normal)
			if want = append(want, name); len(want)%10 == 9 {
				want = append(want, "poll")
			}
		}
		assert.Equal(t, want, order())
	})

	bubble("no normal request waits: polls are served", func(t *testing.T) {
		p := learnt(t)
		begin, order := inOrder(t, p)
		begin("poll", Poll)
		assert.Equal(t, []string{"poll"}, order())
	})

	bubble("Retry-After with a text: kept", func(t *testing.T) {
		p, start := New(Config{}), time.Now()
		mustWait(t, p).Refused(Hint{Requests: 20, Per: time.Second, RetryAfter: 5 * time.Minute})
		mustWait(t, p).Allowed()
		assert.InDelta(t, 300, time.Since(start).Seconds(), 1)
	})

	bubble("Retry-After of a year: probed within ten minutes", func(t *testing.T) {
		for _, hint := range []Hint{{RetryAfter: 365 * 24 * time.Hour}, {1, time.Second, 365 * 24 * time.Hour}} {
			p, start := New(Config{}), time.Now()
			mustWait(t, p).Refused(hint)
			mustWait(t, p).Allowed()
			assert.InDelta(t, 600, time.Since(start).Seconds(), 61)
		}
	})

	bubble("another text while Retry-After lasts: both kept", func(t *testing.T) {
		p, start := New(Config{}), time.Now()
		first, second := mustWait(t, p), mustWait(t, p)
		first.Refused(Hint{Requests: 20, Per: time.Second, RetryAfter: 5 * time.Minute})
		second.Refused(Hint{Requests: 10, Per: time.Second})
		mustWait(t, p).Allowed()
		assert.InDelta(t, 300, time.Since(start).Seconds(), 1)
	})

	bubble("quota of a day used up: tried within an hour", func(t *testing.T) {
		p, start := New(Config{}), time.Now()
		mustWait(t, p).Allowed()
		mustWait(t, p).Refused(Hint{Requests: 1, Per: 24 * time.Hour})
		mustWait(t, p).Allowed()
		assert.InDelta(t, 1, time.Since(start).Hours(), 0.1)
	})

	bubble("spaced turn unsent: the next request has it", func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(perMinute)
		require.True(t, p.share.spaced)
		mustWait(t, p).Unsent()
		start := time.Now()
		mustWait(t, p).Allowed()
		assert.Zero(t, time.Since(start))
	})

	bubble("two requests refused at once: one pause", func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(Hint{})
		mustWait(t, p).Allowed()
		first, second := mustWait(t, p), mustWait(t, p)
		pause := p.share.interval()
		first.Refused(Hint{})
		second.Refused(Hint{})
		start := time.Now()
		mustWait(t, p).Allowed()
		assert.InEpsilon(t, max(firstProbe, pause), time.Since(start), 0.11)
	})

	bubble("refused with nothing: single probes at growing distances", func(t *testing.T) {
		p, start := New(Config{}), time.Now()
		mustWait(t, p).Refused(Hint{})
		for _, seconds := range []float64{1, 3, 7, 15, 31} {
			probe := mustWait(t, p)
			assert.InEpsilon(t, seconds, time.Since(start).Seconds(), 0.11)
			_, err := p.Wait(t.Context(), Poll, time.Now().Add(time.Millisecond))
			require.ErrorAs(t, err, new(*NoTurnError), "one probe at a time")
			probe.Refused(Hint{})
		}
	})

	bubble("unsent probe: another request is the probe", func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(Hint{})
		mustWait(t, p).Unsent()
		start := time.Now()
		mustWait(t, p).Allowed()
		assert.Zero(t, time.Since(start))
	})
}

func TestWaitEnds(t *testing.T) {
	bubble := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}

	bubble("turn after until: at once", func(t *testing.T) {
		p, start := learnt(t), time.Now()
		_, err := p.Wait(t.Context(), Normal, start.Add(30*time.Second))
		var noTurn *NoTurnError
		require.ErrorAs(t, err, &noTurn)
		assert.Zero(t, time.Since(start))
		assert.Equal(t, Quota{20, time.Minute, FromText}, noTurn.Quota)
		assert.InDelta(t, 60, noTurn.Wait.Seconds(), 2)
		assert.EqualError(t, err, "no turn in time: the expected wait is 1m1s under 20 requests per 1m0s (from the 429's text)")
	})

	bubble("turn after until, and the share does not grow before: at once", func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(perMinute)
		start := time.Now()
		_, err := p.Wait(t.Context(), Normal, start.Add(30*time.Second))
		require.ErrorAs(t, err, new(*NoTurnError))
		assert.Zero(t, time.Since(start))
	})

	bubble("turn after the context's deadline: at once", func(t *testing.T) {
		p, start := learnt(t), time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := p.Wait(ctx, Normal, start.Add(time.Hour))
		require.ErrorAs(t, err, new(*NoTurnError))
		assert.Zero(t, time.Since(start))
	})

	bubble("turn after until because of the queue: at once, without a place in it", func(t *testing.T) {
		p := learnt(t)
		begin, order := inOrder(t, p)
		for range 20 {
			begin("", Normal)
		}
		start := time.Now()
		_, err := p.Wait(t.Context(), Normal, start.Add(100*time.Second))
		var noTurn *NoTurnError
		require.ErrorAs(t, err, &noTurn)
		assert.Zero(t, time.Since(start))
		assert.InDelta(t, 120, noTurn.Wait.Seconds(), 4)
		begin("in time", Normal)
		assert.Len(t, order(), 21)
	})

	bubble("more requests than the quota in the window: the wait is until there is room", func(t *testing.T) {
		p := New(Config{})
		flying := make([]*Turn, 30)
		for i := range flying {
			flying[i] = mustWait(t, p)
		}
		for i, turn := range flying {
			time.Sleep(time.Second)
			if i < 20 {
				turn.Allowed()
				continue
			}
			turn.Refused(perMinute)
		}
		_, err := p.Wait(t.Context(), Normal, time.Now().Add(time.Second))
		var noTurn *NoTurnError
		require.ErrorAs(t, err, &noTurn)
		assert.InDelta(t, 11+61.2-30, noTurn.Wait.Seconds(), 0.1, "when 11 of 30 have left")
	})

	bubble("share smaller than the quota: a turn that needs more of it is waited for", func(t *testing.T) {
		for _, hint := range []Hint{perMinute, {}} {
			p := New(Config{})
			mustWait(t, p).Refused(hint)
			mustWait(t, p).Allowed()
			turn := 2 + int(90*time.Second/p.share.interval())
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range turn {
				all.Go(func() {
					_, err := p.Wait(ctx, Normal, time.Now().Add(63*time.Second))
					if ctx.Err() == nil {
						assert.NoError(t, err)
					}
				})
			}
			synctest.Wait()
			assert.Equal(t, turn, p.queue.len(), "%+v", hint)
			cancel()
			all.Wait()
		}
	})

	bubble("until has passed and the turn is there: given", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		turn, err := p.Wait(t.Context(), Normal, time.Now().Add(-time.Hour))
		require.NoError(t, err)
		turn.Unsent()
	})

	bubble("a refusal moves the turn past until: at once", func(t *testing.T) {
		p := learnt(t)
		time.Sleep(2 * time.Minute)
		var turns []*Turn
		for range 20 {
			turns = append(turns, mustWait(t, p))
		}
		turns[0].Allowed()
		var err error
		var waiting sync.WaitGroup
		waiting.Go(func() {
			_, err = p.Wait(t.Context(), Normal, time.Now().Add(62*time.Second))
		})
		synctest.Wait()
		start := time.Now()
		for _, turn := range turns[1:] {
			turn.Refused(Hint{Requests: 20, Per: time.Hour})
		}
		waiting.Wait()
		require.ErrorAs(t, err, new(*NoTurnError))
		assert.Zero(t, time.Since(start))
	})

	bubble("the turn is late: the wait ends at until", func(t *testing.T) {
		p := New(Config{})
		mustWait(t, p).Refused(Hint{})
		probe := mustWait(t, p)
		start := time.Now()
		_, err := p.Wait(t.Context(), Normal, start.Add(time.Minute))
		require.ErrorAs(t, err, new(*NoTurnError))
		assert.Equal(t, time.Minute, time.Since(start))
		probe.Allowed()
	})

	bubble("context ends: its cause, and the place goes to the next", func(t *testing.T) {
		p, start := learnt(t), time.Now()
		cause := errors.New("caller gave up")
		ctx, cancel := context.WithCancelCause(t.Context())
		var err error
		var waiting sync.WaitGroup
		waiting.Go(func() { _, err = p.Wait(ctx, Normal, time.Time{}) })
		synctest.Wait()
		begin, order := inOrder(t, p)
		begin("next", Normal)
		cancel(cause)
		waiting.Wait()
		require.ErrorIs(t, err, cause)
		assert.Zero(t, time.Since(start))
		assert.Equal(t, []string{"next"}, order())
		assert.InDelta(t, 60, time.Since(start).Seconds(), 2)
		_, err = p.Wait(ctx, Normal, time.Time{})
		assert.ErrorIs(t, err, cause, "a context that has ended before")
	})
}

func BenchmarkWait(b *testing.B) {
	b.Run("no quota known", func(b *testing.B) {
		p, ctx := New(Config{}), b.Context()
		b.ReportAllocs()
		for b.Loop() {
			turn, _ := p.Wait(ctx, Normal, time.Time{})
			turn.Allowed()
		}
	})
	b.Run("quota with room", func(b *testing.B) {
		p, ctx := New(Config{}), b.Context()
		p.free.Refused(Hint{Requests: maxRequests, Per: time.Second})
		p.share.size, p.share.spaced = maxRequests, false
		b.ReportAllocs()
		for b.Loop() {
			turn, _ := p.Wait(ctx, Normal, time.Time{})
			turn.Unsent()
		}
	})
}

func TestWaitAllocatesNothing(t *testing.T) {
	p, ctx := New(Config{}), t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		turn, _ := p.Wait(ctx, Normal, time.Time{})
		turn.Allowed()
	})
	assert.Zero(t, allocations)
}
