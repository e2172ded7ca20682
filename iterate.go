package cdn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// pageLimit is the longest page that the service returns.
const pageLimit = 100

// ExportTasks yields the tasks that match the request's filters, the last changed first, each at most once. It
// yields every task that is there when the iteration begins and is not removed before it ends, though the list
// moves meanwhile: the service pages by position and puts each task that is new or changes at the head. Tasks
// that are created meanwhile may be yielded too.
//
// Limit is the length of a page; 0 means 100. Offset skips that many of the newest tasks, counted as they are
// read. Each range over the result reads the list anew. A range that is left early sends no further request. A
// quiet list of 1,000 tasks takes 11 requests. A list that moves meanwhile is read several times, until as many
// tasks were read as it has. Memory holds the ids and times of all tasks, and one page.
//
// A task can be missed without an error in one case: more than half a page has the same time of change, or a response
// is stale, and between two requests one task is removed while another is created with a time that is too early.
//
// An error is yielded last, with a zero task. It is one of [CdnClient.ListExportTasks], or wraps
// [ErrMalformedResponse] if the list contradicts itself or moves faster than it can be read.
func (c *CdnClient) ExportTasks(ctx context.Context, request *ListExportTasksRequest) iter.Seq2[ExportTask, error] {
	const name = "ExportTasks"
	return func(yield func(ExportTask, error) bool) {
		if err := c.exportTasks(ctx, operation{name: name}, request, yield); err != nil {
			yield(ExportTask{}, fmt.Errorf("cdn: %s: %w", name, err))
		}
	}
}

func (c *CdnClient) exportTasks(ctx context.Context, op operation, request *ListExportTasksRequest, yield func(ExportTask, error) bool) error {
	var page ListExportTasksRequest
	if request != nil {
		page = *request
	}
	if ctx == nil {
		return invalid("ctx", nil, "must not be nil")
	}
	if err := page.validate(); err != nil {
		return err
	}
	skip := page.Offset
	switch page.Limit {
	case 0:
		page.Limit = pageLimit
	case 1:
		page.Limit = 2 // pages overlap by a task
	}
	fetch := func(offset int) (movinglist.Page[ExportTask], error) {
		page.Offset = offset
		response, err := c.list(ctx, op, &page)
		return pageOf(response), err
	}
	err := movinglist.All(ctx, fetch, page.Limit, func(row movinglist.Row[ExportTask]) bool {
		if skip > 0 {
			skip--
			return true
		}
		return yield(row.Value, nil)
	})
	if errors.Is(err, movinglist.ErrContradiction) {
		return fmt.Errorf("%w: %w", ErrMalformedResponse, err)
	}
	return err
}

// pageOf returns the response as movinglist reads it. It is empty if response is nil.
func pageOf(response *ListExportTasksResponse) movinglist.Page[ExportTask] {
	if response == nil {
		return movinglist.Page[ExportTask]{}
	}
	page := movinglist.Page[ExportTask]{Total: response.Total, Rows: make([]movinglist.Row[ExportTask], 0, len(response.Data))}
	for _, task := range response.Data {
		page.Rows = append(page.Rows, movinglist.Row[ExportTask]{
			ID:      strings.Clone(task.TaskID), // it outlives the page
			Stamp:   updatedAt(task),
			Created: stampOf(task.CreateTime),
			Value:   task,
		})
	}
	return page
}

// updatedAt returns when a task changed last, in milliseconds. A task that has not changed yet may have a time of
// creation only.
func updatedAt(task ExportTask) int64 {
	if stamp := stampOf(task.UpdateTime); stamp != movinglist.NoStamp {
		return stamp
	}
	return stampOf(task.CreateTime)
}

// stampOf returns a time in milliseconds. It returns movinglist.NoStamp for the zero time and for 1970-01-01, the
// time of a service that has none.
func stampOf(t time.Time) int64 {
	if ms := t.UnixMilli(); ms != 0 && !t.IsZero() {
		return ms
	}
	return movinglist.NoStamp
}
