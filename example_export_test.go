package cdn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// From the request for statistics to the file on disk.
func Example_export() {
	srv := cdntest.NewServer(cdntest.WithExportTime(10 * time.Millisecond))
	defer srv.Close()
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	task, err := client.Export(ctx, &cdn.CreateExportTaskRequest{
		DomainNames: []string{"www.example.com"},
		StartTime:   time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		EndTime:     time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		Interval:    time.Hour,
		StatType:    cdn.StatTypeFlux,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	path := filepath.Join(folder, "traffic.csv")
	n, err := client.DownloadFile(ctx, task.TaskID, path)
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := os.Stat(path)
	fmt.Println(task.Status, err == nil && info.Size() == n && n > 0)
	// Output: success true
}

// All tasks of the list, over several pages, also if the list changes meanwhile.
func ExampleCdnClient_ExportTasks() {
	srv := cdntest.NewServer()
	defer srv.Close()
	for day := range 250 {
		srv.AddTask(cdn.ExportTask{TaskName: fmt.Sprintf("day %d", day)}, nil)
	}
	client := srv.NewClient()

	n := 0
	for task, err := range client.ExportTasks(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if n++; n == 1 {
			fmt.Println("the last changed first:", task.TaskName)
		}
	}
	fmt.Println(n, "tasks")
	// Output:
	// the last changed first: day 249
	// 250 tasks
}

// Create an export task without waiting for it.
func ExampleCdnClient_CreateExportTask() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient()

	_, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{DomainNames: []string{"all"}})
	switch {
	case errors.Is(err, cdn.ErrOutcomeUnknown):
		fmt.Println("there may be a task now: check the list before creating another")
	case err != nil:
		fmt.Println("there is no task:", err)
	default:
		fmt.Println("created")
	}

	_, err = client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{DomainNames: []string{"a.example.com,b.example.com"}})
	fmt.Println(err)
	// Output:
	// created
	// cdn: CreateExportTask: invalid parameter: DomainNames[0] "a.example.com,b.example.com": must have no comma: give each name an element of its own
}

// Wait for a task. A thousand waits at once share their requests.
func ExampleCdnClient_WaitForExportTask() {
	srv := cdntest.NewServer()
	defer srv.Close()
	running := srv.AddTask(cdn.ExportTask{Status: "processing"}, nil)
	failed := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskFail}, nil)
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))

	go srv.UpdateTask(running.TaskID, func(task *cdn.ExportTask) { task.Status = cdn.ExportTaskSuccess })
	task, err := client.WaitForExportTask(context.Background(), running.TaskID)
	fmt.Println(task.Status, err)

	_, err = client.WaitForExportTask(context.Background(), failed.TaskID)
	fmt.Println(errors.Is(err, cdn.ErrTaskFailed))
	_, err = client.WaitForExportTask(context.Background(), "unknown")
	fmt.Println(errors.Is(err, cdn.ErrTaskNotFound))
	// Output:
	// success <nil>
	// true
	// true
}

// Report each task that is created or changes.
func ExampleCdnClient_WatchExportTasks() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))

	changes := client.WatchExportTasks(context.Background())
	created := srv.AddTask(cdn.ExportTask{TaskName: "daily", Status: "processing"}, nil)
	for task, err := range changes {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(task.TaskName, task.Status)
		if task.Status.Done() {
			break
		}
		srv.UpdateTask(created.TaskID, func(task *cdn.ExportTask) { task.Status = cdn.ExportTaskSuccess })
	}
	// Output:
	// daily processing
	// daily success
}

// Many exports from many goroutines: each finds its own task.
func ExampleCdnClient_Export() {
	srv := cdntest.NewServer(cdntest.WithExportTime(10 * time.Millisecond))
	defer srv.Close()
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))

	ids := make(map[string]bool)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, domain := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		wg.Go(func() {
			task, err := client.Export(context.Background(), &cdn.CreateExportTaskRequest{DomainNames: []string{domain}})
			if err != nil {
				fmt.Println(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[task.TaskID] = true
		})
	}
	wg.Wait()
	fmt.Println(len(ids), "tasks")
	// Output: 3 tasks
}

// Write a file to any io.Writer.
func ExampleCdnClient_Download() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("domain,flux\n"))
	client := srv.NewClient()

	var b bytes.Buffer
	n, err := client.Download(context.Background(), task.TaskID, &b)
	fmt.Printf("%d bytes, %v: %s", n, err, &b)
	// Output: 12 bytes, <nil>: domain,flux
}

// Write a file to disk and show the progress.
func ExampleCdnClient_DownloadFile() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("domain,flux\n"))
	client := srv.NewClient()
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)

	var last cdn.Progress
	_, err = client.DownloadFile(context.Background(), task.TaskID, filepath.Join(folder, "traffic.csv"),
		cdn.WithProgress(func(p cdn.Progress) { last = p }))
	fmt.Printf("%d of %d bytes, %v\n", last.Bytes, last.Total, err)
	// Output: 12 of 12 bytes, <nil>
}

// Fewer and quicker retries than by default.
func ExampleWithRetryPolicy() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 3, MinBackoff: time.Millisecond}))

	srv.Inject(cdntest.Fault{Status: 503, Times: 2})
	page, err := client.ListExportTasks(context.Background(), nil)
	fmt.Println(page.Attempts, "attempts,", err)

	srv.Inject(cdntest.Fault{Status: 503, Times: 3, Body: "busy"})
	_, err = client.ListExportTasks(context.Background(), nil)
	var response *cdn.APIError
	fmt.Println(errors.As(err, &response), response.StatusCode, response.ErrorMsg, response.Attempts)
	// Output:
	// 3 attempts, <nil>
	// true 503 busy 3
}

// everySecond is a minimal rate limiter. Programs use *rate.Limiter of golang.org/x/time/rate.
type everySecond struct{ ticks <-chan time.Time }

func (e everySecond) Wait(ctx context.Context) error {
	select {
	case <-e.ticks:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Each request waits for the limiter, retries included.
func ExampleWithRateLimiter() {
	srv := cdntest.NewServer()
	defer srv.Close()
	ticks := make(chan time.Time, 1)
	ticks <- time.Now()
	client := srv.NewClient(cdn.WithRateLimiter(everySecond{ticks}))

	_, err := client.ListExportTasks(context.Background(), nil)
	fmt.Println(err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = client.ListExportTasks(ctx, nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded), len(srv.Requests()))
	// Output:
	// <nil>
	// true 1
}
