package cdn_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	official "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// The tests of this file prove the README's statements about the official SDK. If one fails, a newer version of the SDK
// does better, and the README must be changed.

// vendorsExample is the example response of the API reference. Its task name is a number, documented as a string.
const vendorsExample = `{
  "total" : 1,
  "data" : [ {
    "task_id" : "2459be350111d2da0f8dc010e0ac4c33",
    "task_name" : 149751000000,
    "status" : "success",
    "download_link" : "https://www.example.com/error.html",
    "create_time" : 1675134803874,
    "update_time" : 1675134803874
  } ]
}`

// newOfficialClient returns the official SDK's client for one endpoint. It has an account id, so it does not
// request one from the identity service.
func newOfficialClient(t testing.TB, endpoint string, transport http.RoundTripper) *official.CdnClient {
	t.Helper()
	credentials, err := global.NewCredentialsBuilder().WithAk("ak").WithSk("sk").WithDomainId("account").SafeBuild()
	require.NoError(t, err)
	// The official builder reads the name for the User-Agent from the environment if there is none. It stores one in
	// the home directory.
	settings := config.DefaultHttpConfig().WithUserAgent("test")
	if transport != nil {
		settings = settings.WithHttpRoundTripper(transport)
	}
	hcClient, err := official.CdnClientBuilder().
		WithRegion(region.NewRegion("test", endpoint)).
		WithCredential(credentials).
		WithHttpConfig(settings).
		SafeBuild()
	require.NoError(t, err)
	return official.NewCdnClient(hcClient)
}

// serve returns a server that sends the same response to each request.
func serve(t *testing.T, status int, body string, header ...string) (endpoint string, requests *int) {
	t.Helper()
	requests = new(int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*requests++
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

func TestOfficialSDK_fails_on_the_vendors_example(t *testing.T) {
	endpoint, _ := serve(t, 200, vendorsExample)
	_, err := newOfficialClient(t, endpoint, nil).ListExportTasks(&model.ListExportTasksRequest{})
	require.ErrorContains(t, err, "ReadString: expects")

	got, err := clientOf(t, 200, vendorsExample).ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"149751000000"}, names(got.Data))
	assert.Equal(t, int64(1675134803874), got.Data[0].CreateTime.UnixMilli())
}

func TestOfficialSDK_empty_response_is_a_success(t *testing.T) {
	for name, body := range map[string]string{
		"error object": `{"error":{"error_code":"CDN.0001","error_msg":"no"}}`,
		"empty body":   "",
		"null":         "null",
	} {
		t.Run(name, func(t *testing.T) {
			endpoint, _ := serve(t, 200, body)
			got, err := newOfficialClient(t, endpoint, nil).ListExportTasks(&model.ListExportTasksRequest{})
			require.NoError(t, err)
			assert.Nil(t, got.Data)

			_, err = clientOf(t, 200, body).ListExportTasks(t.Context(), nil)
			require.Error(t, err)
		})
	}
}

func TestOfficialSDK_takes_no_context(t *testing.T) {
	client := reflect.TypeFor[*official.CdnClient]()
	ctx := reflect.TypeFor[context.Context]()
	require.Positive(t, client.NumMethod())
	for i := range client.NumMethod() {
		method := client.Method(i)
		for j := range method.Type.NumIn() {
			assert.NotEqual(t, ctx, method.Type.In(j), method.Name)
		}
	}
}

func TestOfficialSDK_does_not_retry(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithAKSK("ak", "sk"))
	defer srv.Close()
	throttled := cdntest.Fault{
		Status: 429, Header: http.Header{"Retry-After": {"0"}}, Times: 1,
		Body: `{"error_code":"APIGW.0308","error_msg":"slow down"}`,
	}
	srv.Inject(throttled)
	_, err := newOfficialClient(t, srv.URL, nil).ListExportTasks(&model.ListExportTasksRequest{})
	require.ErrorContains(t, err, "APIGW.0308")
	assert.Len(t, srv.Requests(), 1)

	srv.Inject(throttled)
	page, err := srv.NewClient().ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 2, page.Attempts)
}

func TestOfficialSDK_reads_responses_of_any_size(t *testing.T) {
	body := `{"total":0,"data":[]` + strings.Repeat(" ", 40<<20) + "}"
	endpoint, _ := serve(t, 200, body)
	_, err := newOfficialClient(t, endpoint, nil).ListExportTasks(&model.ListExportTasksRequest{})
	require.NoError(t, err)

	_, err = clientOf(t, 200, body).ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
}

// Code for the official SDK's errors works unchanged.
func TestOfficialSDK_error_equals_ours(t *testing.T) {
	const body = `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information","encoded_authorization_message":"e"}`
	endpoint, _ := serve(t, 401, body, "X-Request-Id", "r-1")
	_, theirs := newOfficialClient(t, endpoint, nil).ListExportTasks(&model.ListExportTasksRequest{})
	_, ours := clientOf(t, 401, body).ListExportTasks(t.Context(), nil)

	var want, got *sdkerr.ServiceResponseError
	require.True(t, errors.As(theirs, &want))
	require.True(t, errors.As(ours, &got))
	assert.Equal(t, want, got)
}

// The server verifies the signatures of both clients.
func TestOfficialSDK_lists_from_cdntest(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithAKSK("ak", "sk"), cdntest.WithSampleTasks(3))
	defer srv.Close()
	theirs, err := newOfficialClient(t, srv.URL, nil).ListExportTasks(&model.ListExportTasksRequest{})
	require.NoError(t, err)
	client := srv.NewClient()
	defer client.CloseIdleConnections()
	ours, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	require.NotNil(t, theirs.Data)
	require.Len(t, *theirs.Data, len(ours.Data))
	assert.Equal(t, ours.Total, int(*theirs.Total))
	for i, task := range *theirs.Data {
		assert.Equal(t, ours.Data[i].TaskID, *task.TaskId)
		assert.Equal(t, ours.Data[i].UpdateTime.UnixMilli(), *task.UpdateTime)
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}
