package cdn

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// fakeService is the service in this process, so that tests can run on a fake clock. The most recently changed task
// comes first.
type fakeService struct {
	mu       sync.Mutex
	tasks    []ExportTask
	requests int
	lists    int // requests without a filter
	gets     int // requests for one id
	creates  int
	// before runs before the service serves a request. It may change the list, or return the response or the error
	// itself.
	before func(req *http.Request) (*http.Response, error)
}

func (f *fakeService) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	query := req.URL.Query()
	f.requests++
	switch {
	case req.Method == http.MethodPost:
		f.creates++
	case query.Get("task_id") != "":
		f.gets++
	default:
		f.lists++
	}
	if f.before != nil {
		if resp, err := f.before(req); resp != nil || err != nil {
			return resp, err
		}
	}
	if req.Method == http.MethodPost {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		f.add(ExportTask{TaskID: "created-" + strconv.Itoa(f.creates), Status: "processing"})
		return reply(200, ""), nil
	}
	tasks := f.tasks
	if id := query.Get("task_id"); id != "" {
		tasks = slices.DeleteFunc(slices.Clone(tasks), func(task ExportTask) bool { return task.TaskID != id })
	}
	offset, _ := strconv.Atoi(query.Get("offset"))
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		limit = 10
	}
	offset = min(offset, len(tasks))
	page, err := json.Marshal(ListExportTasksResponse{Total: len(tasks), Data: tasks[offset:min(offset+limit, len(tasks))]})
	return reply(200, string(page)), err
}

// add adds a new task at the head. The caller holds the lock, or no other goroutine runs.
func (f *fakeService) add(task ExportTask) {
	task.UpdateTime = time.Now()
	if task.CreateTime.IsZero() {
		task.CreateTime = time.Now()
	}
	f.tasks = slices.Insert(f.tasks, 0, task)
}

// set changes a task, or adds it. An empty status removes it.
func (f *fakeService) set(id string, status ExportTaskStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	task := ExportTask{TaskID: id}
	f.tasks = slices.DeleteFunc(f.tasks, func(old ExportTask) bool {
		if old.TaskID == id {
			task = old
		}
		return old.TaskID == id
	})
	if status != "" {
		task.Status = status
		f.add(task)
	}
}

// counts returns and resets the numbers of requests: all, those without a filter, and those for one id.
func (f *fakeService) counts() (requests, lists, gets int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests, lists, gets = f.requests, f.lists, f.gets
	f.requests, f.lists, f.gets = 0, 0, 0
	return requests, lists, gets
}

func (f *fakeService) setBefore(before func(*http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// noContext is a nil context.
var noContext context.Context
