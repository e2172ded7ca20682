package cdntest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestListOnTheWire(t *testing.T) {
	f := newFixture(t)
	assert.JSONEq(t, `{"total":0,"data":[]}`, f.get(allTasks).body)

	f.AddTask(cdn.ExportTask{
		TaskID:       "2459be350111d2da0f8dc010e0ac4c33",
		TaskName:     "<daily> & weekly",
		Status:       cdn.ExportTaskSuccess,
		DownloadLink: "https://store.example.com/a?b=c&d=e",
		CreateTime:   time.UnixMilli(1675134803874),
		UpdateTime:   time.UnixMilli(1675134803875),
	}, nil)
	assert.JSONEq(t, `{"total":1,"data":[{
		"task_id": "2459be350111d2da0f8dc010e0ac4c33",
		"task_name": "<daily> & weekly",
		"status": "success",
		"download_link": "https://store.example.com/a?b=c&d=e",
		"create_time": 1675134803874,
		"update_time": 1675134803875
	}]}`, f.get(allTasks).body)
}

func TestListParameters(t *testing.T) {
	f := newFixture(t)
	for i := range 30 {
		f.AddTask(cdn.ExportTask{TaskName: fmt.Sprint(i)}, nil)
	}
	const keys = "task_id=&task_name="
	for _, c := range []struct {
		query   string
		want    int    // tasks on the page
		message string // of a refusal
	}{
		{query: keys, want: 10},
		{query: "task_id&task_name", want: 10},
		{query: keys + "&limit=1", want: 1},
		{query: keys + "&limit=30", want: 30},
		{query: keys + "&limit=20&offset=20", want: 10},
		{query: keys + "&offset=30", want: 0},
		{query: keys + "&offset=2147483647", want: 0},
		{query: keys + "&unknown=1", want: 10},
		{query: keys + "&", want: 10},
		{query: "", want: 10},
		{query: "task_name=", want: 10},
		{query: "task_id=", want: 10},
		{query: "limit=0", want: 0},
		{query: "limit=100", want: 30},
		{query: "limit=101", message: "limit must be an integer from 0 to 100"},
		{query: keys + "&limit=-1", message: "limit must be an integer from 0 to 100"},
		{query: keys + "&limit=", message: "limit must be an integer from 0 to 100"},
		{query: keys + "&limit", message: "limit must be an integer from 0 to 100"},
		{query: keys + "&limit=ten", message: `not "ten"`},
		{query: keys + "&limit=1.0", message: "limit must be an integer"},
		{query: keys + "&limit=2147483648", message: "limit must be an integer"},
		{query: keys + "&limit=99999999999999999999", message: "limit must be an integer"},
		{query: keys + "&limit=1&limit=2", message: "limit is given 2 times"},
		{query: keys + "&task_id=a", message: "task_id is given 2 times"},
		{query: keys + "&offset=-1", message: "offset must be an integer from 0"},
		{query: keys + "&offset=x", message: "offset must be an integer from 0"},
		{query: keys + "&offset=0&offset=0", message: "offset is given 2 times"},
	} {
		t.Run(c.query, func(t *testing.T) {
			if c.message != "" {
				assertRefused(t, f.get(tasksPath+"?"+c.query), c.message)
				return
			}
			page := f.list(c.query)
			assert.Equal(t, 30, page.Total)
			assert.Len(t, page.Data, c.want)
		})
	}
}

// Links and messages are read in a terminal, not in a browser.
func TestAnswersAreReadable(t *testing.T) {
	a := newFixture(t).get(allTasks + "&limit=%3C%26%3E")
	assert.Contains(t, a.body, `not \"<&>\"`)
}

// What cannot be decoded cannot be signed either, so only a server without that check sees it.
func TestListQueryThatCannotBeRead(t *testing.T) {
	f := newFixture(t, cdntest.WithNoAuth())
	for _, query := range []string{"task_id=&task_name=&a=%zz", "task_id=%&task_name=", "task_id=;task_name="} {
		r := f.request(http.MethodGet, tasksPath, "")
		r.URL.RawQuery = query
		assertRefused(t, f.send(r), "the query cannot be read")
	}
	r := f.request(http.MethodGet, tasksPath, "")
	r.URL.RawQuery = "task_id=%ff%00&task_name=%F0%9F%98%80"
	assert.Equal(t, http.StatusOK, f.send(r).StatusCode)
}

