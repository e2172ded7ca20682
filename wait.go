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
// runs only while there are any. A poll reads the head of the list, as far down as something has changed. That is
// one request while nothing changes, however many waits there are. A second request beside each poll covers the tasks
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

// finished returns a task with a final status. The error wraps ErrTaskFailed if that is fail.
func finished(task *ExportTask) (*ExportTask, error) {
	if task.Status == ExportTaskFail {
		return task, fmt.Errorf("%w: %s", ErrTaskFailed, redact.Excerpt(task.TaskID, redact.Short))
	}
	return task, nil
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

// waitFor adds a wait. created is the task if it was just created, and nil otherwise. The task is looked up unless
// created has a status. A look-up may miss a task that was just created for findFor.
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

// untilLastLookUp returns the time until the last look-up, which is 1 s before the deadline of ctx, or a tenth of the
// time that is left if that is less.
func untilLastLookUp(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 1<<63 - 1
	}
	left := time.Until(deadline)
	return left - min(time.Second, left/10)
}

// end returns the result, with the status of the task in its error.
func (w *waiter) end(result waitResult) (*ExportTask, error) {
	if result.err != nil {
		return w.left(result.err)
	}
	return finished(result.task)
}

// left returns the task as a response showed it last, and err with the id and that status.
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
