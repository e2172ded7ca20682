package movinglist

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrContradiction is wrapped by the error of a list that contradicts itself, or moves faster than it can
// be read.
var ErrContradiction = errors.New("the list contradicts itself")

const (
	maxPasses    = 32 // how often a list is read at most
	maxFruitless = 8  // how many passes in a row may bring nothing
	maxRestarts  = 3  // how often the window begins anew on a list in the order of its stamps
	minPause     = 100 * time.Millisecond
	maxPause     = 2 * time.Second
)

// All calls visit with each row of the list once, as it was read first. Every row that is there when All
// begins and is not removed before it returns is visited. All returns nil if visit returns false.
//
// A list that moves is read several times, with pauses that end with ctx. Errors are those of fetch, the
// context's, and one that wraps [ErrContradiction].
func All[T any](ctx context.Context, fetch Fetch[T], limit int, visit func(Row[T]) bool) error {
	pause := func(d time.Duration) error { return sleep(ctx, d) }
	return all(pause, fetch, limit, visit)
}

func all[T any](pause func(time.Duration) error, fetch Fetch[T], limit int, visit func(Row[T]) bool) error {
	w := &whole[T]{pause: pause, fetch: fetch, limit: limit, visit: visit, passOf: make(map[string]int32)}
	err := w.read()
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

var errStopped = errors.New("visit returned false")

// whole is the state of a call of All.
type whole[T any] struct {
	pause func(time.Duration) error
	fetch Fetch[T]
	limit int
	visit func(Row[T]) bool

	pass      int32
	passOf    map[string]int32 // the last pass that read each id
	window    int32            // the first pass whose ids are counted
	counted   int              // how many ids were read since the window began
	found     int              // how many of them the present pass was the first to read
	disorder  bool             // whether stamps were out of order or equal in any pass
	restarts  int              // how often the window began anew because a row may have been removed
	fruitless int              // how many passes in a row found nothing

	total   int   // the total when the window began
	created int64 // the last time of creation on the first page of the window
	newer   int   // how many rows were created after that time
	last    int   // the total of the last page
	fell    bool  // whether the total fell in the window
	excess  int   // how many rows the list has above its total
}

// read makes passes until nothing can be missing.
func (w *whole[T]) read() error {
	pause := minPause
	bound := int64(NoStamp)
	for ; w.pass < maxPasses && w.fruitless < maxFruitless; w.pass++ {
		if w.pass > 0 {
			if err := w.pause(pause); err != nil {
				return err
			}
			pause = min(2*pause, maxPause)
		}
		w.found = 0
		p, err := w.readPass(bound)
		if err != nil {
			return err
		}
		var complete bool
		if bound, complete, err = w.next(p, bound); err != nil || complete {
			return err
		}
		w.fruitless++
		if w.found > 0 {
			w.fruitless = 0
		}
	}
	return fmt.Errorf("%w, or moves faster than it can be read: %d rows were read in %d passes, and it has %d", ErrContradiction, w.counted, w.pass, w.total)
}

// next returns the bound of the pass that follows p, which read down to bound. It reports whether the list is
// complete instead, so that no pass follows.
func (w *whole[T]) next(p *Pass[T], bound int64) (next int64, complete bool, err error) {
	w.disorder = w.disorder || p.Disordered
	if p.Ended && p.End < p.Total && !p.Moved {
		if more, err := w.askAgain(p); more || err != nil {
			return NoStamp, false, err
		}
	}
	if p.Ended && bound == NoStamp {
		w.excess = max(0, p.End-p.Total)
	}
	switch {
	case w.mayHaveRemoved(p) && (w.disorder || w.restarts < maxRestarts):
		w.window = w.pass + 1
		w.restarts++
	case p.Moved:
		return p.Bound, false, nil
	case w.disorder && w.counted > p.Total+w.excess:
		w.window = w.pass + 1 // ids were counted whose rows are gone
	case w.counted >= p.Total+w.excess && (w.found == 0 || w.isPlain(p)):
		return NoStamp, true, nil
	}
	return NoStamp, false, nil
}

// isPlain reports whether a pass proves by itself that nothing is missing. Otherwise a second pass must find
// nothing: pages of one row cannot overlap, and equal stamps in another order in each response hide a removal.
func (w *whole[T]) isPlain(p *Pass[T]) bool {
	return p.Total <= 1 || p.Longest > 1 && (!w.disorder || w.pass == 0 && !p.Shuffled)
}

// mayHaveRemoved reports whether the counted ids may include some whose rows were removed.
func (w *whole[T]) mayHaveRemoved(p *Pass[T]) bool {
	return w.fell || p.Total < w.total+w.newer
}

// askAgain requests the page after the end of a list that has fewer rows than its total, since totals may be old. It
// reports whether there are more rows now. The error says that the total stays too high.
func (w *whole[T]) askAgain(p *Pass[T]) (more bool, err error) {
	pause := minPause
	for range maxFruitless {
		if err := w.pause(pause); err != nil {
			return false, err
		}
		pause = min(2*pause, maxPause)
		page, err := w.fetch(p.End)
		if err != nil {
			return false, err
		}
		w.fell = w.fell || page.Total < w.last
		w.last = page.Total
		if page.Total <= p.End || len(page.Rows) > 0 {
			p.Total = page.Total
			return len(page.Rows) > 0, nil
		}
	}
	return false, fmt.Errorf("%w: its total is %d, and it ends after %d rows", ErrContradiction, p.Total, p.End)
}

// readPass reads down to bound, or to the end.
func (w *whole[T]) readPass(bound int64) (*Pass[T], error) {
	p := NewPass(w.fetch, 0, w.limit)
	p.Present = time.Now().UnixMilli()
	for !p.Ended {
		rows, err := p.Next()
		if err != nil {
			return nil, err
		}
		w.fell = w.fell || p.Total < w.last
		w.last = p.Total
		if p.pages == 1 && w.pass == w.window {
			w.beginWindow(p, rows)
		}
		if err := w.take(rows); err != nil {
			return nil, err
		}
		if p.Barren > 3+20/max(1, p.Longest) {
			return nil, fmt.Errorf("%w, or moves faster than it can be read: nothing new in %d pages before offset %d of %d", ErrContradiction, p.Barren, p.offset, p.Total)
		}
		if p.Fits && p.Low < bound {
			break
		}
	}
	return p, nil
}

func (w *whole[T]) beginWindow(p *Pass[T], rows []Row[T]) {
	w.total, w.newer, w.counted, w.created, w.fell = p.Total, 0, 0, NoStamp, false
	for _, row := range rows {
		w.created = max(w.created, row.Created)
	}
}

// take counts the rows and visits those that are read for the first time.
func (w *whole[T]) take(rows []Row[T]) error {
	for i, row := range rows {
		if row.ID == "" {
			return fmt.Errorf("%w: row %d of a page has no id", ErrContradiction, i)
		}
		pass, known := w.passOf[row.ID]
		if !known || pass < w.window {
			w.counted++
			w.found++
		}
		w.passOf[row.ID] = w.pass
		if known {
			continue
		}
		if row.Created > w.created {
			w.newer++
		}
		if !w.visit(row) {
			return errStopped
		}
	}
	return nil
}

// sleep returns the context's error if ctx ends before the pause.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return context.Cause(ctx)
}
