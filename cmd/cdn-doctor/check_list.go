package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
)

// latest is the end of the range that the API reference gives for times: 4102416000000 ms.
var latest = time.UnixMilli(4102416000000)

// checkList checks a page of the list against what this module assumes. It returns the tasks of the page, and false if
// the page could not be read.
func (d *doctor) checkList(ctx context.Context, client *cdn.CdnClient, first *cdn.ListExportTasksResponse) ([]cdn.ExportTask, bool) {
	read := d.observer.last()
	d.report.ok("list", "%d of %d tasks", len(first.Data), first.Total)
	page, err := client.ListExportTasks(ctx, &cdn.ListExportTasksRequest{Limit: 100})
	if !d.checkQuery(err) {
		d.report.skip("requests with a query fail", slices.Concat(listChecks[2:], storeChecks)...)
		return nil, false
	}
	now := d.observer.last().date
	d.checkOrder(page.Data)
	d.checkStamps(page.Data, now)
	d.checkTotals(first, page)
	d.checkLimit(page)
	d.checkOffset(ctx, client, page)
	d.checkNames(d.observer.seen)
	d.checkStatuses(page.Data)
	d.checkLookUp(ctx, client, page.Data)
	d.checkLag(ctx, client, page.Data, read.date)
	return page.Data, true
}

// checkQuery reports whether a request with a query is accepted, as the one without was.
func (d *doctor) checkQuery(err error) bool {
	switch {
	case err == nil:
		d.report.ok("query", "arrives as signed")
		return true
	case errors.Is(err, cdn.ErrUnauthorized):
		d.report.add("query", broken, "a request without a query is accepted, one with limit=100 is refused: "+err.Error(),
			"a proxy on the way changes the query: exempt the endpoint from it")
	default:
		d.report.add("query", broken, err.Error(), advice(err))
	}
	return false
}

func (d *doctor) checkOrder(tasks []cdn.ExportTask) {
	moved := 0
	for i := 1; i < len(tasks); i++ {
		if tasks[i].UpdateTime.After(tasks[i-1].UpdateTime) {
			moved++
		}
	}
	if moved > 0 {
		d.report.different("order", "%d of %d tasks are listed after an older one; this module copes with that", moved, len(tasks))
		return
	}
	d.report.ok("order", "by update_time, the newest first")
}

// checkStamps checks the tasks' times against the service's own clock.
func (d *doctor) checkStamps(tasks []cdn.ExportTask, now time.Time) {
	var absent, outside, future, whole, early int
	for _, task := range tasks {
		switch {
		case task.UpdateTime.IsZero() || task.CreateTime.IsZero():
			absent++
		case task.UpdateTime.Before(time.UnixMilli(0)) || task.UpdateTime.After(latest):
			outside++
		case !now.IsZero() && task.UpdateTime.After(now.Add(maxClockError)):
			future++
		case task.UpdateTime.Before(task.CreateTime):
			early++
		}
		if task.UpdateTime.Nanosecond() == 0 {
			whole++
		}
	}
	var notes []string
	note := func(n int, text string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", n, text))
		}
	}
	note(absent, "without a time")
	note(outside, "outside 0 to 4102416000000 ms")
	note(future, "in the service's future")
	note(early, "updated before they were created")
	if whole == len(tasks) && whole > 3 {
		notes = append(notes, "all in whole seconds")
	}
	if len(notes) > 0 {
		d.report.different("stamps", "of %d: %s", len(tasks), strings.Join(notes, ", "))
		return
	}
	d.report.ok("stamps", "milliseconds, none in the future")
}

func (d *doctor) checkTotals(first, page *cdn.ListExportTasksResponse) {
	switch {
	case page.Total < len(page.Data):
		d.report.different("totals", "the total is %d, and the page has %d tasks", page.Total, len(page.Data))
	case page.Total != first.Total:
		d.report.different("totals", "%d, then %d: the list moves, or readings differ", first.Total, page.Total)
	case len(page.Data) == 0 && page.Total > 0:
		d.report.different("totals", "the total is %d, and the page is empty", page.Total)
	default:
		d.report.ok("totals", "%d, twice", page.Total)
	}
}

func (d *doctor) checkLimit(page *cdn.ListExportTasksResponse) {
	const limit = 100
	switch n := len(page.Data); {
	case n > limit:
		d.report.different("limit", "asked for %d, got %d", limit, n)
	case n < min(limit, page.Total):
		d.report.different("limit", "pages are capped: asked for %d of %d, got %d; readings take more requests", limit, page.Total, n)
	default:
		d.report.ok("limit", "100 is accepted, %d came", n)
	}
}

