// Package pace keeps a client to a quota that the service does not announce. A pacer lets every request go
// until one is refused. It learns the quota from that refusal, and from then on gives each request its turn.
//
// It is right for fixed windows, sliding windows and token buckets, whether or not the service counts the
// requests that it refuses, and converges if several pacers share a quota without knowing of each other.
package pace

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Config sets up a pacer. The zero value works.
type Config struct {
	// OnLearn is called with each quota that was learnt, and with a changed one: with any other text, and with a
	// measured quota that is three times the last one or a third of it. It is called without a lock held, by
	// the goroutine that reports the outcome of a request. It may be nil.
	OnLearn func(Quota)
}

// Pacer gives requests their turns. It is safe for concurrent use and has no goroutine of its own.
type Pacer struct {
	onLearn func(Quota)
	epoch   time.Time
	limited atomic.Bool  // false if every request may go at once
	flying  atomic.Int64 // turns without an outcome
	free    Turn         // the turn of all requests while limited is false

	mu      sync.Mutex
	share   share
	history history
	queue   queue
	told    []Quota     // the latest quotas that OnLearn was called with
	timer   *time.Timer // runs serve when the next turn comes; nil if nobody waits
}

// New returns a pacer that knows no quota.
func New(config Config) *Pacer {
	p := &Pacer{onLearn: config.OnLearn, epoch: time.Now()}
	p.share.last = -maxPer
	p.free = Turn{pacer: p, free: true}
	return p
}

// Wait waits for the turn of a request. It returns a *NoTurnError, at once, if the turn cannot come before
// until or before the deadline of ctx; a zero until sets no limit. It returns the cause of ctx if ctx ends.
// Requests of one class get their turns in the order of the calls.
func (p *Pacer) Wait(ctx context.Context, class Class, until time.Time) (*Turn, error) {
	if !p.limited.Load() {
		p.flying.Add(1)
		return &p.free, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w, err := p.enqueue(class, p.limit(ctx, until))
	if err != nil {
		return nil, err
	}
	return p.await(ctx, w)
}

// IsLimited reports whether a quota is known, so that requests may have to wait.
func (p *Pacer) IsLimited() bool { return p.limited.Load() }

func (p *Pacer) now() time.Duration { return time.Since(p.epoch) }

// limit returns the earlier of until and the deadline of ctx; never if there is none.
func (p *Pacer) limit(ctx context.Context, until time.Time) time.Duration {
	limit, now := never, p.now()
	if !until.IsZero() {
		limit = now + time.Until(until)
	}
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, now+time.Until(deadline))
	}
	return limit
}

// enqueue puts a request into the queue and serves the queue, so the turn may have come when it returns.
func (p *Pacer) enqueue(class Class, limit time.Duration) (*waiter, error) {
	w := &waiter{class: class, limit: limit, ready: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if err := p.check(class, len(*p.queue.of(class)), limit, now); err != nil {
		return nil, err
	}
	p.queue.push(w)
	p.serve(now)
	return w, nil
}

// await waits until w has its turn, or ctx or the time of w ends.
func (p *Pacer) await(ctx context.Context, w *waiter) (*Turn, error) {
	select {
	case <-w.ready:
		return w.turn, w.err
	default:
	}
	var expired <-chan time.Time
	if w.limit < never {
		timer := time.NewTimer(w.limit - p.now())
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-w.ready:
		return w.turn, w.err
	case <-ctx.Done():
	case <-expired:
	}
	return p.leave(ctx, w)
}

// leave takes w out of the queue. A turn that has come in the same moment is kept, unless ctx has ended.
func (p *Pacer) leave(ctx context.Context, w *waiter) (*Turn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	wasThere := p.queue.remove(w)
	if wasThere {
		defer p.serve(now)
	}
	switch {
	case ctx.Err() != nil:
		if w.turn != nil {
			p.giveBack(w.turn)
			p.serve(now)
		}
		return nil, context.Cause(ctx)
	case wasThere:
		return nil, p.noTurn(w.class, len(*p.queue.of(w.class)), now)
	}
	return w.turn, w.err
}

// check returns an error if the turn of the request at index i of its class cannot come in time, even if this
// pacer's share of the quota grows meanwhile.
func (p *Pacer) check(class Class, i int, limit, now time.Duration) error {
	if !p.limited.Load() || limit == never {
		return nil
	}
	at := p.expect(&p.share, class, i, now)
	if at > limit && limit >= p.share.nextGrowth() {
		at = p.expect(p.share.grown(), class, i, now)
	}
	if at <= now || at <= limit {
		return nil
	}
	return p.noTurn(class, i, now)
}

func (p *Pacer) noTurn(class Class, i int, now time.Duration) error {
	return &NoTurnError{Quota: p.quota(), Wait: readable(p.expect(&p.share, class, i, now) - now)}
}

// expect returns when the turn comes of the request at index i of its class, if the share stays as it is; now
// if that depends on the outcome of a request.
func (p *Pacer) expect(s *share, class Class, i int, now time.Duration) time.Duration {
	at := s.turn(1+p.queue.ahead(class, i), now, p.inFlight(), &p.history)
	if at == never {
		return now
	}
	return at
}

func (p *Pacer) inFlight() int { return int(p.flying.Load()) }

// quota returns what is known now.
func (p *Pacer) quota() Quota {
	s := &p.share
	switch {
	case s.isText():
		return Quota{s.text.Requests, s.text.Per, FromText}
	case s.quota == 0:
		return Quota{}
	case s.retryAfter:
		return Quota{max(1, int(math.Round(s.quota))), s.window, FromRetryAfter}
	}
	return Quota{max(1, int(math.Round(s.quota))), s.window, Measured}
}
