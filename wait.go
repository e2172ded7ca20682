package cdn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// WaitForExportTask waits until the task with the id taskID is finished. It returns the task at success. At fail
// it returns the task with an error that wraps [ErrTaskFailed]. The error wraps [ErrTaskNotFound] if the service
// does not know the id, or no longer knows it.
//
// The task is looked up by its id first. After that all waits and watches of a client share one poller, which
// runs only while there are any. A poll reads the head of the list, as far down as something has changed: one
// request while nothing changes, however many waits there are. Beside it a second request looks after the tasks
// that the head does not show. So the wait returns within 4 of the longest pauses of [WithPollInterval], plus one
// for each 100 tasks of the list, after the service shows the task as finished, whatever its stamps say. Shortly
// before the deadline of ctx, if it has one, the task is looked up once more.
//
// Transient failures (those that are retried, and malformed responses) make the polls slower, to the longest
// pause or to what Retry-After asks for, 10 minutes at most. Any other failure ends the wait. If ctx ends, the
// error wraps its error and the last failure, and names the status that was seen last; the task is returned as it
// was seen last, or nil.
func (c *CdnClient) WaitForExportTask(ctx context.Context, taskID string) (*ExportTask, error) {
	task, err := c.waitForExportTask(ctx, taskID)
	if err != nil {
		return task, fmt.Errorf("cdn: WaitForExportTask: %w", err)
	}
	return task, nil
}

func (c *CdnClient) waitForExportTask(ctx context.Context, taskID string) (*ExportTask, error) {
	switch {
	case ctx == nil:
		return nil, invalid("ctx", nil, "must not be nil")
	case taskID == "":
		return nil, invalid("taskID", taskID, "must not be empty")
	}
	if err := validateText("taskID", taskID); err != nil {
		return nil, err
	}
	defer c.poller.join()()
	w := c.poller.waitFor(taskID, nil)
	defer c.poller.forget(w)
	return w.await(ctx)
}

// finished returns a task that is at its end, with the error that this may be.
func finished(task *ExportTask) (*ExportTask, error) {
	if task.Status == ExportTaskFail {
		return task, fmt.Errorf("%w: %s", ErrTaskFailed, redact.Excerpt(task.TaskID, redact.Short))
	}
	return task, nil
}

// target is a task that is waited for. The poller's lock guards it.
type target struct {
	id      string
	waiters map[*waiter]struct{}
	last    *ExportTask // as it was seen last; nil if it was not seen
	seenAt  time.Time   // when a response showed it last
	missing int         // how many look-ups in a row did not find it
	until   time.Time   // until when it may be missing, because it was just created

	lookUp   bool      // whether it is to be looked up
	since    time.Time // since when
	byID     bool      // whether pages of the list were tried in vain, so that it takes a request of its own
	lookUpAt time.Time // not before this time
	urgent   bool      // whether it comes before others
	tried    time.Time // when it was looked up by its id last
	failed   bool      // whether that failed
}

// waiter is one wait for a target.
type waiter struct {
	poller *poller
	target *target
	result chan waitResult
}

type waitResult struct {
	task *ExportTask
	err  error
}

// waitFor adds a wait. The task is looked up at once, unless it was just created: nil if not. Then the list may show
// it later if it has no status yet.
func (p *poller) waitFor(taskID string, created *ExportTask) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[taskID]
	if t == nil {
		t = &target{id: taskID, waiters: make(map[*waiter]struct{})}
		p.targets[taskID] = t
	}
	w := &waiter{poller: p, target: t, result: make(chan waitResult, 1)}
	t.waiters[w] = struct{}{}
	now := time.Now()
	if created != nil {
		t.until = now.Add(findFor)
		if created.Status != "" {
			p.see(t, *created, now)
			return w
		}
	}
	t.request(now)
	p.wakeUp()
	return w
}

// request has the target looked up, together with others if possible. The caller holds the lock.
func (t *target) request(now time.Time) {
	if !t.lookUp {
		t.since = now
	}
	t.lookUp, t.byID, t.lookUpAt = true, false, time.Time{}
}

// retry has the target looked up by its id at a time. The caller holds the lock.
func (t *target) retry(now, at time.Time) {
	t.lookUp, t.byID, t.since, t.lookUpAt = true, true, now, at
}

func (p *poller) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(w.target.waiters, w)
	if len(w.target.waiters) == 0 && p.targets[w.target.id] == w.target {
		delete(p.targets, w.target.id)
	}
}

// await waits for the end of the task or of ctx. Shortly before the deadline the task is looked up once more.
func (w *waiter) await(ctx context.Context) (*ExportTask, error) {
	last := time.NewTimer(untilLastLookUp(ctx))
	defer last.Stop()
	for {
		select {
		case result := <-w.result:
			return w.end(result)
		case <-last.C:
			w.poller.mu.Lock()
			w.target.request(time.Now())
			w.target.urgent = true
			w.poller.wakeUp()
			w.poller.mu.Unlock()
		case <-ctx.Done():
			select {
			case result := <-w.result: // select chooses at random
				return w.end(result)
			default:
			}
			return w.left(w.poller.endOf(ctx))
		}
	}
}

// untilLastLookUp returns how long it is to the look-up before the deadline: 1 s before it, or a tenth of the
// time that is left if that is less.
func untilLastLookUp(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 1<<63 - 1
	}
	left := time.Until(deadline)
	return left - min(time.Second, left/10)
}

func (w *waiter) end(result waitResult) (*ExportTask, error) {
	if result.err != nil {
		return w.left(result.err)
	}
	return finished(result.task)
}

// left returns the task as it was seen last, and err with its status.
func (w *waiter) left(err error) (*ExportTask, error) {
	w.poller.mu.Lock()
	last := w.target.last
	w.poller.mu.Unlock()
	if last == nil || errors.Is(err, ErrTaskNotFound) {
		return last, ofTask(w.target.id, err)
	}
	status := strconv.Quote(redact.Excerpt(string(last.Status), redact.Short))
	return new(*last), ofTask(w.target.id, fmt.Errorf("%w; the last status was %s", err, status))
}

// show gives the waits what a page shows of their tasks.
func (p *poller) show(ctx context.Context, rows []row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // all subscribers have left, and those of now are another run's
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
	t.lookUp, t.urgent = false, false
	if task.Status.Done() {
		t.end(t.last, nil)
	}
}

// miss notes that a look-up did not find the target. A task that was seen before may be missing in a stale read,
// so the second time counts. The caller holds the lock.
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
		default: // it has one, and is about to leave
		}
	}
}
