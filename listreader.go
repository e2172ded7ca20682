package cdn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Why nothing is missed, though the list moves between two requests.
//
// The list is sorted by time of change. A task that is new or changes goes to the head, any task may
// be removed, and the tasks that do neither keep their order. A pass reads the list downwards in pages
// that overlap by a task. It goes on below a page only if the page is anchored: its first task was
// read in this pass and has not changed since, or has changed after the pass began and so stands above
// all that has not. Either way every unchanged task above the page has been read, and the page holds
// the next ones without a gap. A page that is not anchored shows that tasks above it were removed, and
// the reader steps back. So a pass reads every task that does not change while it lasts.
//
// What changes during a pass is then at the head, with times no older than the head's when the pass
// began. The next pass reads the head down to that time, and so on. A pass that takes one page takes
// it all in at one moment: nothing is left behind it. Times count in milliseconds, and how the service
// orders changes of one millisecond is not known. So a pass reads down to an older millisecond, and
// where one millisecond fills more than a page, it is the last one if the head is still the one it
// began with and either the pass was itself about that millisecond only, or nothing was seen to move.
//
// Pages of a service that caps them at one task cannot overlap. There a removal may hide a task.

// A listReader reads a whole list that moves.
type listReader struct {
	list  func(offset int) (*ListExportTasksResponse, error)
	yield func(ExportTask, error) bool
	skip  int  // tasks that are still to be skipped
	again bool // whether tasks are yielded each time they are read

	seen   map[string]sighting
	pass   int32
	bound  int64   // what changed before this time is known
	marker int64   // the time of the head when the pass began
	first  []stamp // the page that the pass began with
	total  int     // as that page has it

	offset    int
	last      stamp // the last task of the page before
	quiet     bool  // whether the pass saw nothing move
	single    int   // the offset behind an anchored page of one task, or -1
	fruitless int   // requests since a task was found
	pageLen   int   // the length of the last page that was not empty
}

// sighting is what is remembered of a task.
type sighting struct {
	updated int64
	pass    int32
}

// stamp is a task at one time of its life.
type stamp struct {
	id      string
	updated int64
}

func taskStamp(task ExportTask) stamp { return stamp{task.TaskID, updatedAt(task)} }

func stampsOf(tasks []ExportTask) []stamp {
	stamps := make([]stamp, 0, len(tasks))
	for _, task := range tasks {
		stamps = append(stamps, stamp{strings.Clone(task.TaskID), updatedAt(task)})
	}
	return stamps
}

var errStopped = errors.New("the range was left")

// listError is the error of a call to the service, which says by itself what was called.
type listError struct{ error }

func (e *listError) Unwrap() error { return e.error }

func newListReader(skip int, yield func(ExportTask, error) bool) *listReader {
	return &listReader{skip: skip, yield: yield, seen: make(map[string]sighting), bound: math.MinInt64}
}

// read makes passes until the head shows that nothing is left to find.
func (r *listReader) read() error {
	for {
		head, err := r.fetch(0)
		if err != nil {
			return err
		}
		if r.isLast(head) {
			r.begin(head)
			_, err := r.emit(head.Data)
			return err
		}
		if err := r.readPass(head); err != nil {
			return err
		}
		r.pass++
		r.bound = r.marker
	}
}

// isLast reports whether nothing but what is in head can be left to find.
func (r *listReader) isLast(head *ListExportTasksResponse) bool {
	switch {
	case len(head.Data) == head.Total:
		return true
	case len(head.Data) > 0 && updatedAt(head.Data[len(head.Data)-1]) < r.bound:
		return true
	}
	return r.quiet && head.Total == r.total && slices.Equal(stampsOf(head.Data), r.first)
}

// readPass reads from the head to the bound or the end.
func (r *listReader) readPass(page *ListExportTasksResponse) error {
	r.begin(page)
	step := 0
	for {
		if !r.isAnchored(page.Data) {
			r.quiet = false
			step = max(2*step, r.pageLen)
			r.offset = max(0, r.offset-step)
		} else {
			step = 0
			ended, err := r.readPage(page)
			if ended || err != nil {
				return err
			}
		}
		var err error
		if page, err = r.fetch(r.offset); err != nil {
			return err
		}
		if page.Total != r.total || !r.goesOn(page.Data) {
			r.quiet = false
		}
	}
}

