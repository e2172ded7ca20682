package cdntest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestListLagShowsACreatedTaskLate(t *testing.T) {
	f := newFixture(t, cdntest.WithListLag(3*time.Second), cdntest.WithExportTime(4*time.Second))
	created := f.create(`{}`)
	start := f.clock.Now()
	byID := "task_id=" + created.TaskID
	for _, c := range []struct {
		after  time.Duration
		status string // empty: the task is not shown
		stamp  time.Duration
	}{
		{0, "", 0},
		{2999 * time.Millisecond, "", 0},
		{3 * time.Second, "waiting", 0},
		{4999 * time.Millisecond, "waiting", 0},
		{5 * time.Second, "processing", 2 * time.Second},
		{7 * time.Second, "success", 4 * time.Second},
	} {
		f.clock.Advance(start.Add(c.after).Sub(f.clock.Now()))
		for _, query := range []string{"", byID, "task_name=" + created.TaskName} {
			page := f.list(query)
			if c.status == "" {
				assert.Equal(t, listing{Data: []map[string]any{}}, page, "%v %s", c.after, query)
				continue
			}
			assert.Equal(t, 1, page.Total)
			assert.Equal(t, c.status, page.Data[0]["status"], c.after)
			assert.EqualValues(t, start.Add(c.stamp).UnixMilli(), page.Data[0]["update_time"], c.after)
		}
	}
	link := f.list(byID).Data[0]["download_link"].(string)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link).StatusCode)
}

func TestListLagKnowsNoTasks(t *testing.T) {
	f := newFixture(t, cdntest.WithListLag(time.Minute), cdntest.WithSampleTasks(2), cdntest.WithExportTime(0))
	assert.Equal(t, 1, f.list("").Total, "the sample of an hour ago has been there since then")
	created := f.create(`{}`)
	assert.Equal(t, created, f.Tasks()[0])
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, created.DownloadLink).StatusCode, "the store has no lag")
	assert.Equal(t, 1, f.list("").Total)
}

func TestListLagShowsEveryChangeLate(t *testing.T) {
	f := newFixture(t, cdntest.WithListLag(time.Minute))
	now := f.clock.Now()
	old := f.AddTask(cdn.ExportTask{TaskName: "old", UpdateTime: now.Add(-time.Hour)}, []byte("content"))
	other := f.AddTask(cdn.ExportTask{TaskName: "other", UpdateTime: now.Add(-2 * time.Hour)}, nil)
	assert.Equal(t, []any{"old", "other"}, f.list("").column("task_name"))

	f.UpdateTask(other.TaskID, func(t *cdn.ExportTask) { t.TaskName = "renamed" })
	f.RemoveTask(old.TaskID)
	assert.Equal(t, []any{"old", "other"}, f.list("").column("task_name"))
	assert.Equal(t, []string{"renamed"}, names(f.Tasks()))
	f.AddTask(cdn.ExportTask{TaskID: old.TaskID, TaskName: "again", UpdateTime: now.Add(-time.Hour)}, nil)
	assert.Equal(t, []any{"old", "other"}, f.list("").column("task_name"), "the changes of a task show in order")
	f.clock.Advance(time.Minute)
	assert.Equal(t, []any{"renamed", "again"}, f.list("").column("task_name"))
	assert.Equal(t, []any{"renamed"}, f.list("limit=1").column("task_name"))
}

func TestListLagShowsALostFileLate(t *testing.T) {
	f := newFixture(t, cdntest.WithListLag(time.Minute))
	task := f.AddTask(cdn.ExportTask{UpdateTime: f.clock.Now().Add(-time.Hour)}, []byte("content"))
	f.SetContent(task.TaskID, nil)
	assert.NotEmpty(t, f.list("").Data[0]["download_link"])
	f.clock.Advance(time.Minute)
	assert.Empty(t, f.list("").Data[0]["download_link"])
}
