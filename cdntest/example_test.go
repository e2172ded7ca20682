package cdntest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A test fills the server, calls its own code with a client of it, and checks what was requested.
func Example() {
	srv := cdntest.NewServer()
	defer srv.Close()
	srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("time,domain,flux\n"))

	page, err := srv.NewClient().ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Total, page.Data[0].TaskName, page.Data[0].Status)
	request := srv.Requests()[0]
	fmt.Println(request.Method, request.Path)
	// Output:
	// 1 daily success
	// GET /v1/cdn/statistics/export-tasks
}

// An export progresses by the clock. Nothing has to sleep.
func ExampleWithClock() {
	now := time.Now()
	srv := cdntest.NewServer(
		cdntest.WithClock(func() time.Time { return now }),
		cdntest.WithExportTime(time.Minute),
		cdntest.WithNoAuth(),
	)
	defer srv.Close()
	tasks := srv.URL + "/v1/cdn/statistics/export-tasks"
	response, err := http.Post(tasks, "application/json", strings.NewReader(`{"stat_type":"flux"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = response.Body.Close()

	for range 3 {
		task := srv.Tasks()[0]
		fmt.Println(task.Status, task.UpdateTime.Sub(task.CreateTime))
		now = now.Add(30 * time.Second)
	}
	// Output:
	// waiting 0s
	// processing 30s
	// success 1m0s
}

// The server responds as the gateway does when it throttles.
func ExampleServer_Inject() {
	srv := cdntest.NewServer()
	defer srv.Close()
	srv.Inject(cdntest.Fault{
		Times:  -1,
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {"3600"}},
		Body:   `{"error_code":"APIGW.0308","error_msg":"throttled"}`,
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	_, err := srv.NewClient().ListExportTasks(ctx, nil)
	fmt.Println(errors.Is(err, cdn.ErrThrottled))
	// Output: true
}

// The code under test takes an endpoint and keys. A test passes those of the server.
func ExampleNewServer() {
	srv := cdntest.NewServer(cdntest.WithSampleTasks(3))
	defer srv.Close()
	countTasks := func(endpoint, ak, sk string) (int, error) { // the code under test
		client, err := cdn.NewCdnClient(cdn.WithEndpoint(endpoint), cdn.WithAKSK(ak, sk))
		if err != nil {
			return 0, err
		}
		page, err := client.ListExportTasks(context.Background(), nil)
		if err != nil {
			return 0, err
		}
		return page.Total, nil
	}

	n, err := countTasks(srv.URL, srv.AK, srv.SK)
	fmt.Println(n, err)
	// Output: 3 <nil>
}

// A program that takes the options from its user prints what is wrong with them.
func ExampleListen() {
	for _, most := range []int{0, 20} {
		srv, err := cdntest.Listen(cdntest.WithPageCap(most))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("listening, pages of at most", most)
		srv.Close()
	}
	// Output:
	// cdntest: WithPageCap: 0 is less than 1
	// listening, pages of at most 20
}

// The server is closed while a call waits for its response. Close does not wait for the call.
func ExampleServer_Close() {
	srv := cdntest.NewServer()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))
	arrived := make(chan struct{})
	srv.Inject(cdntest.Fault{
		Match: func(*http.Request) bool { close(arrived); return true },
		Delay: time.Hour,
	})

	ended := make(chan error)
	go func() {
		_, err := client.ListExportTasks(context.Background(), nil)
		ended <- err
	}()
	<-arrived
	srv.Close()
	fmt.Println("the call fails:", <-ended != nil)
	// Output: the call fails: true
}

// A test of failures uses a client that does not retry.
func ExampleServer_NewClient() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))

	srv.Inject(cdntest.Fault{Status: http.StatusServiceUnavailable, Times: -1})
	_, err := client.ListExportTasks(context.Background(), nil)
	var refused *cdn.APIError
	fmt.Println(errors.As(err, &refused), len(srv.Requests()))
	// Output: true 1
}

// A task with a file is finished and has a link. A task without one is unfinished unless it has a status.
func ExampleServer_AddTask() {
	srv := cdntest.NewServer()
	defer srv.Close()

	finished := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("time,domain,flux\n"))
	running := srv.AddTask(cdn.ExportTask{TaskName: "weekly"}, nil)
	failed := srv.AddTask(cdn.ExportTask{TaskName: "monthly", Status: cdn.ExportTaskFail}, nil)

	for _, task := range []cdn.ExportTask{finished, running, failed} {
		fmt.Println(task.TaskName, task.Status, "link:", task.DownloadLink != "")
	}
	// Output:
	// daily success link: true
	// weekly processing link: false
	// monthly fail link: false
}

// A test checks the tasks that its code has created.
func ExampleServer_Tasks() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	client := srv.NewClient()

	for _, what := range []cdn.StatType{cdn.StatTypeFlux, cdn.StatTypeReqNum} {
		if _, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{StatType: what}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, task := range srv.Tasks() {
		fmt.Println(strings.TrimRight(task.TaskName, "_0123456789"), task.Status)
	}
	// Output:
	// req_num success
	// flux success
}

// A task fails while the code under test waits for it.
func ExampleServer_UpdateTask() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{Status: "processing"}, nil)
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))

	go srv.UpdateTask(task.TaskID, func(task *cdn.ExportTask) { task.Status = cdn.ExportTaskFail })
	_, err := client.WaitForExportTask(context.Background(), task.TaskID)
	fmt.Println(errors.Is(err, cdn.ErrTaskFailed))
	// Output: true
}

// A task is removed.
func ExampleServer_RemoveTask() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, nil)

	fmt.Println(srv.RemoveTask(task.TaskID))
	_, err := srv.NewClient().GetExportTask(context.Background(), task.TaskID)
	fmt.Println(errors.Is(err, cdn.ErrTaskNotFound))
	fmt.Println(srv.RemoveTask(task.TaskID))
	// Output:
	// true
	// true
	// false
}

// A file is replaced, and then lost although its task is finished.
func ExampleServer_SetContent() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("first\n"))
	client := srv.NewClient()

	srv.SetContent(task.TaskID, []byte("second\n"))
	if _, err := client.Download(context.Background(), task.TaskID, os.Stdout); err != nil {
		fmt.Println(err)
		return
	}

	srv.SetContent(task.TaskID, nil)
	_, err := client.Download(context.Background(), task.TaskID, os.Stdout)
	fmt.Println("finished and no link:", errors.Is(err, cdn.ErrMalformedResponse))
	// Output:
	// second
	// finished and no link: true
}

// A test checks what its code has sent, to the byte.
func ExampleServer_Requests() {
	srv := cdntest.NewServer()
	defer srv.Close()

	_, err := srv.NewClient().CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{
		DomainNames: []string{"www.example.com", "img.example.com"},
		StartTime:   time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC),
		Interval:    time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, request := range srv.Requests() {
		fmt.Println(request.Method, request.Path)
		fmt.Println(string(request.Body))
	}
	// Output:
	// POST /v1/cdn/statistics/export-tasks
	// {"domain_name":"www.example.com,img.example.com","start_time":1772323200000,"interval":3600}
}

// An outage lasts until the test ends it.
func ExampleServer_ClearFaults() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))

	srv.Inject(cdntest.Fault{DropConnection: true, Times: -1})
	_, err := client.ListExportTasks(context.Background(), nil)
	fmt.Println("during the outage, it fails:", err != nil)

	srv.ClearFaults()
	_, err = client.ListExportTasks(context.Background(), nil)
	fmt.Println("after it:", err)
	// Output:
	// during the outage, it fails: true
	// after it: <nil>
}

// The list fails once, and nothing else does.
func ExampleIsList() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))

	srv.Inject(cdntest.Fault{Match: cdntest.IsList, Status: http.StatusBadGateway})
	_, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{})
	fmt.Println("create:", err)
	_, err = client.ListExportTasks(context.Background(), nil)
	var refused *cdn.APIError
	fmt.Println("list:", errors.As(err, &refused) && refused.StatusCode == http.StatusBadGateway)
	// Output:
	// create: <nil>
	// list: true
}

// The service creates the task and its response is lost. The client creates no second one and returns the candidate.
func ExampleIsCreate() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()
	client := srv.NewClient(cdn.WithListLag(10 * time.Millisecond))

	srv.Inject(cdntest.Fault{Match: cdntest.IsCreate, Handled: true, DropConnection: true})
	_, err := client.Export(context.Background(), &cdn.CreateExportTaskRequest{})
	var ambiguous *cdn.AmbiguousExportError
	if errors.Is(err, cdn.ErrOutcomeUnknown) && errors.As(err, &ambiguous) {
		fmt.Println(len(ambiguous.Candidates), "of", len(srv.Tasks()))
	}
	// Output: 1 of 1
}

// A task is created between two pages, so the second page begins with the last task of the first. Code that trusts
// offsets counts that task twice.
func ExampleServer_Inject_movingList() {
	srv := cdntest.NewServer(cdntest.WithSampleTasks(4))
	defer srv.Close()
	client := srv.NewClient()
	srv.Inject(cdntest.Fault{Match: func(r *http.Request) bool {
		if r.URL.Query().Get("offset") != "2" {
			return false
		}
		srv.AddTask(cdn.ExportTask{TaskName: "new"}, nil)
		return true
	}})

	seen := make(map[string]bool)
	for _, offset := range []int{0, 2} {
		page, err := client.ListExportTasks(context.Background(), &cdn.ListExportTasksRequest{Limit: 2, Offset: offset})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, task := range page.Data {
			fmt.Println("offset", offset, task.Status, "seen before:", seen[task.TaskID])
			seen[task.TaskID] = true
		}
	}
	// Output:
	// offset 0 success seen before: false
	// offset 0 processing seen before: false
	// offset 2 processing seen before: true
	// offset 2 fail seen before: false
}

// The service sends a name as a number, as the API reference's example has it.
func ExampleServer_Inject_rewrite() {
	srv := cdntest.NewServer()
	defer srv.Close()
	srv.AddTask(cdn.ExportTask{TaskName: "149751000000"}, nil)
	srv.Inject(cdntest.Fault{Match: cdntest.IsList, Rewrite: func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"149751000000"`), []byte(`149751000000`))
	}})

	page, err := srv.NewClient().ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Data[0].TaskName)
	// Output: 149751000000
}

// The connection breaks in the middle of the file. The client resumes the download.
func ExampleIsDownload() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("time,domain,flux\n"))
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Millisecond}))

	srv.Inject(cdntest.Fault{Match: cdntest.IsDownload, TruncateAfter: 10})
	var file strings.Builder
	if _, err := client.Download(context.Background(), task.TaskID, &file); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(file.String())
	for _, request := range srv.Requests() {
		if from := request.Header.Get("Range"); from != "" {
			fmt.Println(from)
		}
	}
	// Output:
	// time,domain,flux
	// bytes=10-
}
