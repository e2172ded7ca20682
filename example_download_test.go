package cdn_test

import (
	"context"
	"fmt"
	"io"
	"slices"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A wait returns the finished task with its link, so the download needs no request for the task.
func ExampleWithLink() {
	srv := cdntest.NewServer()
	defer srv.Close()
	id := srv.AddTask(cdn.ExportTask{}, []byte("domain,flux\n")).TaskID
	client := srv.NewClient()
	ctx := context.Background()

	task, err := client.WaitForExportTask(ctx, id)
	if err != nil {
		fmt.Println(err)
		return
	}
	before := len(srv.Requests())
	n, err := client.Download(ctx, task.TaskID, io.Discard, cdn.WithLink(task.DownloadLink))
	if err != nil {
		fmt.Println(err)
		return
	}
	requests := srv.Requests()[before:]
	ofAPI := slices.DeleteFunc(requests, func(r cdntest.Request) bool { return r.Path != "/v1/cdn/statistics/export-tasks" })
	fmt.Println(n, "bytes,", len(ofAPI), "requests to the API")
	// Output: 12 bytes, 0 requests to the API
}
