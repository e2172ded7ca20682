package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	official "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/region"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program that uses the vendor's client, as its examples do, reaches the sandbox with nothing but what
// the sandbox prints in its environment.
func TestOfficialClientGoesByTheWelcome(t *testing.T) {
	s := startSandbox(t, "-tasks", "3", "-export-time", "0s")
	defer s.end()
	shell := exec.CommandContext(t.Context(), "sh", "-c", s.welcome+`exec "$0"`, os.Args[0])
	// The vendor's package keeps regions for as long as a process runs, so that it gets one of its own.
	shell.Env = append(os.Environ(), asProgram+"=official client")
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 5, "%s", out)
	assert.Equal(t, "created: 200", lines[0])
	assert.Equal(t, "4 tasks", lines[1])
	assert.Regexp(t, `^[0-9a-f]+ req_num_\S+ success$`, lines[2], "the created one is the newest")
}

// useOfficialClient creates a task and lists all of them.
func useOfficialClient() error {
	// The account id spares it a question to the identity service.
	credentials, err := global.NewCredentialsBuilder().
		WithAk(os.Getenv("CLOUD_SDK_AK")).WithSk(os.Getenv("CLOUD_SDK_SK")).WithDomainId("an-account").SafeBuild()
	if err != nil {
		return err
	}
	site, err := region.SafeValueOf("cn-north-1")
	if err != nil {
		return err
	}
	sender, err := official.CdnClientBuilder().WithRegion(site).WithCredential(credentials).SafeBuild()
	if err != nil {
		return err
	}
	client := official.NewCdnClient(sender)
	statistic := "req_num"
	created, err := client.CreateExportTask(&model.CreateExportTaskRequest{Body: &model.ExportTaskVo{StatType: &statistic}})
	if err != nil {
		return err
	}
	fmt.Println("created:", created.HttpStatusCode)
	page, err := client.ListExportTasks(&model.ListExportTasksRequest{})
	if err != nil {
		return err
	}
	fmt.Println(*page.Total, "tasks")
	for _, task := range (*page.Data)[:3] {
		fmt.Println(*task.TaskId, *task.TaskName, *task.Status)
	}
	return nil
}
