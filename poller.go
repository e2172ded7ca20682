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

// poller reads the list for the waits, watches and exports of a client, its subscribers. Its goroutine runs while
// there are subscribers, and sends one request after the other. It has three kinds of work:
//
//   - A poll reads the head of the list until it shows old news (reading.go). It is due a pause after the last one
//     ended, or at once if a subscriber demands a reading.
//   - A look-up requests the task of a new wait, before and without the list (lookup.go). Many look-ups at once begin
//     with pages of the list.
//   - The patrol follows a poll. It reads what the poll did not show, a page or a task at a time (patrol.go).
//
// Each response has two uses. It ends the waits whose tasks it shows as finished (target.go). Pages of the list are
// also merged into a snapshot, which tells changes from old news (snapshot.go). Watches take the changes from there,
// and exports the new tasks.
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
	wake        chan struct{}      // has the goroutine decide anew what to do
	known       *snapshot
	targets     map[string]*target  // the tasks that are waited for, by id
	watches     map[*watch]struct{} // are woken after a change
	batch       *batch              // the exports whose tasks are not certain yet; nil if there are none
	demands     []*demand           // readings that subscribers wait for
	lastErr     error               // the last transient failure; nil after a poll that succeeded
	starts      int                 // how often the goroutine was started
	readAt      time.Time           // when the last complete reading began
	schedule    schedule
	rounds      patrolState
	gather      gathering
}

// schedule holds the times of the next requests.
type schedule struct {
	baseline bool          // whether the next reading is the first one of this start
	pollAt   time.Time     // when the next poll is due
	pause    time.Duration // the pause after the next poll, before jitter
	patrolAt time.Time     // a poll that begins before has no patrol: demands would multiply it
	heldTill time.Time     // no request is sent before, because the service asks for a delay
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

// endOf returns the error for a context that has ended, with the last transient failure of the poller.
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

// next returns the next request, or nil and the time at which to decide anew.
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

// poll reads the head, ends the demands for a reading, and plans the next poll and the patrol.
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

// plan sets when the next poll is due. The pauses grow while nothing changes. The caller holds the lock.
func (p *poller) plan(changed bool) {
	s := &p.schedule
	if changed {
		s.pause = p.min
	}
	jitter := 0.8 + 0.4*rand.Float64()
	s.pollAt = time.Now().Add(min(max(time.Duration(jitter*float64(s.pause)), p.min), p.max))
	s.pause = min(s.pause*3/2, p.max)
}

// announce wakes the watches after a change and adds new tasks to the batch of exports. The caller holds the lock.
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

// fail ends all waits, watches and exports after a permanent failure, and logs a transient one.
func (p *poller) fail(ctx context.Context, err error) {
	if err == nil || !p.distribute(ctx, err) {
		return
	}
	// The lock is not held: a logger may be slow, or call the client.
	p.logger.Warn("cdn: a poll failed, trying again", "error", err)
}

// distribute is the part of fail under the lock. It reports whether the failure is transient. If the service
// throttles or asks for a delay, no request is sent before that is over.
func (p *poller) distribute(ctx context.Context, err error) (transient bool) {
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

// note keeps the failure of an attempt that is retried, for subscribers whose context ends meanwhile.
func (p *poller) note(ctx context.Context, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil {
		p.lastErr = failure
	}
}

// latest returns the task as the list showed it last.
func (p *poller) latest(task *ExportTask) *ExportTask {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.known.entries[task.TaskID]; e != nil {
		return new(e.task)
	}
	return task
}
