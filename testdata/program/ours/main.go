// Command ours lists a page of export tasks, for BenchmarkProgram to weigh.
package main

import (
	"context"
	"fmt"
	"os"

	"example.com/huaweicloud/cdn"
)

func main() {
	client, err := cdn.NewCdnClient(cdn.WithRegion("cn-north-1"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	page, err := client.ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, task := range page.Data {
		fmt.Println(task.TaskID, task.TaskName, task.Status)
	}
}
