package cdn

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

const (
	// headMargin is how far below the newest stamp a reading goes on. The service's clocks differ by seconds.
	headMargin = 10 * time.Second
	// headTail is how many tasks in a row must be older than the boundary until a reading ends.
	headTail = 50
	// headOverlap is how many tasks two pages of a reading share. Tasks that move between two requests show there.
	headOverlap = 10
	headPage    = 100
	headTries   = 5
)

// exportBase is the head of the list before a create: what is not in it, and was created after Boundary, is new.
type exportBase struct {
	// Boundary is a stamp in milliseconds since 1970. All tasks above it are in Known.
	Boundary int64     `json:"boundary"`
	Known    []string  `json:"known"`
	At       time.Time `json:"at"` // when the reading began
}

// noBoundary is the boundary of a base that has the whole list.
const noBoundary = math.MinInt64

// headReading is the head of the list as one reading showed it.
type headReading struct {
	tasks    []ExportTask
	ids      map[string]bool // of the tasks
	at       time.Time
	boundary int64 // down to which the reading goes
	complete bool  // whether it reached the end of the list
	whole    bool  // whether it shows all tasks down to the boundary
}

// add adds a task that the reading does not have yet. A row without an id is no task.
func (r *headReading) add(task ExportTask) {
	if task.TaskID != "" && !r.ids[task.TaskID] {
		r.ids[task.TaskID] = true
		r.tasks = append(r.tasks, task.unshared())
	}
}

// base returns what the next create has to know of the reading.
func (r *headReading) base() exportBase {
	base := exportBase{Boundary: noBoundary, At: r.at}
	// A short list needs no boundary, which would trust in the service's clocks.
	if !r.complete || len(r.tasks) > headPage {
		base.Boundary = max(r.boundary, ownBoundary(r.tasks, r.at))
	}
	for _, task := range r.tasks {
		if base.isAbove(task) {
			base.Known = append(base.Known, task.TaskID)
		}
	}
	return base
}

// isAbove reports whether the task may have been created after the boundary. A task without a time may.
func (b *exportBase) isAbove(task ExportTask) bool {
	created := stampOf(task.CreateTime)
	return created == movinglist.NoStamp || created > b.Boundary
}

// created returns the tasks that were created since the base.
func (r *headReading) created(since exportBase) []ExportTask {
	var created []ExportTask
	for _, task := range r.tasks {
		if since.isAbove(task) && !slices.Contains(since.Known, task.TaskID) {
			created = append(created, task)
		}
	}
	return created
}

// readHead reads the list from its head, down to boundary at least: nil for a boundary of the reading's own. If the
// list moves meanwhile it reads again, and adds to what it has. The reading is not whole if the list always moves, if
// its total is wrong, or if its pages have one row and cannot overlap.
func (j *exportJournal) readHead(ctx context.Context, boundary *int64) (*headReading, error) {
	r := &headReading{at: j.now(), ids: make(map[string]bool)}
	for range headTries {
		if err := j.readPages(ctx, r, boundary); r.whole || err != nil {
			return r, err
		}
	}
	return r, nil
}

// readPages reads pages until the rest is below the boundary, or the list ends. The reading is whole if each page
// overlaps with those before it, and the end comes after as many tasks as the list has.
func (j *exportJournal) readPages(ctx context.Context, r *headReading, boundary *int64) error {
	seen := make(map[string]bool) // on this pass
	joined := true                // whether all pages overlap
	below, longest, barren := 0, 0, 0
	for offset := 0; ; {
		page, err := j.page(ctx, offset)
		if err != nil {
			return err
		}
		switch {
		case boundary != nil:
			r.boundary = *boundary
		case offset == 0:
			r.boundary = ownBoundary(page.Data, r.at)
		}
		known := len(seen)
		overlaps := offset == 0
		for _, task := range page.Data {
			below++ // the tasks in a row that are older than the boundary
			if updatedAt(task) >= r.boundary {
				below = 0
			}
			overlaps = overlaps || task.TaskID != "" && seen[task.TaskID]
			seen[task.TaskID] = true
			r.add(task)
		}
		joined = joined && overlaps
		if barren++; len(seen) > known {
			barren = 0
		}
		end := offset + len(page.Data)
		short := len(page.Data) < longest || offset == 0 && len(page.Data) < headPage
		longest = max(longest, len(page.Data))
		switch {
		case len(page.Data) == 0, end == page.Total && short, end >= page.Total && barren > 0:
			r.complete, r.whole = true, joined && len(r.ids) >= page.Total
			return nil
		case below >= headTail:
			r.whole = joined
			return nil
		case barren > maxBarren:
			return nil
		}
		offset = end - min(headOverlap, len(page.Data)/2)
	}
}

// page reads one page. The pipeline does not retry a response that is malformed; the next one may be whole.
func (j *exportJournal) page(ctx context.Context, offset int) (page *ListExportTasksResponse, err error) {
	for try := range headTries {
		if try > 0 {
			if err := pauseUntil(ctx, time.Now().Add(time.Duration(try)*500*time.Millisecond)); err != nil {
				return nil, err
			}
		}
		page, err = j.list(ctx, &ListExportTasksRequest{Limit: headPage, Offset: offset})
		if !errors.Is(err, ErrMalformedResponse) {
			break
		}
	}
	return page, err
}

// ownBoundary returns the boundary of a reading that began at now and saw these tasks. No later task is stamped before
// it. A stamp in the future says nothing. If there are no others, all tasks are above the boundary.
func ownBoundary(tasks []ExportTask, now time.Time) int64 {
	newest := int64(noBoundary)
	for _, task := range tasks {
		if stamp := updatedAt(task); stamp <= now.UnixMilli() {
			newest = max(newest, stamp)
		}
	}
	if newest < noBoundary+headMargin.Milliseconds() {
		return noBoundary
	}
	return newest - headMargin.Milliseconds()
}
