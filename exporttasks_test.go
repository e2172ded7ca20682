package cdn_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// clientOf returns a client of a server that sends the same response to each request.
func clientOf(t *testing.T, status int, body string) *cdn.CdnClient {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r-1")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithEndpoint(srv.URL))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func newServer(t *testing.T, opts ...cdntest.Option) (*cdntest.Server, *cdn.CdnClient) {
	t.Helper()
	srv := cdntest.NewServer(opts...)
	t.Cleanup(srv.Close)
	client := srv.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	return srv, client
}

func names(tasks []cdn.ExportTask) []string {
	names := []string{}
	for _, task := range tasks {
		names = append(names, task.TaskName)
	}
	return names
}

func TestListExportTasks_pages_and_filters(t *testing.T) {
	srv, client := newServer(t)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ids := map[string]string{}
	for i, name := range []string{"a", "b", "c", "b"} {
		task := srv.AddTask(cdn.ExportTask{TaskName: name, UpdateTime: start.Add(time.Duration(i) * time.Hour)}, nil)
		ids[name] = task.TaskID
	}
	tests := []struct {
		name    string
		request *cdn.ListExportTasksRequest
		total   int
		want    []string
	}{
		{"nil lists the first page, the last changed first", nil, 4, []string{"b", "c", "b", "a"}},
		{"limit", &cdn.ListExportTasksRequest{Limit: 2}, 4, []string{"b", "c"}},
		{"offset", &cdn.ListExportTasksRequest{Limit: 2, Offset: 3}, 4, []string{"a"}},
		{"beyond the end", &cdn.ListExportTasksRequest{Offset: 9}, 4, []string{}},
		{"by name", &cdn.ListExportTasksRequest{TaskName: "b"}, 2, []string{"b", "b"}},
		{"by id", &cdn.ListExportTasksRequest{TaskID: ids["c"]}, 1, []string{"c"}},
		{"by id and name", &cdn.ListExportTasksRequest{TaskID: ids["c"], TaskName: "a"}, 0, []string{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := client.ListExportTasks(t.Context(), test.request)
			require.NoError(t, err)
			assert.Equal(t, test.total, got.Total)
			assert.Equal(t, test.want, names(got.Data))
			assert.Equal(t, http.StatusOK, got.StatusCode)
			assert.Equal(t, 1, got.Attempts)
			assert.NotEmpty(t, got.RequestID)
		})
	}
}

func TestListExportTasks_sends_only_set_parameters(t *testing.T) {
	srv, client := newServer(t)
	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	requests := srv.Requests()
	require.Len(t, requests, 1)
	assert.Empty(t, requests[0].Query)
}

func TestParameters_invalid_are_not_sent(t *testing.T) {
	srv, client := newServer(t)
	for _, limit := range []int{-1, 101} {
		_, err := client.ListExportTasks(t.Context(), &cdn.ListExportTasksRequest{Limit: limit})
		require.ErrorIs(t, err, cdn.ErrInvalidParameter)
		assert.EqualError(t, err, fmt.Sprintf("cdn: ListExportTasks: invalid parameter: Limit %d: must be from 0 to 100", limit))
		yields := 0
		for _, err := range client.ExportTasks(t.Context(), &cdn.ListExportTasksRequest{Limit: limit}) {
			yields++
			require.ErrorIs(t, err, cdn.ErrInvalidParameter)
		}
		assert.Equal(t, 1, yields)
	}
	_, err := client.GetExportTask(t.Context(), "")
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	assert.EqualError(t, err, `cdn: GetExportTask: invalid parameter: taskID "": must not be empty`)
	_, err = client.GetExportTask(t.Context(), "a\x00")
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.CreateExportTask(t.Context(), nil)
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	assert.Empty(t, srv.Requests())
}

func TestGetExportTask(t *testing.T) {
	srv, client := newServer(t)
	want := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("content"))
	for range 20 {
		srv.AddTask(cdn.ExportTask{TaskName: "other"}, nil)
	}
	got, err := client.GetExportTask(t.Context(), want.TaskID)
	require.NoError(t, err)
	assert.Equal(t, "daily", got.TaskName)
	assert.Equal(t, cdn.ExportTaskSuccess, got.Status)
	assert.Equal(t, want.CreateTime, got.CreateTime)

	_, err = client.GetExportTask(t.Context(), "unknown")
	require.ErrorIs(t, err, cdn.ErrTaskNotFound)
	assert.Regexp(t, `^cdn: GetExportTask: export task not found: unknown \(request id .+\)$`, err.Error())
}

// A response with other tasks only shows that the service ignored the filter, so the task may exist.
func TestGetExportTask_other_tasks_only(t *testing.T) {
	client := clientOf(t, 200, `{"total":1,"data":[{"task_id":"other"}]}`)
	got, err := client.GetExportTask(t.Context(), "mine")
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	require.NotErrorIs(t, err, cdn.ErrTaskNotFound)
	assert.EqualError(t, err, "cdn: GetExportTask: malformed response: the tasks shown do not include mine")
	assert.Nil(t, got)
}

func TestErrors_name_the_operation(t *testing.T) {
	client := clientOf(t, 400, `{"error":{"error_code":"CDN.0001","error_msg":"no"}}`)
	_, err := client.GetExportTask(t.Context(), "x")
	assert.EqualError(t, err, "cdn: GetExportTask: 400 Bad Request: CDN.0001: no (request id r-1)")
	_, err = client.CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{})
	assert.EqualError(t, err, "cdn: CreateExportTask: 400 Bad Request: CDN.0001: no (request id r-1)")
}

