package cdntest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	official "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// officialClient returns the vendor's own client, of the version in go.mod: v0.1.207 is the newest that the Go
// module proxy has. The account id keeps it from asking the identity service, which is not on this machine.
func officialClient(t *testing.T, srv *cdntest.Server, sk string) *official.CdnClient {
	t.Helper()
	credentials, err := global.NewCredentialsBuilder().WithAk(srv.AK).WithSk(sk).WithDomainId("an-account").SafeBuild()
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := official.CdnClientBuilder().
		WithEndpoints([]string{srv.URL}).
		WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithHttpTransport(transport)).
		SafeBuild()
	require.NoError(t, err)
	return official.NewCdnClient(client)
}

func TestOfficialClientLists(t *testing.T) {
	srv := cdntest.NewServer()
	defer srv.Close()
	srv.AddTask(cdn.ExportTask{TaskName: "other"}, nil)
	want := srv.AddTask(cdn.ExportTask{TaskName: "a name & more"}, []byte("content"))
	client := officialClient(t, srv, srv.SK)

	all, err := client.ListExportTasks(&model.ListExportTasksRequest{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, *all.Total)
	assert.Len(t, *all.Data, 2)
	assert.Contains(t, srv.Requests()[0].Query, "task_id", "it sends the key without a value")

	limit, offset := int32(5), int32(0)
	one, err := client.ListExportTasks(&model.ListExportTasksRequest{
		Limit: &limit, Offset: &offset, TaskId: want.TaskID, TaskName: want.TaskName,
	})
	require.NoError(t, err)
	require.Len(t, *one.Data, 1)
	got := (*one.Data)[0]
	assert.Equal(t, want.TaskID, *got.TaskId)
	assert.Equal(t, "a name & more", *got.TaskName)
	assert.Equal(t, "success", *got.Status)
	assert.Contains(t, *got.DownloadLink, srv.URL)
	assert.Equal(t, want.CreateTime.UnixMilli(), *got.CreateTime)
	assert.Equal(t, want.UpdateTime.UnixMilli(), *got.UpdateTime)
}

func TestOfficialClientCreates(t *testing.T) {
	srv := cdntest.NewServer()
	defer srv.Close()
	domain, statistic, start, end := "www.example.com", "req_num", int64(1767225600000), int64(1767229200000)
	created, err := officialClient(t, srv, srv.SK).CreateExportTask(&model.CreateExportTaskRequest{Body: &model.ExportTaskVo{
		DomainName: &domain, StatType: &statistic, StartTime: &start, EndTime: &end,
	}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, created.HttpStatusCode)
	tasks := srv.Tasks()
	require.Len(t, tasks, 1)
	assert.Contains(t, tasks[0].TaskName, "req_num")
}

func TestOfficialClientIsRefused(t *testing.T) {
	srv := cdntest.NewServer()
	defer srv.Close()
	_, err := officialClient(t, srv, "wrong").ListExportTasks(&model.ListExportTasksRequest{})
	var refused *sdkerr.ServiceResponseError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusUnauthorized, refused.StatusCode)
	assert.Equal(t, "APIGW.0301", refused.ErrorCode)
	assert.Equal(t, 32, len(refused.RequestId))

	_, err = officialClient(t, srv, srv.SK).ListExportTasks(&model.ListExportTasksRequest{Limit: new(int32(101))})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "CDN.0001", refused.ErrorCode)
	assert.Contains(t, refused.ErrorMessage, "limit must be an integer from 0 to 100")

	throttling := cdntest.NewServer(cdntest.WithQuota(1, time.Minute))
	defer throttling.Close()
	client := officialClient(t, throttling, throttling.SK)
	_, err = client.ListExportTasks(&model.ListExportTasksRequest{})
	require.NoError(t, err)
	_, err = client.ListExportTasks(&model.ListExportTasksRequest{})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusTooManyRequests, refused.StatusCode)
	assert.Equal(t, "APIGW.0308", refused.ErrorCode)

	late := cdntest.NewServer(cdntest.WithClock(func() time.Time { return time.Now().Add(time.Hour) }))
	defer late.Close()
	_, err = officialClient(t, late, late.SK).ListExportTasks(&model.ListExportTasksRequest{})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusUnauthorized, refused.StatusCode)
	assert.Contains(t, refused.ErrorMessage, "X-Sdk-Date")
}
