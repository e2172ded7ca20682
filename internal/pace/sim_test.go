package pace

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// hints is what a simulated refusal carries.
type hints int

const (
	withText hints = iota
	withRetryAfter
	withNothing
)

// String returns the hints for a table.
func (h hints) String() string {
	return [...]string{"the text", "`Retry-After`", "nothing"}[h]
}

func (h hints) of(l *pacetest.Limiter, retryAfter time.Duration) Hint {
	switch h {
	case withText:
		return ParseHint(l.Text(), 0)
	case withRetryAfter:
		seconds := (retryAfter + time.Second - 1).Truncate(time.Second)
		return ParseHint("too many requests", seconds)
	}
	return ParseHint("too many requests", 0)
}

// load is one simulation: clients that send requests as fast as their pacers let them.
type load struct {
	limiter  *pacetest.Limiter
	hints    hints
	requests int // of all clients together
	clients  int
	workers  int // of each client: how many requests it has in flight at most
	seed     uint64
	after    time.Duration // from a full minute to the first request
}

// result is what a simulation measured.
type result struct {
	sent, refused int
	took          time.Duration
	ideal         time.Duration // requests that are needed, divided by the quota
}

func (r result) ratio() float64 { return float64(r.took) / float64(r.ideal) }
func (r result) share() float64 { return float64(r.refused) / float64(r.sent) }

// run runs the simulation under a fake clock.
func (l load) run(t *testing.T) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(l.after)
		r.ideal = time.Duration(l.requests) * l.limiter.Per / time.Duration(l.limiter.N)
		start := time.Now()
		var mu sync.Mutex
		var all sync.WaitGroup
		for c := range l.clients {
			client := &client{pacer: New(Config{}), load: l, random: rand.New(rand.NewPCG(l.seed, uint64(c)))}
			client.left = l.requests / l.clients
			for range l.workers {
				all.Go(func() {
					sent, refused := client.work(t)
					mu.Lock()
					defer mu.Unlock()
					r.sent, r.refused = r.sent+sent, r.refused+refused
				})
			}
		}
		all.Wait()
		r.took = time.Since(start)
	})
	return r
}

// client is one client of a simulation.
type client struct {
	pacer *Pacer
	load  load

	mu     sync.Mutex
	random *rand.Rand
	left   int // requests not begun
}

// begin reports whether there is a request left, and takes it.
func (c *client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left >= 0
}

// transit returns a random time of a request or response on the wire.
func (c *client) transit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return 10*time.Millisecond + time.Duration(c.random.Int64N(int64(60*time.Millisecond)))
}

// work sends requests until none is left, each until it is accepted.
func (c *client) work(t *testing.T) (sent, refused int) {
	for c.begin() {
		for accepted := false; !accepted; sent++ {
			turn, err := c.pacer.Wait(t.Context(), Normal, time.Time{})
			if !assert.NoError(t, err) {
				return sent, refused
			}
			time.Sleep(c.transit())
			ok, retryAfter := c.load.limiter.Allow(time.Now())
			time.Sleep(c.transit())
			if accepted = ok; ok {
				turn.Allowed()
				continue
			}
			refused++
			turn.Refused(c.load.hints.of(c.load.limiter, retryAfter))
		}
	}
	return sent, refused
}
