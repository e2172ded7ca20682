package cdn

import (
	"context"
	"errors"
	"time"
)

const (
	gatherFor        = 10 * time.Millisecond // how long new waits are gathered before their tasks are looked up
	worthAPage       = 4                     // how many new waits make a page the better first request
	worthAnotherPage = 2                     // how many a page must show to make the next page better than look-ups
	maxFailures      = 3                     // how many failures in a row put off all look-ups by id to the next poll
)

// gathering is a look-up of many tasks by pages of the list, for waits that came together. The first pages show most
// of the tasks in fewer requests than look-ups by id. The tasks that they do not show are looked up by id.
type gathering struct {
	active   bool
	before   time.Time // look-ups that were requested by this time take part
	offset   int       // of the next page
	shown    int       // how many of the tasks the last page showed
	failures int       // how many look-ups by id failed in a row
}

// nextLookUp returns the next look-up that is due, or nil and when there may be one; at is zero if there is none.
// The caller holds the lock.
func (p *poller) nextLookUp(now time.Time) (step func(context.Context) error, at time.Time) {
	if p.gather.active {
		return p.lookUpPage, at
	}
	var oldest *target
	together := 0
	for _, t := range p.targets {
		if t.lookUp == noLookUp {
			continue
		}
		due := t.lookUpAt
		if t.lookUp == lookUpByPage {
			together++
			due = t.since.Add(gatherFor)
		}
		if due.After(now) {
			if at.IsZero() || due.Before(at) {
				at = due
			}
			continue
		}
		if oldest == nil || t.urgent && !oldest.urgent || t.urgent == oldest.urgent && t.since.Before(oldest.since) {
			oldest = t
		}
	}
	switch {
	case oldest == nil:
		return nil, at
	case oldest.lookUp == lookUpByPage && (together >= worthAPage || p.known.total > 0 && p.known.total <= pageLimit*(together-1)):
		return p.lookUpHead, at
	}
	return func(ctx context.Context) error { return p.lookUp(ctx, oldest.id) }, at
}

// lookUpHead begins a gathering with a poll of the head.
func (p *poller) lookUpHead(ctx context.Context) error {
	now := time.Now()
	p.mu.Lock()
	before := p.countTogether(now)
	p.mu.Unlock()
	err := p.poll(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	p.gather = gathering{active: true, before: now, offset: p.rounds.end, shown: before - p.countTogether(now)}
	if err != nil {
		p.endTogether()
	}
	return err
}

// countTogether returns how many tasks are still to be looked up by pages whose look-up was requested by a time. The
// caller holds the lock.
func (p *poller) countTogether(before time.Time) int {
	n := 0
	for _, t := range p.targets {
		if t.lookUp == lookUpByPage && !t.since.After(before) {
			n++
		}
	}
	return n
}

// endTogether ends the gathering. The tasks that the pages did not show are looked up by id. The caller holds the
// lock.
func (p *poller) endTogether() {
	for _, t := range p.targets {
		if t.lookUp == lookUpByPage && !t.since.After(p.gather.before) {
			t.lookUp = lookUpByID
		}
	}
	p.gather.active = false
}

// lookUpPage requests the next page of the gathering. It ends the gathering if look-ups by id take fewer requests.
func (p *poller) lookUpPage(ctx context.Context) error {
	p.mu.Lock()
	g := &p.gather
	left := p.countTogether(g.before)
	pages := (p.known.total - g.offset + pageLimit - 1) / pageLimit
	if left == 0 || pages <= 0 || g.shown < worthAnotherPage && left < pages {
		p.endTogether()
		p.mu.Unlock()
		return nil
	}
	offset := g.offset
	p.mu.Unlock()
	page, err := p.fetch(ctx, operation{})(offset)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil || len(page.Rows) == 0 {
		p.endTogether()
		return err
	}
	g.offset += len(page.Rows)
	g.shown = left - p.countTogether(g.before)
	p.takePage(page.Rows)
	return nil
}

// takePage merges a page from below the head. The caller holds the lock.
func (p *poller) takePage(rows []row) {
	p.announce(p.known.merge(rows, time.Now()))
}

// lookUp looks up one task by its id. A permanent failure that the service reports ends the waits for this task
// only.
func (p *poller) lookUp(ctx context.Context, id string) error {
	const name = "GetExportTask"
	op := operation{name: name, onRetry: func(err error) { p.note(ctx, inStep(name, err)) }}
	task, err := p.client.getTask(ctx, op, id)
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[id]
	if ctx.Err() != nil || t == nil {
		return nil
	}
	now := time.Now()
	t.tried, t.failed = now, err != nil && !errors.Is(err, ErrTaskNotFound)
	var response *APIError
	switch {
	case err == nil:
		p.gather.failures = 0
		p.see(t, *task, now)
		return nil
	case errors.Is(err, ErrTaskNotFound):
		p.gather.failures = 0
		p.miss(t, err, now)
		return nil
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), isTransientPoll(err):
	case errors.As(err, &response):
		t.end(nil, inStep(name, err))
		return nil
	}
	// One task that cannot be looked up must not delay the others. A service that fails all look-ups must get fewer.
	t.retry(now, p.schedule.pollAt)
	if p.gather.failures++; p.gather.failures >= maxFailures {
		p.gather.failures = 0
		p.postponeLookUps()
	}
	return inStep(name, err)
}

// postponeLookUps puts off all look-ups by id until after the next poll. The caller holds the lock.
func (p *poller) postponeLookUps() {
	for _, t := range p.targets {
		if t.lookUp == lookUpByID && t.lookUpAt.Before(p.schedule.pollAt) {
			t.lookUpAt = p.schedule.pollAt
		}
	}
}
