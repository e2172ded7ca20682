package cdn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
	"example.com/huaweicloud/cdn/internal/redact"
)

// batch has the exports of one client whose tasks are not proved yet. The response to a create does not name the task,
// so a batch matches tasks and creates by counting. It collects the tasks that are new in the list since it began, in
// order. Create n+1 is sent only after the list shows n new tasks, so new task n belongs to create n if no other user
// creates tasks.
//
// A reading proves that. The list shows a task at most one lag after its create was accepted. So a reading that begins
// one lag after create k shows the tasks of all creates up to k. If it shows exactly k new tasks, none is another
// user's. If it shows more while no create is in flight, one of them is another user's, and the whole batch is
// ambiguous. The poller's lock guards a batch.
type batch struct {
	claims   []*claim   // the accepted creates, in order
	created  []creation // the new tasks, in order
	inFlight bool       // whether a create was sent and its response is not known
	began    time.Time  // when the first create was accepted
	settleAt time.Time  // when a reading may prove the tasks; zero if no reading is needed
	depth    int64      // the stamp down to which a reading shows all new tasks
	total    int        // the number of tasks in the list when the batch began
	named    map[string]bool
	changed  chan struct{} // closed and replaced after each change
}

// claim is one accepted create. Its result is set before done is closed.
type claim struct {
	accepted time.Time
	done     chan struct{}
	task     *ExportTask
	err      error
}

const (
	// batchLags limits the age of a batch, in lags. One task of another user makes the whole batch ambiguous.
	batchLags = 5
	// findFor is how long an accepted create waits for its task to appear in the list.
	findFor = 2 * time.Minute
)

// newBatch returns a batch whose base is the last reading.
func newBatch(known *snapshot) *batch {
	return &batch{
		depth: belowSkew(known.head), total: known.total,
		named: make(map[string]bool), changed: make(chan struct{}),
	}
}

// notify wakes the goroutines that wait for a change of the batch.
func (b *batch) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// found adds new tasks of the list.
func (b *batch) found(created []creation) {
	for _, c := range created {
		if !b.named[c.task.TaskID] {
			b.created = append(b.created, c)
		}
	}
	if len(created) > 0 {
		b.notify()
	}
}

// name removes the task that the response to its create named.
func (b *batch) name(id string) {
	b.named[id] = true
	for i, c := range b.created {
		if c.task.TaskID == id {
			b.created = append(b.created[:i:i], b.created[i+1:]...)
			return
		}
	}
}

// accept adds a create that the service accepted.
func (b *batch) accept(now time.Time, lag time.Duration) *claim {
	if len(b.claims) == 0 {
		b.began = now
	}
	c := &claim{accepted: now, done: make(chan struct{})}
	b.claims = append(b.claims, c)
	b.settleAt = now.Add(lag)
	return c
}

// isReady reports whether another create may join the batch. The list must show as many new tasks as the batch has
// claims, and the batch must be young enough.
func (b *batch) isReady(now time.Time, lag time.Duration) bool {
	return len(b.created) == len(b.claims) && (len(b.claims) == 0 || now.Sub(b.began) < batchLags*lag)
}

// isOverdue reports whether a task of the batch is not in the list one lag after its create.
func (b *batch) isOverdue(now time.Time) bool {
	return b != nil && len(b.created) < len(b.claims) && !b.settleAt.After(now)
}

// isDue reports whether a reading may prove the tasks now.
func (b *batch) isDue(now time.Time) bool {
	return b != nil && !b.settleAt.IsZero() && !now.Before(b.settleAt)
}

// settle ends the claims that a reading decides. began is when the reading began, and total is the number of tasks in
// the list. A reading proves nothing unless it shows all new tasks, and the total grew by no more than these.
func (b *batch) settle(began time.Time, showsAllNew bool, total int, lag time.Duration) {
	if !b.settleAt.After(began) {
		b.settleAt = time.Time{}
	}
	k := 0
	for k < len(b.claims) && !b.claims[k].accepted.Add(lag).After(began) {
		k++
	}
	if k == 0 {
		return
	}
	last := b.claims[len(b.claims)-1].accepted
	switch isAll := showsAllNew && total-b.total <= len(b.created)+len(b.named); {
	case k == len(b.created) && isAll && !b.isUnsure():
		for i, c := range b.claims[:k] {
			c.end(&b.created[i].task, nil)
		}
		b.claims, b.created, b.total = b.claims[k:], nil, total
		if len(b.claims) > 0 {
			b.began = b.claims[0].accepted
		}
	case b.inFlight || k < len(b.claims):
		return
	case len(b.created) > k, b.isUnsure():
		b.end(&AmbiguousExportError{b.candidates()})
	case began.Sub(last) < max(findFor, batchLags*lag):
		return
	case len(b.created) == k:
		b.end(fmt.Errorf("the list does not show all that is new: %w", &AmbiguousExportError{b.candidates()}))
	default:
		b.end(unfound(errors.New("there is no new task in the list")))
	}
	b.notify()
}

