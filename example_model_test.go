package cdn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// stdoutLogger logs to standard output without the time, which differs from run to run.
func stdoutLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}

// A logged task has its link without the query, which opens the file.
func ExampleExportTask_LogValue() {
	task := cdn.ExportTask{
		TaskID:       "15d2a8",
		TaskName:     "daily",
		Status:       cdn.ExportTaskSuccess,
		DownloadLink: "https://store.example.com/daily.csv?Expires=1772326800&Signature=secret",
		CreateTime:   time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC),
		UpdateTime:   time.Date(2026, time.March, 1, 0, 1, 30, 0, time.UTC),
	}
	stdoutLogger().Info("exported", "task", task)
	// Output: level=INFO msg=exported task.task_id=15d2a8 task.task_name=daily task.status=success task.download_link=https://store.example.com/daily.csv?redacted task.create_time=2026-03-01T00:00:00.000Z task.update_time=2026-03-01T00:01:30.000Z
}

// A task as JSON, in the form of the service. Times are in milliseconds.
func ExampleExportTask_MarshalJSON() {
	text, err := json.Marshal(cdn.ExportTask{
		TaskID:     "15d2a8",
		TaskName:   "daily",
		Status:     "processing",
		CreateTime: time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(text))
	// Output: {"task_id":"15d2a8","task_name":"daily","status":"processing","download_link":"","create_time":1772323200000}
}

// A task as the service writes it. A name may be a number, and a member may be null.
func ExampleExportTask_UnmarshalJSON() {
	const stored = `{"task_id":"15d2a8","task_name":20260301,"status":"processing","download_link":null,"create_time":1772323200000}`

	var task cdn.ExportTask
	if err := json.Unmarshal([]byte(stored), &task); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %q %s\n", task.TaskID, task.TaskName, task.Status)
	fmt.Println(task.CreateTime, task.UpdateTime.IsZero())

	err := json.Unmarshal([]byte(`{"create_time":"yesterday"}`), &task)
	fmt.Println(err)
	// Output:
	// 15d2a8 "20260301" processing
	// 2026-03-01 00:00:00 +0000 UTC true
	// cdn: ExportTask: create_time: the string at byte 15 is not a whole number of 64 bits
}

// Two statuses are final. A task with any other is not finished.
func ExampleExportTaskStatus_Done() {
	srv := cdntest.NewServer()
	defer srv.Close()
	for _, status := range []cdn.ExportTaskStatus{cdn.ExportTaskSuccess, cdn.ExportTaskFail, "waiting", "processing"} {
		srv.AddTask(cdn.ExportTask{Status: status}, nil)
	}
	client := srv.NewClient()

	unfinished := 0
	for task, err := range client.ExportTasks(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if !task.Status.Done() {
			unfinished++
		}
	}
	fmt.Println(unfinished, "tasks are not finished")
	// Output: 2 tasks are not finished
}

// A response that another program has stored. JSON that is not a page of tasks is an error.
func ExampleListExportTasksResponse_UnmarshalJSON() {
	for _, stored := range []string{
		`{"total":12,"data":[{"task_id":"15d2a8","task_name":"daily","status":"success"}]}`,
		`{"error":{"error_code":"CDN.0001","error_msg":"limit must be an integer"}}`,
	} {
		var page cdn.ListExportTasksResponse
		if err := json.Unmarshal([]byte(stored), &page); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(page.Data[0].TaskName, "is the first of", page.Total)
	}
	// Output:
	// daily is the first of 12
	// cdn: ListExportTasksResponse: the response has an error code
}
