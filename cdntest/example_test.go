package cdntest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A test fills the server, calls its own code with a client of it, and looks at what was asked.
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

// The clock moves an export on; nothing has to sleep.
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

// The server answers as the gateway does when it throttles.
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
