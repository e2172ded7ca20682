package cdn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/cenkalti/backoff/v5"
)

// WaitForExportTask waits until the task with the id taskID is finished. It returns the task at
// success, and at fail the task together with an error that wraps [ErrTaskFailed]. An id that the
// service does not know, or no longer knows, is [ErrTaskNotFound].
//
// All waits and watches of a client share one poller, which is there only while somebody waits. It
// reads the head of the list, as far down as something has changed: while nothing changes, a poll is
// one request, however many wait and however long the list is. The pauses between polls are those of
// [WithPollInterval]. Before that each wait has its task looked up once; many that come together
// share pages where their tasks are near the head of the list, and take a request each where not.
// Polls are nobody's own: they do not carry the values of ctx. They go by the times that the service
// gives: an end that is stamped before changes that the poller has seen may be missed where it is not
// among the first 100 tasks.
//
// Failures that may pass (what is retried, and malformed answers) make the polls slower, and no
// longer than the longest pause or what Retry-After asks for, 10 minutes at most. The last one is
// wrapped, beside the context's own error, when ctx ends. Any other failure ends the wait at once.
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
	w := &waiter{id: taskID, result: make(chan waitResult, 1)}
	c.poller.join(func() { c.poller.waiters[w] = struct{}{} })
	defer c.poller.leave(func() { delete(c.poller.waiters, w) })
	select {
	case result := <-w.result:
		if result.err != nil {
			return nil, ofTask(taskID, result.err)
		}
		return finished(&result.task)
	case <-ctx.Done():
		return nil, ofTask(taskID, c.poller.endOf(ctx))
	}
}

// finished is a task that is at its end, with the error that this may be.
func finished(task *ExportTask) (*ExportTask, error) {
	if task.Status == ExportTaskFail {
		return task, fmt.Errorf("%w: %s", ErrTaskFailed, redact.Excerpt(task.TaskID, redact.Short))
	}
	return task, nil
}

// WatchExportTasks yields each task that is created or changes from the call on, in the order of the
// changes, until ctx ends. The call itself reads the head of the list, to know what there is. A task
// that changes several times before the loop takes it is yielded once, as it is then. Removals are
// not yielded.
//
// Watches share the poller of [CdnClient.WaitForExportTask]. The error that ends the loop is yielded
// last, with a zero task: the context's, with the last failure that did not pass, or a failure that
// cannot pass, which any failure of the call's own reading is. Each range over the result begins with
// what has changed since the call. Should more than a page of tasks change within one millisecond, or
// one with a time before that of the newest, some may be missed.
func (c *CdnClient) WatchExportTasks(ctx context.Context) iter.Seq2[ExportTask, error] {
	const name = "WatchExportTasks"
	if ctx == nil {
		return endWith(fmt.Errorf("cdn: %s: %w", name, invalid("ctx", nil, "must not be nil")))
	}
	start, err := c.poller.firstView(ctx)
	if err != nil {
		return endWith(fmt.Errorf("cdn: %s: %w", name, err))
	}
	return func(yield func(ExportTask, error) bool) {
		w := &watcher{view: start, ready: make(chan struct{}, 1)}
		c.poller.join(func() { c.poller.watchers[w] = struct{}{} })
		defer c.poller.leave(func() { delete(c.poller.watchers, w) })
		for {
			select {
			case <-w.ready:
			case <-ctx.Done():
				yield(ExportTask{}, fmt.Errorf("cdn: %s: %w", name, c.poller.endOf(ctx)))
				return
			}
			tasks, err := w.take()
			for _, task := range tasks {
				if !yield(task, nil) {
					return
				}
			}
			if err != nil {
				yield(ExportTask{}, fmt.Errorf("cdn: %s: %w", name, err))
				return
			}
		}
	}
}

// endWith is a sequence of nothing but an error.
func endWith(err error) iter.Seq2[ExportTask, error] {
	return func(yield func(ExportTask, error) bool) { yield(ExportTask{}, err) }
}

