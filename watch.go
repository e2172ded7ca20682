package cdn

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// WatchExportTasks yields each task that is created or changes from the call on, in the order of the changes,
// until ctx ends. The call itself reads the head of the list, to know what there is. A task that changes several
// times before the loop takes it is yielded once, as the list showed it last by then. Removals are not yielded.
//
// Watches share the poller of [CdnClient.WaitForExportTask], and yield a change within the same time. A change
// that leaves the time of change as it was, in a task below the head, is yielded only if the watch has read the
// task before: it reads the whole list once in that time. A new task may not be yielded if its time of change is more
// than 10 seconds before the call, unless the call has read the whole list. What a watch holds for a slow loop is
// bounded by the length of the list.
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
	// at is the bookmark up to which changes were taken in rounds.
	at bookmark
	// round holds the entries that changed up to at and are not yielded yet, the first change first.
	round []*entry
	// ahead holds the changes after at that this round has yielded already.
	ahead map[*entry]int64
	err   error // ends the watch after one more round
	last  bool  // whether round is that one
	ready chan struct{}
}

// wakeUp tells the loop that there may be something to take.
func (w *watch) wakeUp() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// end ends the watch once its loop has taken all changes. The first error counts.
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
	for ctx.Err() == nil {
		task, err := p.take(w)
		switch {
		case task != nil:
			if !yield(*task, nil) {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
		}
	}
	return p.endOf(ctx)
}

// addWatch adds a watch and returns the function that removes it. If the poller has stopped since the bookmark, the
// watch demands a reading of all that has changed since then.
func (p *poller) addWatch(w *watch) (leave func()) {
	leavePoller := p.join()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[w] = struct{}{}
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

// take returns the next task to yield, as the list showed it last. It returns nil if nothing has changed, with the
// error that ends the watch, if any.
//
// A task keeps its place in a round if it changes again meanwhile, so a slow loop comes to each task.
func (p *poller) take(w *watch) (*ExportTask, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(w.round) == 0 && !w.last {
		w.beginRound(p.known)
	}
	if len(w.round) == 0 {
		return nil, w.err
	}
	e := w.round[0]
	w.round = w.round[1:]
	if e.change > w.at.change {
		w.ahead[e] = e.change
	}
	return new(e.task), nil
}

// beginRound takes all changes since the last round, except those that the last round has yielded.
func (w *watch) beginRound(s *snapshot) {
	w.round = slices.DeleteFunc(s.since(w.at), func(e *entry) bool { return w.ahead[e] == e.change })
	w.ahead = make(map[*entry]int64)
	w.at.change = s.changes
	w.last = w.err != nil
}