func TestListNewestFirst(t *testing.T) {
	f := newFixture(t)
	now := f.clock.Now()
	f.AddTask(cdn.ExportTask{TaskName: "middle", UpdateTime: now.Add(-time.Hour)}, nil)
	f.AddTask(cdn.ExportTask{TaskName: "newest", UpdateTime: now, CreateTime: now.Add(-time.Hour * 100)}, nil)
	f.AddTask(cdn.ExportTask{TaskName: "oldest", UpdateTime: now.Add(-2 * time.Hour), CreateTime: now}, nil)

	assert.Equal(t, []any{"newest", "middle", "oldest"}, f.list("task_id&task_name").column("task_name"))
	assert.Equal(t, []any{"middle"}, f.list("task_id&task_name&offset=1&limit=1").column("task_name"))
	assert.Equal(t, []string{"newest", "middle", "oldest"}, names(f.Tasks()))
}

func TestListOfOneMillisecond(t *testing.T) {
	f := newFixture(t)
	a := f.AddTask(cdn.ExportTask{TaskName: "a"}, nil)
	f.clock.Advance(900 * time.Microsecond)
	b := f.AddTask(cdn.ExportTask{TaskName: "b"}, nil)
	f.AddTask(cdn.ExportTask{TaskName: "c"}, nil)
	assert.Equal(t, a.UpdateTime, b.UpdateTime)
	assert.Equal(t, []string{"c", "b", "a"}, names(f.Tasks()), "changed later, listed first")

	f.UpdateTask(a.TaskID, func(*cdn.ExportTask) {})
	assert.Equal(t, []string{"a", "c", "b"}, names(f.Tasks()))
}

func TestListFilters(t *testing.T) {
	f := newFixture(t)
	a := f.AddTask(cdn.ExportTask{TaskName: "daily"}, nil)
	b := f.AddTask(cdn.ExportTask{TaskName: "daily", TaskID: "an id/with odd?characters&"}, nil)
	f.AddTask(cdn.ExportTask{TaskName: "weekly"}, nil)
	for _, c := range []struct {
		query string
		total int
		ids   []any
	}{
		{"task_id=" + a.TaskID + "&task_name=", 1, []any{a.TaskID}},
		{"task_id=an+id%2Fwith%20odd%3Fcharacters%26&task_name=", 1, []any{b.TaskID}},
		{"task_id=&task_name=daily", 2, []any{b.TaskID, a.TaskID}},
		{"task_id=&task_name=daily&limit=1", 2, []any{b.TaskID}},
		{"task_id=&task_name=daily&offset=1", 2, []any{a.TaskID}},
		{"task_id=" + a.TaskID + "&task_name=weekly", 0, []any{}},
		{"task_id=" + a.TaskID[:31] + "&task_name=", 0, []any{}},
		{"task_id=&task_name=Daily", 0, []any{}},
		{"task_id=&task_name=dail", 0, []any{}},
	} {
		page := f.list(c.query)
		assert.Equal(t, c.total, page.Total, c.query)
		assert.Equal(t, c.ids, page.column("task_id"), c.query)
	}
}

func TestWithPageCap(t *testing.T) {
	f := newFixture(t, cdntest.WithPageCap(3))
	for range 5 {
		f.AddTask(cdn.ExportTask{}, nil)
	}
	for query, want := range map[string]int{"": 3, "&limit=2": 2, "&limit=100": 3, "&limit=100&offset=3": 2} {
		page := f.list("task_id&task_name" + query)
		assert.Equal(t, 5, page.Total)
		assert.Len(t, page.Data, want, query)
	}
}

func TestTheLargestPage(t *testing.T) {
	f := newFixture(t)
	for range 101 {
		f.AddTask(cdn.ExportTask{}, nil)
	}
	assert.Len(t, f.list("limit=100").Data, 100)
	assert.Len(t, f.Tasks(), 101, "the limit bounds pages only")
}
