package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// The poller reads the list for all waits, watches and exports of a client. Its goroutine lives while there are
// subscribers. It does one request after the other, in this order: readings that a subscriber demands, polls
// that are due, look-ups of tasks that nobody has looked up yet, and the patrol. A poll is due some seconds
// after the last one ended, so look-ups have time in between.
type poller struct {
	client *CdnClient
	min    time.Duration // the shortest and the longest pause between two polls
	max    time.Duration
	lag    time.Duration // how late the list may show a new task
	// isPaced reports whether requests wait for the account's quota.
	isPaced func() bool
	logger  *slog.Logger

	// listIsLate tells that the list was late to show the last task created. It belongs to whose turn it is to export.
	listIsLate bool

	mu          sync.Mutex
	subscribers int
	stop        context.CancelFunc // ends the goroutine; nil if there is none
	wake        chan struct{}
	known       *snapshot
	targets     map[string]*target  // what is waited for, by task id
	watches     map[*watch]struct{} // to be woken after a change
	batch       *batch              // the exports whose tasks are not certain yet; nil for none
	demands     []*demand           // readings that subscribers wait for
	lastErr     error               // the last failure that may pass; nil after a success
	starts      int                 // how often the goroutine was started
	readAt      time.Time           // when the last complete reading began
	schedule    schedule            // when what is due
	rounds      patrolState         // what lies below the head
	gather      gathering           // new waits that are looked up together
}

// schedule tells when the poller does what.
type schedule struct {
	baseline bool          // whether the next reading is the first one of this start
	pollAt   time.Time     // when the next poll is due
	patrolAt time.Time     // from when on a poll is followed by a patrol
	pause    time.Duration // the pause before it
	heldTill time.Time     // nothing is requested before, because the service asks for it
}

// demand is a reading of the head that a subscriber waits for. The fields of its result are set before done is
// closed.
type demand struct {
	baseline bool  // read on until 10 s below the present
	depth    int64 // read on until below this stamp

	done chan struct{}
	at   bookmark
	err  error
}

func newPoller(c *CdnClient, o *options, isPaced func() bool) *poller {
	return &poller{
		client:  c,
		min:     o.minPoll,
		max:     o.maxPoll,
		lag:     o.listLag,
		isPaced: isPaced,
		logger:  o.logger,
		known:   newSnapshot(),
		targets: make(map[string]*target),
		watches: make(map[*watch]struct{}),
	}
}

// join adds a subscriber and returns the function that removes it, which may be called more than once. The
// goroutine starts with the first subscriber and ends with the last one.
func (p *poller) join() (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscribers++
	if p.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		p.stop, p.wake, p.lastErr = stop, make(chan struct{}, 1), nil
		p.starts++
		p.schedule = schedule{baseline: true, pollAt: time.Now().Add(p.min), pause: p.min}
		p.rounds, p.gather, p.batch = patrolState{}, gathering{}, nil
		go p.run(ctx, p.wake)
	}
	return sync.OnceFunc(p.leave)
}

func (p *poller) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscribers--
	if p.subscribers == 0 {
		p.stop()
		p.stop = nil
	}
}

// wakeUp has the goroutine decide anew what to do. The caller holds the lock.
func (p *poller) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// read waits for a reading of the head that begins after the call. The caller is a subscriber.
func (p *poller) read(ctx context.Context, d *demand) error {
	d.done = make(chan struct{})
	p.mu.Lock()
	p.demands = append(p.demands, d)
	p.wakeUp()
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return p.endOf(ctx)
	}
}

// endOf returns the error for a context that has ended, with the failure that kept the poller from knowing.
func (p *poller) endOf(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr != nil {
		return fmt.Errorf("%w; the last poll failed: %w", endOf(ctx), p.lastErr)
	}
	return endOf(ctx)
}

