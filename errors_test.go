package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPIError_text(t *testing.T) {
	tests := []struct {
		name string
		err  APIError
		want string
	}{
		{"code, message, request id", APIError{Operation: "ListExportTasks", StatusCode: 400, RequestID: "r1", ErrMsg: ErrMsg{"CDN.0001", "limit"}, Attempts: 1},
			"400 Bad Request: CDN.0001: limit (request id r1)"},
		{"several attempts", APIError{StatusCode: 503, ErrMsg: ErrMsg{ErrorMsg: "<html>"}, Attempts: 4}, "503 Service Unavailable: <html> (4 attempts)"},
		{"unknown status", APIError{StatusCode: 599}, "599"},
		{"retry after", APIError{StatusCode: 429, RetryAfter: time.Hour, Attempts: 2}, "429 Too Many Requests (retry after 1h0m0s, 2 attempts)"},
		{"encoded message is left out", APIError{StatusCode: 500, ErrMsg: ErrMsg{ErrorCode: "CDN.1"}, EncodedAuthorizationMessage: "long"}, "500 Internal Server Error: CDN.1"},
		{"details", APIError{StatusCode: 400, ErrMsg: ErrMsg{"CDN.0001", "bad"}, Details: `[{"field":"interval"}]`}, `400 Bad Request: CDN.0001: bad: [{"field":"interval"}]`},
		{"long details are cut", APIError{StatusCode: 400, Details: strings.Repeat("d", 300)}, "400 Bad Request: " + strings.Repeat("d", 197) + "…"},
		{"hint comes last", APIError{StatusCode: 401, RequestID: "r1", ErrMsg: ErrMsg{"APIGW.0301", "Incorrect"}},
			"401 Unauthorized: APIGW.0301: Incorrect (request id r1); check the access key, the secret key and the clock"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, test.err.Error()) })
	}
}

func TestAmbiguousExportError_names_the_candidates(t *testing.T) {
	err := &AmbiguousExportError{[]ExportTask{{TaskID: "a"}, {TaskID: "b\n"}}}
	assert.EqualError(t, err, "ambiguous export: it may be any of a, b")
	assert.ErrorIs(t, err, ErrAmbiguousExport)
}

func TestAPIError_as_official_error(t *testing.T) {
	err := fmt.Errorf("report: %w", &APIError{
		StatusCode: http.StatusForbidden, RequestID: "r", ErrMsg: ErrMsg{"X.1", "denied"},
		EncodedAuthorizationMessage: "e", RetryAfter: time.Second, Attempts: 2,
	})
	var official *sdkerr.ServiceResponseError
	require.ErrorAs(t, err, &official)
	assert.Equal(t, &sdkerr.ServiceResponseError{
		StatusCode: 403, RequestId: "r", ErrorCode: "X.1", ErrorMessage: "denied", EncodedAuthorizationMessage: "e",
	}, official)

	var other *sdkerr.ConnectionError
	assert.False(t, errors.As(err, &other))
}

// The name of the method that the user has called comes first, after "cdn:".
func TestErrors_name_the_package_once(t *testing.T) {
	refusing := func(method string, filtered bool) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			if req.Method == method && (req.URL.Query().Get("task_id") != "") == filtered {
				return reply(400, `{"error":{"error_code":"CDN.0001","error_msg":"no"}}`), nil
			}
			return nil, nil
		}
	}
	busy := func(req *http.Request) (*http.Response, error) {
		if req.URL.Query().Get("task_id") == "" {
			return nil, nil
		}
		return reply(503, "busy"), nil
	}
	const refusal = "400 Bad Request: CDN.0001: no"
	for _, c := range []struct {
		name   string
		before func(*http.Request) (*http.Response, error)
		call   func(context.Context, *CdnClient) error
		want   string
	}{
		{"Export, listing", refusing("GET", false), exportOnce, "Export: ListExportTasks: " + refusal},
		{"Export, creating", refusing("POST", false), exportOnce, "Export: CreateExportTask: " + refusal},
		{"Export, waiting", refusing("GET", true), exportOnce, "Export: created-1: GetExportTask: " + refusal + `; the last status was "processing"`},
		{"WaitForExportTask", refusing("GET", true), waitOnce, "WaitForExportTask: 1: GetExportTask: " + refusal},
		{"WaitForExportTask, timeout", busy, waitOnce,
			"WaitForExportTask: 1: context deadline exceeded; the last poll failed: GetExportTask: 503 Service Unavailable: busy"},
		{"WatchExportTasks", refusing("GET", false), watchOnce, "WatchExportTasks: ListExportTasks: " + refusal},
		{"Download", refusing("GET", true), downloadOnce, "Download: 1: GetExportTask: " + refusal},
		{"ExportTasks", refusing("GET", false), readOnce, "ExportTasks: " + refusal},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				err := c.call(ctx, newTestClient(t, &fakeService{before: c.before}))
				require.Error(t, err)
				text, _, _ := strings.Cut(err.Error(), " (") // the number of attempts is random
				assert.Equal(t, "cdn: "+c.want, text)
			})
		})
	}
}

// The error of a call that is cancelled in a delay has the last response.
func TestErrors_cancelled_call_has_the_last_response(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(10*time.Second, cancel)
		client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
			return reply(503, "busy", "Retry-After", "60", "X-Request-Id", "r-1"), nil
		}))
		_, err := client.ListExportTasks(ctx, nil)
		require.ErrorIs(t, err, context.Canceled)
		assert.Regexp(t, `^cdn: ListExportTasks: .*context canceled; the last attempt before that: 503 Service Unavailable: busy \(request id r-1, retry after 1m0s\)$`, err.Error())
		var response *APIError
		require.ErrorAs(t, err, &response)
		assert.Equal(t, time.Minute, response.RetryAfter)
	})
}

func exportOnce(ctx context.Context, client *CdnClient) error {
	_, err := client.Export(ctx, &CreateExportTaskRequest{})
	return err
}

func waitOnce(ctx context.Context, client *CdnClient) error {
	_, err := client.WaitForExportTask(ctx, "1")
	return err
}

func watchOnce(ctx context.Context, client *CdnClient) error {
	for _, err := range client.WatchExportTasks(ctx) {
		return err
	}
	return nil
}

func downloadOnce(ctx context.Context, client *CdnClient) error {
	_, err := client.Download(ctx, "1", io.Discard)
	return err
}

func readOnce(ctx context.Context, client *CdnClient) error {
	for _, err := range client.ExportTasks(ctx, nil) {
		return err
	}
	return nil
}