func (d *doctor) checkOffset(ctx context.Context, client *cdn.CdnClient, page *cdn.ListExportTasksResponse) {
	if len(page.Data) < 2 {
		d.report.skip("the list has fewer than two tasks", "offset")
		return
	}
	second, err := client.ListExportTasks(ctx, &cdn.ListExportTasksRequest{Limit: 1, Offset: 1})
	switch {
	case err != nil:
		d.report.add("offset", broken, err.Error(), advice(err))
	case len(second.Data) != 1:
		d.report.different("offset", "limit=1 gives %d tasks", len(second.Data))
	case second.Data[0].TaskID != page.Data[1].TaskID:
		d.report.different("offset", "offset=1 gives another task than the second of the page: the list moves, or readings differ")
	default:
		d.report.ok("offset", "counts tasks from 0")
	}
}

// checkNames checks the JSON: task_name is documented as a string, and an example of the API reference has a number.
func (d *doctor) checkNames(seen []*exchange) {
	kinds := map[string]int{}
	for _, e := range seen {
		var page struct {
			Data []struct {
				TaskName json.RawMessage `json:"task_name"`
			} `json:"data"`
		}
		if json.Unmarshal(e.body, &page) != nil {
			continue // the check "list" has its errors
		}
		for _, task := range page.Data {
			kinds[jsonKind(task.TaskName)]++
		}
	}
	found := strings.Join(slices.Sorted(maps.Keys(kinds)), " and ")
	switch {
	case len(kinds) == 0:
		d.report.skip("the list is empty", "names")
	case kinds["string"]+kinds["number"] == total(kinds):
		d.report.ok("names", "task_name is a %s", found)
	default:
		d.report.different("names", "task_name is a %s", found)
	}
}

func jsonKind(value json.RawMessage) string {
	switch {
	case len(value) == 0:
		return "missing member"
	case value[0] == '"':
		return "string"
	case value[0] == '-' || value[0] >= '0' && value[0] <= '9':
		return "number"
	case string(value) == "null":
		return "null"
	}
	return "value of another kind"
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

func (d *doctor) checkStatuses(tasks []cdn.ExportTask) {
	counts := map[string]int{}
	for _, task := range tasks {
		counts[string(task.Status)]++
	}
	var found []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		found = append(found, fmt.Sprintf("%q %d", status, counts[status]))
	}
	if len(found) == 0 {
		d.report.skip("the list is empty", "statuses")
		return
	}
	d.report.ok("statuses", "%s; all but \"success\" and \"fail\" count as unfinished", strings.Join(found, ", "))
}

func (d *doctor) checkLookUp(ctx context.Context, client *cdn.CdnClient, tasks []cdn.ExportTask) {
	if len(tasks) == 0 {
		d.report.skip("the list is empty", "lookup")
		return
	}
	task, err := client.GetExportTask(ctx, tasks[0].TaskID)
	switch {
	case errors.Is(err, cdn.ErrTaskNotFound):
		d.report.different("lookup", "the newest task of the list is not found by its id: readings differ")
	case err != nil:
		d.report.add("lookup", broken, err.Error(), advice(err))
	case task.Status != tasks[0].Status || !task.UpdateTime.Equal(tasks[0].UpdateTime):
		d.report.different("lookup", "by id the newest task is %q, in the list %q: it changed meanwhile, or readings differ", task.Status, tasks[0].Status)
	default:
		d.report.ok("lookup", "by task_id, the same as in the list")
	}
}

// checkLag reads the list a second time. A task that is listed only then, and was created before the first reading, is
// late by at least the difference.
func (d *doctor) checkLag(ctx context.Context, client *cdn.CdnClient, before []cdn.ExportTask, firstRead time.Time) {
	select {
	case <-time.After(d.watch):
	case <-ctx.Done():
	}
	after, err := client.ListExportTasks(ctx, &cdn.ListExportTasksRequest{Limit: 100})
	if err != nil {
		d.report.add("lag", broken, err.Error(), advice(err))
		return
	}
	known := map[string]bool{}
	for _, task := range before {
		known[task.TaskID] = true
	}
	news, late := 0, time.Duration(0)
	for _, task := range after.Data {
		if !known[task.TaskID] && (len(before) == 0 || task.UpdateTime.After(before[len(before)-1].UpdateTime)) {
			news++
			late = max(late, firstRead.Sub(task.CreateTime))
		}
	}
	switch {
	case late > time.Second:
		d.report.different("lag", "a task was listed %v after its create, or later: set WithListLag above that (default 3s)", late.Round(time.Second))
	case news > 0:
		d.report.ok("lag", "%d new tasks within %v, none late", news, d.watch)
	default:
		d.report.ok("lag", "no new task within %v, so none late", d.watch)
	}
}
