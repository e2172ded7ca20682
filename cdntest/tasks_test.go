package cdntest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestAddTaskFillsIn(t *testing.T) {
	f := newFixture(t)
	f.clock.Advance(1234567 * time.Nanosecond)
	now := time.UnixMilli(f.clock.Now().UnixMilli()).UTC()
	past := now.Add(-time.Hour)
	for _, c := range []struct {
		name    string
		task    cdn.ExportTask
		content []byte
		want    cdn.ExportTask // TaskID and a made DownloadLink aside
	}{
		{"nothing", cdn.ExportTask{}, nil, cdn.ExportTask{Status: "processing", CreateTime: now, UpdateTime: now}},
		{"a content", cdn.ExportTask{}, []byte{}, cdn.ExportTask{Status: "success", CreateTime: now, UpdateTime: now}},
		{
			"a link", cdn.ExportTask{DownloadLink: "https://a/"}, nil,
			cdn.ExportTask{Status: "success", DownloadLink: "https://a/", CreateTime: now, UpdateTime: now},
		},
		{
			"a link for a task that is not finished", cdn.ExportTask{DownloadLink: "https://a/", Status: "x"}, []byte("a"),
			cdn.ExportTask{Status: "x", DownloadLink: "https://a/", CreateTime: now, UpdateTime: now},
		},
		{"a status", cdn.ExportTask{Status: "fail"}, nil, cdn.ExportTask{Status: "fail", CreateTime: now, UpdateTime: now}},
		{
			"an update time", cdn.ExportTask{TaskName: "a", UpdateTime: past.Local()}, nil,
			cdn.ExportTask{TaskName: "a", Status: "processing", CreateTime: past, UpdateTime: past},
		},
		{
			"a create time", cdn.ExportTask{CreateTime: past.Add(999)}, nil,
			cdn.ExportTask{Status: "processing", CreateTime: past, UpdateTime: now},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			added := f.AddTask(c.task, c.content)
			assert.Contains(t, f.Tasks(), added)
			assert.Regexp(t, `^[0-9a-f]{32}$`, added.TaskID)
			added.TaskID = ""
			if c.want.DownloadLink == "" && c.want.Status == cdn.ExportTaskSuccess {
				assert.Contains(t, added.DownloadLink, f.URL+"/files/")
				added.DownloadLink = ""
			}
			assert.Equal(t, c.want, added)
		})
	}
}

func TestAddTaskReplaces(t *testing.T) {
	f := newFixture(t)
	f.AddTask(cdn.ExportTask{TaskID: "one", TaskName: "a"}, nil)
	f.AddTask(cdn.ExportTask{TaskID: "one", TaskName: "b"}, nil)
	assert.Equal(t, []string{"b"}, names(f.Tasks()))
}

func TestAddTaskCopiesTheContent(t *testing.T) {
	f := newFixture(t)
	content := []byte("before")
	task := f.AddTask(cdn.ExportTask{}, content)
	copy(content, "after!")
	assert.Equal(t, "before", f.send(f.request("GET", task.DownloadLink, "")).body)
}

func TestUpdateTask(t *testing.T) {
	f := newFixture(t)
	now := f.clock.Now()
	task := f.AddTask(cdn.ExportTask{TaskName: "a"}, []byte("content"))
	f.AddTask(cdn.ExportTask{TaskName: "b"}, nil)
	f.clock.Advance(time.Second)

	assert.True(t, f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) {
		t.TaskID = "another"
		t.TaskName = "c"
		t.Status = ""
		t.CreateTime = t.CreateTime.Add(999)
	}))
	changed := f.Tasks()[0]
	assert.Equal(t, cdn.ExportTask{TaskID: task.TaskID, TaskName: "c", CreateTime: now, UpdateTime: now.Add(time.Second)}, changed,
		"the id stays, the link is gone with the status, the task is first")

	assert.True(t, f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.UpdateTime = now.Add(-time.Hour + 999) }))
	assert.Equal(t, []string{"b", "c"}, names(f.Tasks()), "an update time that was set decides the place")
	assert.Equal(t, now.Add(-time.Hour), f.Tasks()[1].UpdateTime)

	called := false
	assert.False(t, f.UpdateTask("unknown", func(*cdn.ExportTask) { called = true }))
	assert.False(t, called)
}

func TestUpdateTaskAndItsLink(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, []byte("content"))
	f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.DownloadLink += "" })
	f.clock.Advance(time.Hour)
	assert.NotEqual(t, task.DownloadLink, f.Tasks()[0].DownloadLink, "a made link is still made anew")

	f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.DownloadLink = "https://elsewhere/" })
	assert.Equal(t, "https://elsewhere/", f.Tasks()[0].DownloadLink)
}

// A panic in a test's own function must not leave the server locked.
func TestUpdateTaskThatPanics(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, nil)
	assert.Panics(t, func() { f.UpdateTask(task.TaskID, func(*cdn.ExportTask) { panic("no") }) })
	assert.Equal(t, []cdn.ExportTask{task}, f.Tasks())
}

func TestRemoveTask(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, []byte("content"))
	assert.True(t, f.RemoveTask(task.TaskID))
	assert.False(t, f.RemoveTask(task.TaskID))
	assert.Empty(t, f.Tasks())
	assert.Equal(t, 404, f.send(f.request("GET", task.DownloadLink, "")).StatusCode)
}

func TestWithSampleTasks(t *testing.T) {
	one, two := newFixture(t, cdntest.WithSampleTasks(6)), newFixture(t, cdntest.WithSampleTasks(6))
	tasks := one.Tasks()
	require.Len(t, tasks, 6)
	count := make(map[cdn.ExportTaskStatus]int)
	for i, task := range tasks {
		count[task.Status]++
		assert.Equal(t, task.Status == cdn.ExportTaskSuccess, task.DownloadLink != "")
		assert.True(t, task.CreateTime.Before(task.UpdateTime))
		assert.False(t, task.UpdateTime.After(one.clock.Now()))
		if i > 0 {
			assert.True(t, task.UpdateTime.Before(tasks[i-1].UpdateTime), "newest first")
		}
		same := two.Tasks()[i]
		task.DownloadLink, same.DownloadLink = "", ""
		assert.Equal(t, same, task)
	}
	assert.Equal(t, map[cdn.ExportTaskStatus]int{"success": 4, "processing": 1, "fail": 1}, count)
	assert.Contains(t, one.send(one.request("GET", tasks[0].DownloadLink, "")).body, "www.example.com")

	assert.Equal(t, cdn.ExportTaskSuccess, newFixture(t, cdntest.WithSampleTasks(1)).Tasks()[0].Status)
	assert.Empty(t, newFixture(t, cdntest.WithSampleTasks(-1)).Tasks())
}
