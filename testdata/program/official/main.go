// Command official lists a page of export tasks with the vendor's generated client, for
// BenchmarkProgram to weigh.
package main

import (
	"fmt"
	"os"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	cdn "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
)

func main() {
	page, err := list()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, task := range *page.Data {
		fmt.Println(*task.TaskId, *task.TaskName, *task.Status)
	}
}

func list() (*model.ListExportTasksResponse, error) {
	credentials, err := provider.GlobalCredentialProviderChain().GetCredentials()
	if err != nil {
		return nil, err
	}
	cnNorth1, err := site()
	if err != nil {
		return nil, err
	}
	http, err := cdn.CdnClientBuilder().WithRegion(cnNorth1).WithCredential(credentials).SafeBuild()
	if err != nil {
		return nil, err
	}
	return cdn.NewCdnClient(http).ListExportTasks(&model.ListExportTasksRequest{})
}
