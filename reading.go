package cdn

import (
	"context"
	"errors"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
	"example.com/huaweicloud/cdn/internal/retry"
)

// demand is a reading of the head that a subscriber waits for. at and err are set before done is closed.
type demand struct {
	baseline bool  // whether the reading goes on until 10 s below the head and the present
	depth    int64 // the stamp below which the reading must end; maxStamp for any

	done chan struct{}
	at   bookmark
	err  error
}

// read waits for a reading of the head that begins after the call. The caller is a subscriber.
func (p *poller) read(ctx context.Context, d *demand) error {
	d.done = make(chan struct{})
	p.mu.Lock()
	p.demands = append(p.demands, d)
	p.wakeUp()
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return p.endOf(ctx)
	}
}

// fetch returns the function that requests the pages of a movinglist.Pass. Each page updates the targets at once, also
// if the reading fails later.
func (p *poller) fetch(ctx context.Context, op operation) movinglist.Fetch[ExportTask] {
	const name = "ListExportTasks"
	op.name, op.onRetry = name, func(err error) { p.note(ctx, inStep(name, err)) }
	return func(offset int) (movinglist.Page[ExportTask], error) {
		response, err := p.client.list(ctx, op, &ListExportTasksRequest{Limit: pageLimit, Offset: offset})
		if err != nil {
			return movinglist.Page[ExportTask]{}, inStep(name, err)
		}
		page := pageOf(response)
		p.show(ctx, page.Rows)
		return page, nil
	}
}

// reading is one reading of the head. It serves all demands that come before its first request is sent, which may have
// to wait for the quota.
type reading struct {
	demands  []*demand
	baseline bool      // whether it goes on until 10 s below the head and the present
	began    time.Time // when its first request was sent
	begun    bool      // whether the first request has its response
}

// beginReading is called just before each request of the reading is sent.
func (p *poller) beginReading(r *reading) {
	if r.begun {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.began = time.Now()
	p.takeDemands(r)
}

// takeDemands has the reading serve all open demands. The caller holds the lock.
func (p *poller) takeDemands(r *reading) {
	r.demands, p.demands = append(r.demands, p.demands...), nil
	for _, d := range r.demands {
		r.baseline = r.baseline || d.baseline
	}
}

// depthOf returns the stamp down to which the reading must go. head is the stamp of its first row.
func (p *poller) depthOf(r *reading, head int64) int64 {
	now := r.began.UnixMilli()
	depth := min(now+movinglist.Skew, p.settleDepth(r.began))
	for _, d := range r.demands {
		depth = min(depth, d.depth)
	}
	if r.baseline {
		depth = min(depth, now-movinglist.Skew, belowSkew(head))
	}
	return depth
}

// readHead reads the head of the list until it shows old news, and further if a demand needs it. It merges nothing if
// one page fails: the changes of the first pages would be old news next time, and hide those of the others.
func (p *poller) readHead(ctx context.Context, r *reading) (changed bool, err error) {
	op := operation{poll: len(r.demands) == 0, onSend: func() { p.beginReading(r) }}
	pass := movinglist.NewPass(p.fetch(ctx, op), 0, pageLimit)
	var rows []row
	for {
		page, err := pass.Next()
		if err != nil {
			return false, err
		}
		r.begun = true
		rows = append(rows, page...)
		if pass.Ended || pass.Barren > maxBarren {
			break
		}
		if pass.Fits && pass.Low < p.depthOf(r, headOf(rows)) && (r.baseline || p.endsWithOldNews(rows, len(page))) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return false, nil
	}
	return p.takeReading(pass, rows, r.demands, min(r.began.UnixMilli()-movinglist.Skew, belowSkew(headOf(rows)))), nil
}

// maxBarren is how many pages without a new row end a reading. The list repeats itself then.
const maxBarren = 4

// belowSkew returns the least stamp that a change may have that is later than a change with this stamp.
func belowSkew(stamp int64) int64 {
	if stamp < movinglist.NoStamp+movinglist.Skew {
		return stamp
	}
	return stamp - movinglist.Skew
}

// headOf returns the stamp of the first row, or NoStamp if there is none.
func headOf(rows []row) int64 {
	if len(rows) == 0 {
		return movinglist.NoStamp
	}
	return rows[0].Stamp
}

// minOldNews is how many rows that are known must end a reading, if pages are short.
const minOldNews = 10

// endsWithOldNews reports whether rows end with known ones: as many as half of the last page, or some more than
// that if pages are short.
func (p *poller) endsWithOldNews(rows []row, page int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := max(page-page/2, minOldNews)
	if len(rows) < n {
		return false
	}
	for _, r := range rows[len(rows)-n:] {
		if !p.known.isOld(r) {
			return false
		}
	}
	return true
}

// takeReading merges a reading and sets the bookmarks of the demands. It reports whether anything has changed. A task
// that is created from now on has no stamp below floor. The caller holds the lock.
func (p *poller) takeReading(pass *movinglist.Pass[ExportTask], rows []row, demands []*demand, floor int64) (changed bool) {
	all := p.known.merge(rows, time.Now())
	p.known.total = pass.Total
	// Equal stamps that come in another order in each response hide tasks from a reading that goes to the end.
	whole := pass.Ended && !pass.Moved && all.shown >= pass.End
	if pass.End == 0 && len(p.known.entries) > 0 {
		whole = false // the service may have lost sight of its tasks for a while
	}
	floor = min(floor, pass.Low)
	if whole {
		floor = movinglist.NoStamp
	}
	if p.schedule.baseline || whole {
		p.known.floor = floor
	}
	head := headOf(rows)
	for _, d := range demands {
		d.at = bookmark{tick: p.known.tick, change: p.known.changes, floor: floor, head: head, start: p.starts}
	}
	p.rounds.head, p.rounds.end = max(0, pass.End-1), pass.End
	p.rounds.pageLen = pass.Longest
	p.announce(all)
	p.known.low = pass.Low
	if whole {
		p.known.low = movinglist.NoStamp
	}
	p.known.head = min(head, time.Now().UnixMilli())
	return all.changed
}

// isTransientPoll reports whether the next poll may succeed: after all failures that are retried, and after malformed
// responses.
func isTransientPoll(err error) bool {
	var response *APIError
	switch {
	case errors.Is(err, ErrMalformedResponse), errors.Is(err, ErrThrottled):
		return true
	case errors.As(err, &response):
		return response.transient()
	case isOwn(err):
		return false
	}
	return retry.IsTransient(err)
}