// goesOn reports whether the page begins where the one before ended.
func (r *listReader) goesOn(tasks []ExportTask) bool {
	return len(tasks) > 0 && (taskStamp(tasks[0]) == r.last || r.single == r.offset)
}

func (r *listReader) begin(page *ListExportTasksResponse) {
	r.offset, r.single, r.quiet, r.total = 0, -1, true, page.Total
	r.first, r.marker = stampsOf(page.Data), math.MinInt64
	if len(page.Data) > 0 {
		r.marker = updatedAt(page.Data[0])
	}
}

// isAnchored reports whether no task that is to be read can stand above the page and be unread.
func (r *listReader) isAnchored(tasks []ExportTask) bool {
	switch {
	case r.offset == 0:
		return true
	case len(tasks) == 0:
		return false
	case updatedAt(tasks[0]) > r.marker:
		return true
	case len(tasks) == 1 && r.single == r.offset:
		// A service that caps pages at one task leaves no room for an overlap.
		return true
	}
	before, ok := r.seen[tasks[0].TaskID]
	return ok && before == sighting{updatedAt(tasks[0]), r.pass}
}

// readPage takes in an anchored page and moves on, or reports that the pass ends with it.
func (r *listReader) readPage(page *ListExportTasksResponse) (ended bool, err error) {
	fresh, err := r.emit(page.Data)
	if err != nil || len(page.Data) == 0 {
		return true, err
	}
	lastTask := page.Data[len(page.Data)-1]
	end := r.offset + len(page.Data)
	switch {
	case end == page.Total, updatedAt(lastTask) < r.bound:
		return true, nil
	case end > page.Total && !fresh:
		return true, nil // the total is too small to be true, but there is nothing more
	}
	r.last = stamp{strings.Clone(lastTask.TaskID), updatedAt(lastTask)}
	r.single = -1
	if len(page.Data) == 1 {
		r.single = r.offset + 1
	}
	r.offset += max(1, len(page.Data)-1)
	return false, nil
}

// emit notes that tasks were read in this pass, and yields those that never were before. It reports
// whether the pass had not read them all.
func (r *listReader) emit(tasks []ExportTask) (fresh bool, err error) {
	for i, task := range tasks {
		if task.TaskID == "" {
			return fresh, fmt.Errorf("%w: task %d of the page at offset %d has no id", ErrMalformedResponse, i, r.offset)
		}
		before, known := r.seen[task.TaskID]
		if known && before.pass == r.pass && before.updated == updatedAt(task) {
			continue
		}
		fresh = true
		id := task.TaskID
		if !known {
			id = strings.Clone(id)
		}
		r.seen[id] = sighting{updatedAt(task), r.pass}
		if known && !r.again {
			continue
		}
		if !known {
			r.fruitless = 0
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		if !r.yield(task, nil) {
			return fresh, errStopped
		}
	}
	return fresh, nil
}

// fetch reads the page at offset. It gives up on a list that makes no sense: one that has nothing
// where its total says that there is something, or nothing new for longer than it takes to read all
// that is known of it several times.
func (r *listReader) fetch(offset int) (*ListExportTasksResponse, error) {
	const asks = 3
	for range asks {
		if allowed := 20 + 4*len(r.seen)/max(1, r.pageLen-1); r.fruitless > allowed {
			return nil, fmt.Errorf("%w: the list moves faster than it can be read, or repeats itself: nothing new in %d pages", ErrMalformedResponse, r.fruitless)
		}
		r.fruitless++
		page, err := r.list(offset)
		if err != nil {
			return nil, &listError{err}
		}
		if len(page.Data) > 0 {
			r.pageLen = len(page.Data)
			return page, nil
		}
		if page.Total <= offset {
			return page, nil
		}
	}
	return nil, fmt.Errorf("%w: the page at offset %d is empty, and the total says that it is not", ErrMalformedResponse, offset)
}