// A waiter waits for one task to be finished.
type waiter struct {
	id     string
	looked bool  // whether the task needs no looking up before a poll shows it
	view   *view // what was known of the list when the task was looked up first
	result chan waitResult
}

type waitResult struct {
	task ExportTask
	err  error
}

func (w *waiter) end(task ExportTask, err error) {
	select {
	case w.result <- waitResult{task, err}:
	default: // it has ended already, and is about to leave
	}
}

// A watcher takes every change.
type watcher struct {
	view  *view // what it knows of the list
	ready chan struct{}

	mu    sync.Mutex
	queue []ExportTask
	err   error
}

// put adds changes to what the watcher has not taken yet, each task at its latest place.
func (w *watcher) put(changes []ExportTask, err error) {
	if len(changes) == 0 && err == nil {
		return
	}
	again := make(map[string]struct{}, len(changes))
	for _, task := range changes {
		again[task.TaskID] = struct{}{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = slices.DeleteFunc(w.queue, func(queued ExportTask) bool {
		_, ok := again[queued.TaskID]
		return ok
	})
	w.queue = append(w.queue, changes...)
	// What cannot pass ends the watch, though a later poll should do better.
	if w.err == nil {
		w.err = err
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *watcher) take() ([]ExportTask, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tasks := w.queue
	w.queue = nil
	return tasks, w.err
}

// A view is what the poller knows of the list at one moment: enough to tell what changes after it.
type view struct {
	marker int64                 // the time of the newest change that is known
	recent map[string]ExportTask // the tasks that changed at that very time
	head   int64                 // the time of the head; before the marker where a newer task was removed
	first  []stamp               // the first page
	total  int
}

// The poller polls the list for all who wait and watch. Its goroutine lives while there are any.
type poller struct {
	list   func(context.Context, *ListExportTasksRequest) (*ListExportTasksResponse, error)
	get    func(context.Context, string) (*ExportTask, error)
	min    time.Duration
	max    time.Duration
	logger *slog.Logger

	mu       sync.Mutex
	waiters  map[*waiter]struct{}
	watchers map[*watcher]struct{}
	stop     context.CancelFunc // ends the goroutine; nil where there is none
	wake     chan struct{}
	lastErr  error // the last failure that may pass, of a poll or of an attempt of it; nil after a success
}

func newPoller(c *CdnClient, o *options) *poller {
	const name = "ListExportTasks"
	p := &poller{
		min:      o.minPoll,
		max:      o.maxPoll,
		logger:   o.logger,
		waiters:  make(map[*waiter]struct{}),
		watchers: make(map[*watcher]struct{}),
	}
	p.list = func(ctx context.Context, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
		page, err := c.list(ctx, operation{name: name, poll: true, onRetry: func(err error) { p.note(ctx, inStep(name, err)) }}, request)
		return page, inStep(name, err)
	}
	p.get = func(ctx context.Context, taskID string) (*ExportTask, error) {
		const name = "GetExportTask"
		task, err := c.getTask(ctx, operation{name: name, poll: true, onRetry: func(err error) { p.note(ctx, inStep(name, err)) }}, taskID)
		return task, inStep(name, err)
	}
	return p
}

// join adds somebody and makes sure that the poller knows.
func (p *poller) join(add func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add()
	if p.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		p.stop, p.wake, p.lastErr = stop, make(chan struct{}, 1), nil
		go p.run(ctx, p.wake)
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// leave removes somebody, and the goroutine with the last one.
func (p *poller) leave(remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	remove()
	if len(p.waiters)+len(p.watchers) == 0 && p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// endOf is the error for a context that has ended, with the failure that kept the poller from knowing.
func (p *poller) endOf(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr != nil {
		return fmt.Errorf("%w; the last poll failed: %w", endOf(ctx), p.lastErr)
	}
	return endOf(ctx)
}

// run looks, polls and pauses until everybody has left.
func (p *poller) run(ctx context.Context, wake <-chan struct{}) {
	pauses := p.newPauses()
	var known *view
	var pollAt time.Time
	due := false
	for {
		next, changed, err := p.round(ctx, known, due)
		if ctx.Err() != nil {
			return
		}
		retryAfter := p.fail(ctx, err)
		if changed || !due {
			pauses.Reset()
		}
		pause := max(min(max(pauses.NextBackOff(), p.min), p.max), retryAfter)
		// A look does not put off the poll that is due after it.
		if at := time.Now().Add(pause); due || err != nil || known == nil || at.Before(pollAt) {
			pollAt = at
		}
		known = next
		// After a failure nobody is served before the pause is over.
		if err != nil {
			due = p.pause(ctx, pollAt, nil)
			continue
		}
		due = p.pause(ctx, pollAt, wake)
	}
}

// newPauses draws the pauses between polls.
func (p *poller) newPauses() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: p.min, MaxInterval: p.max, Multiplier: 1.5, RandomizationFactor: 0.2}
}

// pause waits for the time of the next poll, or for somebody who comes. It reports whether it was the
// former.
func (p *poller) pause(ctx context.Context, until time.Time, wake <-chan struct{}) (due bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wake:
	case <-ctx.Done():
	}
	return false
}

// round does what there is to do: a first view of the list, a poll that is due, a look at the tasks
// that were not looked at yet. The view comes before the look, so that whatever changes after the look
// shows in a later poll.
func (p *poller) round(ctx context.Context, known *view, due bool) (next *view, changed bool, err error) {
	switch {
	case known == nil:
		if known, err = p.firstView(ctx); err != nil {
			return nil, false, err
		}
	case due, p.hasNewWatcher(known):
		if known, changed, err = p.poll(ctx, known); err != nil {
			return known, false, err
		}
	}
	return known, changed, p.look(ctx, known)
}

// fail tells everybody of a failure that cannot pass, and remembers one that may. It returns the pause
// that the service asks for.
func (p *poller) fail(ctx context.Context, err error) (retryAfter time.Duration) {
	if !p.tell(ctx, err) {
		return 0
	}
	// A logger may take its time, or call the client.
	p.logger.Warn("cdn: a poll failed, trying again", "error", err)
	var answer *APIError
	if errors.As(err, &answer) {
		retryAfter = min(answer.RetryAfter, maxRetryAfter)
	}
	return retryAfter
}

// note remembers why the requests of a poll are tried again, unless everybody has left it.
func (p *poller) note(ctx context.Context, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil {
		p.lastErr = failure
	}
}

// tell is fail's part under the lock. It reports whether there is a failure that may pass.
func (p *poller) tell(ctx context.Context, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	p.lastErr = nil
	switch {
	case err == nil:
		return false
	case mayPassForPoll(err):
		p.lastErr = err
		return true
	}
	for w := range p.waiters {
		w.end(ExportTask{}, err)
	}
	for w := range p.watchers {
		w.put(nil, err)
	}
	return false
}

// mayPassForPoll reports whether the next poll may do better: whatever is retried, and answers that
// make no sense.
func mayPassForPoll(err error) bool {
	var answer *APIError
	switch {
	case errors.Is(err, ErrMalformedResponse), errors.Is(err, ErrThrottled):
		return true
	case errors.As(err, &answer):
		return isTransientResponse(answer)
	case isOwn(err):
		return false
	}
	return retry.IsTransient(err)
}

// firstView reads the head of the list, down through the millisecond of its first task.
func (p *poller) firstView(ctx context.Context) (*view, error) {
	reader, found := p.newReader(ctx)
	list := reader.list
	reader.list = func(offset int) (*ListExportTasksResponse, error) {
		page, err := list(offset)
		if err == nil && reader.bound == math.MinInt64 && len(page.Data) > 0 {
			reader.bound = updatedAt(page.Data[0])
		}
		return page, err
	}
	if err := reader.read(); err != nil {
		return nil, err
	}
	return newView(reader, *found, nil), nil
}

// newReader is a reader of the list that collects what it reads.
func (p *poller) newReader(ctx context.Context) (reader *listReader, found *[]ExportTask) {
	found = new([]ExportTask)
	reader = newListReader(0, func(task ExportTask, _ error) bool {
		*found = append(*found, task.unshared()) // they are kept from poll to poll, and by watches not taken from
		return true
	})
	reader.again = true
	reader.list = func(offset int) (*ListExportTasksResponse, error) {
		return p.list(ctx, &ListExportTasksRequest{Limit: pageLimit, Offset: offset})
	}
	return reader, found
}

// newView is what is known after a read.
func newView(reader *listReader, found []ExportTask, before *view) *view {
	v := &view{marker: reader.marker, recent: make(map[string]ExportTask), head: reader.marker, first: reader.first, total: reader.total}
	if before != nil && before.marker >= v.marker {
		// Where the head was removed, what is older is no news, and may not have been read.
		v.marker = before.marker
		maps.Copy(v.recent, before.recent)
	}
	for _, task := range found {
		if updatedAt(task) == v.marker {
			v.recent[task.TaskID] = task
		}
	}
	return v
}

// readSince reads what has changed since known, and since bound where that is longer ago.
func (p *poller) readSince(ctx context.Context, known *view, bound int64) (found []ExportTask, next *view, err error) {
	reader, read := p.newReader(ctx)
	// Where the first page is as it was, nothing has moved, and one request is enough.
	reader.bound, reader.first, reader.total, reader.quiet = known.head, known.first, known.total, true
	if bound < known.head {
		reader.bound, reader.quiet = bound, false
	}
	if err := reader.read(); err != nil {
		return nil, known, err
	}
	return *read, newView(reader, *read, known), nil
}

// poll reads what has changed since known and hands it out.
func (p *poller) poll(ctx context.Context, known *view) (next *view, changed bool, err error) {
	watchers, oldest := p.watchersNow()
	found, next, err := p.readSince(ctx, known, oldest)
	if err != nil {
		return known, false, err
	}
	changes := known.changes(found)
	p.deliver(ctx, watchers, found, next)
	if known.hasRemovals(changes, next) {
		p.lookAgain()
	}
	return next, len(changes) > 0, nil
}

// changes are the tasks of found that have changed since the view, the first change first, each as it
// was found last.
func (v *view) changes(found []ExportTask) []ExportTask {
	latest := make(map[string]int, len(found))
	for i, task := range found {
		latest[task.TaskID] = i
	}
	var changes []ExportTask
	for i, task := range slices.Backward(found) {
		if latest[task.TaskID] == i && v.isChange(task) {
			changes = append(changes, task)
		}
	}
	slices.SortStableFunc(changes, func(a, b ExportTask) int { return cmp.Compare(updatedAt(a), updatedAt(b)) })
	return changes
}

// isChange reports whether the task has changed since the view. Of two changes in one millisecond,
// the second shows in the task only. A download link may be another in each answer.
func (v *view) isChange(task ExportTask) bool {
	if updatedAt(task) != v.marker {
		return updatedAt(task) > v.marker
	}
	before, known := v.recent[task.TaskID]
	before.DownloadLink = task.DownloadLink
	return !known || before != task
}

// hasRemovals reports whether the list has become shorter than what was created explains.
func (v *view) hasRemovals(changes []ExportTask, next *view) bool {
	created := 0
	for _, task := range changes {
		if !task.CreateTime.IsZero() && v.isCreation(task) {
			created++
		}
	}
	return next.total < v.total+created
}

// watchersNow are the watchers that a poll which begins now reads for, and the head of the oldest view
// among theirs. Those who come while it reads are left to the next poll.
func (p *poller) watchersNow() ([]*watcher, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := int64(math.MaxInt64)
	for w := range p.watchers {
		oldest = min(oldest, w.view.head)
	}
	return slices.Collect(maps.Keys(p.watchers)), oldest
}

// hasNewWatcher reports whether a watcher has come since the last poll.
func (p *poller) hasNewWatcher(known *view) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watchers {
		if w.view != known {
			return true
		}
	}
	return false
}

// deliver gives everybody what a poll has found. A watcher that came since the last poll has a view of
// its own to compare with.
func (p *poller) deliver(ctx context.Context, watchers []*watcher, found []ExportTask, next *view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for _, w := range watchers {
		w.put(w.view.changes(found), nil)
		w.view = next
	}
	done := make(map[string]ExportTask)
	for _, task := range found {
		delete(done, task.TaskID)
		if task.Status.Done() {
			done[task.TaskID] = task
		}
	}
	for w := range p.waiters {
		if task, ok := done[w.id]; ok {
			w.end(task, nil)
		}
	}
}

// look looks up the tasks that somebody waits for and that were not looked at yet. Where many came at
// once, the head of the list shows most of them for less than a request each.
func (p *poller) look(ctx context.Context, known *view) error {
	const (
		gathering    = 10 * time.Millisecond // for those who come together to be looked after together
		tasksPerPage = 4                     // how many a page must show to be worth its request
		maxFailures  = 3                     // how many look-ups may fail before the rest is left for later
	)
	if len(p.unlooked()) == 0 {
		return nil
	}
	p.pause(ctx, time.Now().Add(gathering), nil)
	ids := p.unlooked()
	for offset, budget := 0, len(ids)/tasksPerPage; budget > 0 && len(ids) > 0; budget-- {
		page, err := p.list(ctx, &ListExportTasksRequest{Limit: pageLimit, Offset: offset})
		if err != nil {
			return err
		}
		for _, task := range page.Data {
			if _, ok := ids[task.TaskID]; ok {
				p.settle(ctx, known, task.TaskID, task, nil)
				delete(ids, task.TaskID)
			}
		}
		if offset += len(page.Data); len(page.Data) == 0 || offset >= page.Total {
			break
		}
	}
	var failure error
	failures := 0
	for id := range ids {
		err := p.lookUp(ctx, known, id)
		if err == nil {
			continue
		}
		// One task that cannot be looked up does not keep the others from it; a service in trouble does.
		if failures++; failures == maxFailures || errors.Is(err, ErrThrottled) || !mayPassForPoll(err) || ctx.Err() != nil {
			return err
		}
		failure = err
	}
	return failure
}

// lookUp looks up one task. What the service says of this one ends the waits for this one only.
func (p *poller) lookUp(ctx context.Context, known *view, id string) error {
	task, err := p.get(ctx, id)
	var answer *APIError
	switch {
	case err == nil:
		p.settle(ctx, known, id, *task, nil)
		return nil
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden), mayPassForPoll(err):
		return err
	case errors.Is(err, ErrTaskNotFound), errors.As(err, &answer):
		p.settle(ctx, known, id, ExportTask{}, err)
		return nil
	}
	return err
}

func (p *poller) unlooked() map[string]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make(map[string]struct{})
	for w := range p.waiters {
		if !w.looked {
			ids[w.id] = struct{}{}
		}
	}
	return ids
}

// settle notes that a task was looked up, and ends the waits for it where it is at its end.
func (p *poller) settle(ctx context.Context, known *view, id string, task ExportTask, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // everybody has left, and whoever waits now is another poller's
	}
	for w := range p.waiters {
		if w.id != id {
			continue
		}
		// A task that is newer than the view may be removed before a poll has counted it, and is looked
		// up once more after the next poll.
		if w.view == nil {
			w.view = known
		}
		w.looked = task.CreateTime.IsZero() || !known.isCreation(task) || w.view != known
		if err != nil || task.Status.Done() {
			w.end(task, err)
		}
	}
}

// lookAgain has every task looked up again.
func (p *poller) lookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiters {
		w.looked = false
	}
}