// run does what is due, and pauses, until all subscribers have left.
func (p *poller) run(ctx context.Context, wake <-chan struct{}) {
	for ctx.Err() == nil {
		step, at := p.next(time.Now())
		if step != nil {
			p.fail(ctx, step(ctx))
			continue
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next returns the next step, or nil and when to decide anew.
func (p *poller) next(now time.Time) (step func(context.Context) error, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.schedule
	switch {
	case now.Before(s.heldTill):
		return nil, s.heldTill
	case len(p.demands) > 0, !now.Before(s.pollAt), p.batch.isDue(now):
		return p.poll, at
	}
	lookUp, at := p.nextLookUp(now)
	switch {
	case lookUp != nil:
		return lookUp, at
	case p.rounds.left > 0:
		return p.patrol, at
	}
	if at.IsZero() || s.pollAt.Before(at) {
		at = s.pollAt
	}
	if p.batch != nil && !p.batch.settleAt.IsZero() && p.batch.settleAt.Before(at) {
		at = p.batch.settleAt
	}
	return nil, at
}

// poll reads the head for all that demand it, and plans what comes after it.
func (p *poller) poll(ctx context.Context) error {
	p.mu.Lock()
	if ctx.Err() != nil {
		p.mu.Unlock()
		return nil
	}
	r := &reading{baseline: p.schedule.baseline, began: time.Now()}
	p.takeDemands(r)
	p.mu.Unlock()
	changed, err := p.readHead(ctx, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	p.plan(changed)
	if err == nil {
		p.readAt, p.schedule.baseline, p.lastErr = r.began, false, nil
		p.settleBy(r.began)
	} else if p.batch.isDue(time.Now()) {
		p.batch.settleAt = p.schedule.pollAt
	}
	if !r.began.Before(p.schedule.patrolAt) {
		p.planPatrol(r.began, err == nil)
		p.schedule.patrolAt = p.schedule.pollAt
	}
	for _, d := range r.demands {
		d.err = err
		close(d.done)
	}
	return err
}

// plan sets when the next poll is due: after pauses that grow while nothing changes. The caller holds the lock.
func (p *poller) plan(changed bool) {
	s := &p.schedule
	if changed {
		s.pause = p.min
	}
	jitter := 0.8 + 0.4*rand.Float64()
	s.pollAt = time.Now().Add(min(max(time.Duration(jitter*float64(s.pause)), p.min), p.max))
	s.pause = min(s.pause*3/2, p.max)
}

// announce wakes the watches and tells the exports of new tasks. The caller holds the lock.
func (p *poller) announce(all news) {
	if all.changed {
		for w := range p.watches {
			w.wakeUp()
		}
	}
	if p.batch != nil {
		p.batch.found(all.created)
	}
}

// fail tells all subscribers of a permanent failure, and notes a transient one. After it the poller does
// nothing before the pause is over if the service is throttled or asks for a pause, and no poll otherwise.
func (p *poller) fail(ctx context.Context, err error) {
	if err == nil || !p.tell(ctx, err) {
		return
	}
	// A logger may take its time, or call the client.
	p.logger.Warn("cdn: a poll failed, trying again", "error", err)
}

// tell is the part of fail under the lock. It reports whether the failure is transient.
func (p *poller) tell(ctx context.Context, err error) (transient bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	if isTransientPoll(err) {
		p.lastErr = err
		now := time.Now()
		if retryAfter := min(retryAfterOf(err), maxRetryAfter); retryAfter > 0 {
			p.schedule.heldTill = now.Add(retryAfter)
		} else if errors.Is(err, ErrThrottled) {
			p.schedule.heldTill = p.schedule.pollAt
		}
		return true
	}
	for _, t := range p.targets {
		t.end(nil, err)
	}
	for w := range p.watches {
		w.end(err)
	}
	if p.batch != nil {
		p.batch.end(unfound(err))
		if !p.batch.inFlight {
			p.batch = nil
		}
	}
	return false
}

// note remembers why a request is retried, unless all subscribers have left.
func (p *poller) note(ctx context.Context, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil {
		p.lastErr = failure
	}
}