func TestCreateExportTask_makes_a_task(t *testing.T) {
	srv, client := newServer(t)
	got, err := client.CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{
		DomainNames: []string{"www.example.com", "img.example.com"},
		StartTime:   time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		EndTime:     time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		GroupBy:     "domain",
		Interval:    5 * time.Minute,
		StatType:    cdn.StatTypeFlux,
		ServiceArea: cdn.ServiceAreaMainlandChina,
		Countries:   []string{"cn"},
		Provinces:   []string{"all"},
		Language:    cdn.LanguageEnglish,
	})
	require.NoError(t, err)
	assert.Equal(t, 200, got.StatusCode)
	assert.Equal(t, 1, got.Attempts)
	assert.Empty(t, got.TaskID, "the service names no task")
	require.Len(t, srv.Tasks(), 1)
	assert.False(t, srv.Tasks()[0].Status.Done())
}

func TestCreateExportTask_responses(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		wantID  string
		wantErr error
		unknown bool
	}{
		{"nothing", 200, "", "", nil, false},
		{"no content", 204, "", "", nil, false},
		{"empty object", 200, "{}", "", nil, false},
		{"id", 200, `{"task_id":"a1"}`, "a1", nil, false},
		{"id as number", 201, `{"task_id":17}`, "17", nil, false},
		{"id within data", 200, `{"data":{"task_id":"a2"}}`, "a2", nil, false},
		{"something else within data", 200, `{"data":[1]}`, "", nil, false},
		{"null", 200, " null", "", cdn.ErrMalformedResponse, true},
		{"array", 200, "[]", "", cdn.ErrMalformedResponse, true},
		{"HTML", 200, "<html>", "", cdn.ErrMalformedResponse, true},
		{"cut", 200, `{"task_id":"a`, "", cdn.ErrMalformedResponse, true},
		{"code 0", 200, `{"code":0,"message":"ok"}`, "", nil, false},
		{"empty error", 200, `{"error":{}}`, "", nil, false},
		{"null error", 200, `{"error":null}`, "", nil, false},
		{"message only", 202, `{"message":"accepted"}`, "", nil, false},
		{"id and message", 200, `{"task_id":"t1","message":"task created"}`, "t1", nil, false},
		{"clear refusal", 200, `{"error":{"error_code":"CDN.0202","error_msg":"time range"}}`, "", &cdn.APIError{}, false},
		{"clear refusal of the gateway", 200, `{"error_code":"APIGW.0301","error_msg":"Incorrect"}`, "", cdn.ErrUnauthorized, false},
		{"internal error", 200, `{"error":{"error_code":"CDN.0000","error_msg":"internal"}}`, "", cdn.ErrMalformedResponse, true},
		{"gateway without the CDN's response", 200, `{"error_code":"APIG.0201","error_msg":"Backend timeout"}`, "", cdn.ErrMalformedResponse, true},
		{"internal error of the gateway", 200, `{"error_code":"APIGW.0601","error_msg":"internal"}`, "", cdn.ErrMalformedResponse, true},
		{"internal error with 400", 400, `{"error":{"error_code":"CDN.0000","error_msg":"internal"}}`, "", &cdn.APIError{}, true},
		{"code in a list of errors", 200, `{"errors":[{"error_code":"CDN.0202","error_msg":"time range"}]}`, "", cdn.ErrMalformedResponse, true},
		{"code in data", 200, `{"data":{"code":"APIG.0308"}}`, "", cdn.ErrMalformedResponse, true},
		{"a code that is not the vendor's", 200, `{"code":"FAILED","message":"no"}`, "", cdn.ErrMalformedResponse, true},
		{"refusal with an id", 200, `{"task_id":"t1","error_code":"CDN.0202"}`, "", cdn.ErrMalformedResponse, true},
		{"error text without a code", 200, `{"error":"it failed"}`, "", cdn.ErrMalformedResponse, true},
		{"bad request", 400, `{"error":{"error_code":"CDN.0001","error_msg":"bad"}}`, "", &cdn.APIError{}, false},
		{"timeout of the server", 408, "", "", &cdn.APIError{}, true},
		{"redirect", 303, "", "", &cdn.APIError{}, true},
		{"refused", 403, "", "", cdn.ErrForbidden, false},
		{"unsupported", 501, "", "", &cdn.APIError{}, true},
		{"server error", 500, "", "", &cdn.APIError{}, true},
		{"timeout of the gateway", 504, "", "", &cdn.APIError{}, true},
		{"busy", 503, "", "", &cdn.APIError{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := clientOf(t, test.status, test.body).CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{})
			assert.Equal(t, test.unknown, errors.Is(err, cdn.ErrOutcomeUnknown), err)
			var apiError *cdn.APIError
			switch {
			case test.wantErr == nil:
				require.NoError(t, err)
				assert.Equal(t, test.wantID, got.TaskID)
			case errors.As(test.wantErr, &apiError):
				require.ErrorAs(t, err, &apiError)
				assert.Equal(t, test.status, apiError.StatusCode)
			default:
				require.ErrorIs(t, err, test.wantErr)
			}
		})
	}
}
