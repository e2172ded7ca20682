package cdn

import (
	"context"
	"fmt"
	"iter"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// WatchExportTasks yields each task that is created or changes from the call on, in the order of the changes,
// until ctx ends. The call itself reads the head of the list, to know what there is. A task that changes several
// times before the loop takes it is yielded once, as it is then. Removals are not yielded.
//
// Watches share the poller of [CdnClient.WaitForExportTask], and yield a change within the same time. A change
// that leaves the time of change as it was, in a task below the head, is yielded only if the watch has read the
// task before: it reads the whole list once in that time. What a watch holds for a slow loop is bounded by the
// length of the list.
//
// The error that ends the loop is yielded last, with a zero task. It is the context's, with the last transient
// failure, or a permanent failure. Any failure of the call's own reading ends the loop. Each range over the result
// begins with what has changed since the call.
func (c *CdnClient) WatchExportTasks(ctx context.Context) iter.Seq2[ExportTask, error] {
	const name = "WatchExportTasks"
	start, err := c.watchExportTasks(ctx)
	return func(yield func(ExportTask, error) bool) {
		err := err
		if err == nil {
			err = c.poller.watch(ctx, start, yield)
		}
		if err != nil {
			yield(ExportTask{}, fmt.Errorf("cdn: %s: %w", name, err))
		}
	}
}

func (c *CdnClient) watchExportTasks(ctx context.Context) (bookmark, error) {
	if ctx == nil {
		return bookmark{}, invalid("ctx", nil, "must not be nil")
	}
	defer c.poller.join()()
	reading := &demand{baseline: true, depth: maxStamp}
	err := c.poller.read(ctx, reading)
	return reading.at, err
}

// watch is one range over the changes. The poller's lock guards it.
type watch struct {
	at    bookmark // what was yielded
	err   error    // what ends the watch
	ready chan struct{}
}

// wakeUp tells the loop that there may be something to take.
func (w *watch) wakeUp() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// end ends the watch after what was not taken yet. The first error counts.
func (w *watch) end(err error) {
	if w.err == nil {
		w.err = err
	}
	w.wakeUp()
}

// watch yields what changes after the bookmark. It returns nil if yield returns false.
func (p *poller) watch(ctx context.Context, at bookmark, yield func(ExportTask, error) bool) error {
	w := &watch{at: at, ready: make(chan struct{}, 1)}
	leave := p.addWatch(w)
	defer leave()
	// An iter.Pull that is dropped never returns from yield.
	defer context.AfterFunc(ctx, leave)()
	for {
		select {
		case <-w.ready:
		case <-ctx.Done():
			return p.endOf(ctx)
		}
		tasks, err := p.take(w)
		for _, task := range tasks {
			if !yield(task, nil) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// addWatch adds a watch and returns the function that removes it. If the poller was not running all the time
// since the bookmark, it reads all that has changed since then first.
func (p *poller) addWatch(w *watch) (leave func()) {
	leavePoller := p.join()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[w] = struct{}{}
	w.wakeUp()
	if w.at.start != p.starts {
		depth := int64(movinglist.NoStamp)
		if w.at.head != movinglist.NoStamp {
			depth = belowSkew(w.at.head)
		}
		p.demands = append(p.demands, &demand{depth: depth, done: make(chan struct{})})
		p.wakeUp()
	}
	return func() {
		p.mu.Lock()
		delete(p.watches, w)
		p.mu.Unlock()
		leavePoller()
	}
}

// take returns what has changed since the watch took something last.
func (p *poller) take(w *watch) ([]ExportTask, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tasks := p.known.since(w.at)
	w.at.change = p.known.changes
	return tasks, w.err
}