func (b *batch) isUnsure() bool {
	for _, c := range b.created {
		if c.unsure {
			return true
		}
	}
	return false
}

// candidates returns the new tasks of the batch.
func (b *batch) candidates() []ExportTask {
	var tasks []ExportTask
	for _, c := range b.created {
		tasks = append(tasks, c.task)
	}
	return tasks
}

// end ends all claims with err.
func (b *batch) end(err error) {
	for _, c := range b.claims {
		c.end(nil, err)
	}
	b.claims, b.created = nil, nil
	b.notify()
}

func (c *claim) end(task *ExportTask, err error) {
	c.task, c.err = task, err
	close(c.done)
}

// unfound returns the error for a create that was accepted and whose task was not found.
func unfound(why error) error { return outcomeUnknown{fmt.Errorf("find the new task: %w", why)} }

// lost returns the error for a create whose response was lost, after a reading one lag later. A single candidate
// proves nothing: it may be another user's task, and the create may still take effect.
func lost(err error, candidates []ExportTask) error {
	switch len(candidates) {
	case 0:
		return fmt.Errorf("%w (there is no new task in the list yet)", err)
	case 1:
		id := redact.Excerpt(candidates[0].TaskID, redact.Short)
		return fmt.Errorf("%w (%s is new, and may be it or another user's): %w", err, id, &AmbiguousExportError{candidates})
	}
	return fmt.Errorf("%w; %w", err, &AmbiguousExportError{candidates})
}

// settleDepth returns the stamp down to which the next reading decides claims, or maxStamp if none can be decided.
func (p *poller) settleDepth(now time.Time) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.batch; b != nil && len(b.claims) > 0 && !b.settleAt.After(now) {
		return b.depth
	}
	return maxStamp
}

// settleBy lets a complete reading that began at a time decide what it can. The caller holds the lock.
func (p *poller) settleBy(began time.Time) {
	b := p.batch
	if b == nil {
		return
	}
	b.settle(began, p.showsAllNew(b), p.known.total, p.lag)
	if len(b.claims) == 0 && !b.inFlight {
		b.notify()
		p.batch = nil
	}
}

// showsAllNew reports whether the last reading went down to what the batch began with. Pages of one row cannot overlap,
// so a task may move past them unseen. The caller holds the lock.
func (p *poller) showsAllNew(b *batch) bool {
	if p.rounds.pageLen == 1 && p.rounds.end > 1 {
		return false
	}
	return p.known.low == movinglist.NoStamp || p.known.low < b.depth
}

// pacedBaseAge is how old the base of a batch may be while requests wait for the quota.
const pacedBaseAge = time.Minute

// baseAge returns how old the base of a batch may be. A newer base makes it less likely that another user's task is
// among the new ones. While each request waits for the quota, a reading for each create would take too long.
func (p *poller) baseAge() time.Duration {
	if p.isPaced() {
		return max(p.lag, pacedBaseAge)
	}
	return max(p.lag, time.Second)
}

// openBatch waits until a create may be sent, and marks it as in flight. The base of a new batch is the last
// reading if that is not too old, and otherwise one of its own.
func (p *poller) openBatch(ctx context.Context) error {
	for own := false; ; {
		p.mu.Lock()
		now := time.Now()
		fresh := own || !p.schedule.baseline && !p.readAt.Before(now.Add(-p.baseAge()))
		ready := p.batch == nil || p.batch.isReady(now, p.lag)
		if fresh && ready {
			if p.batch == nil {
				p.batch = newBatch(p.known)
			}
			p.batch.inFlight = true
			p.mu.Unlock()
			return nil
		}
		var changed chan struct{}
		if !ready {
			changed = p.batch.changed
		}
		p.mu.Unlock()
		if ready {
			if err := p.read(ctx, &demand{depth: maxStamp}); err != nil {
				return err
			}
			own = true
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p.endOf(ctx)
		}
		own = false
	}
}

// closeCreate ends a create: accepted with a claim, named by its response, refused or lost.
func (p *poller) closeCreate(accepted bool, id string) *claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.batch
	b.inFlight = false
	var c *claim
	switch {
	case id != "":
		b.name(id)
	case accepted:
		c = b.accept(time.Now(), p.lag)
	}
	if c == nil && len(b.claims) > 0 {
		b.settleAt = time.Now() // what was in flight left it open
	}
	if len(b.claims) == 0 {
		p.batch = nil
	}
	p.wakeUp()
	return c
}
