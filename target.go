package cdn

import (
	"context"
	"time"
)

// target is a task that is waited for. The poller's lock guards it.
type target struct {
	id      string
	waiters map[*waiter]struct{}
	last    *ExportTask // as a response showed it last; nil if none did
	seenAt  time.Time   // when a response showed it last
	missing int         // how many look-ups in a row did not find it
	until   time.Time   // until when a look-up may miss it, because it was just created

	lookUp   lookUpKind
	since    time.Time // when the look-up was requested
	lookUpAt time.Time // the look-up by id is sent no earlier
	urgent   bool      // whether its look-up comes before those of others
	tried    time.Time // when its last look-up by id ended
	failed   bool      // whether that look-up failed
}

// lookUpKind is the look-up that a target needs.
type lookUpKind int

const (
	noLookUp     lookUpKind = iota
	lookUpByPage            // pages of the list may show the target together with others
	lookUpByID              // those pages did not show it, so it takes a request of its own
)

// request has the target looked up, together with others if possible. The caller holds the lock.
func (t *target) request(now time.Time) {
	if t.lookUp == noLookUp {
		t.since = now
	}
	t.lookUp, t.lookUpAt = lookUpByPage, time.Time{}
}

// retry has the target looked up by its id, at a time or later. The caller holds the lock.
func (t *target) retry(now, at time.Time) {
	t.lookUp, t.since, t.lookUpAt = lookUpByID, now, at
}

// isUnseen reports whether no response has shown the target since a time, and no look-up is due for it.
func (t *target) isUnseen(since time.Time) bool {
	return t.lookUp == noLookUp && t.seenAt.Before(since) && t.tried.Before(since)
}

// show updates the targets that a page shows.
func (p *poller) show(ctx context.Context, rows []row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // all subscribers have left, and the present ones are those of the next start
	}
	now := time.Now()
	for _, r := range rows {
		if t := p.targets[r.ID]; t != nil {
			p.see(t, r.Value, now)
		}
	}
}

// see notes that a response showed the target. The caller holds the lock.
func (p *poller) see(t *target, task ExportTask, now time.Time) {
	t.last = new(task.unshared())
	t.seenAt, t.missing = now, 0
	t.lookUp, t.urgent = noLookUp, false
	if task.Status.Done() {
		t.end(t.last, nil)
	}
}

// miss notes that a look-up did not find the target. It ends the waits, but only the second time if the task was
// seen before: the first read may be stale. The caller holds the lock.
func (p *poller) miss(t *target, err error, now time.Time) {
	t.missing++
	_, known := p.known.entries[t.id]
	if (t.last == nil && !known || t.missing > 1) && !now.Before(t.until) {
		t.end(nil, err)
		return
	}
	t.retry(now, p.schedule.pollAt)
}

// end gives all waits for the target their result. The caller holds the lock.
func (t *target) end(task *ExportTask, err error) {
	for w := range t.waiters {
		result := waitResult{err: err}
		if task != nil {
			result.task = new(*task)
		}
		select {
		case w.result <- result:
		default: // the wait has its result already
		}
	}
}
