package cdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"example.com/huaweicloud/cdn/internal/redact"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseErrorBody(t *testing.T) {
	const auth = "encoded…"
	tests := []struct {
		name, text string
		want       errorBody
	}{
		{"CDN", `{"error":{"error_code":"CDN.0001","error_msg":"bad limit"}}`,
			errorBody{ErrMsg: ErrMsg{"CDN.0001", "bad limit"}}},
		{"gateway", `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: x","request_id":"r1"}`,
			errorBody{ErrMsg: ErrMsg{"APIGW.0301", "Incorrect IAM authentication information: x"}, requestID: "r1"}},
		{"code and message", `{"code":"PAP.0012","message":"denied","encoded_authorization_message":"encoded…"}`,
			errorBody{ErrMsg: ErrMsg{"PAP.0012", "denied"}, encodedAuthorizationMessage: auth}},
		{"nested code and message", `{"error":{"code":"X.1","message":"denied","encoded_authorization_message":"encoded…"},"request_id":"r2"}`,
			errorBody{ErrMsg: ErrMsg{"X.1", "denied"}, requestID: "r2", encodedAuthorizationMessage: auth}},
		{"camel case", `{"errorCode":"X.2","errorMsg":"no"}`, errorBody{ErrMsg: ErrMsg{"X.2", "no"}}},
		{"identity service, code as number", `{"error":{"code":401,"message":"The token expired","title":"Unauthorized"}}`,
			errorBody{ErrMsg: ErrMsg{"401", "The token expired"}}},
		{"error as text", `{"error":"not today"}`, errorBody{ErrMsg: ErrMsg{"", "not today"}}},
		{"message only", `{"message":"no route"}`, errorBody{ErrMsg: ErrMsg{"", "no route"}}},
		{"code only", `{"error":{"error_code":"CDN.0002","error_msg":null}}`, errorBody{ErrMsg: ErrMsg{"CDN.0002", ""}}},
		{"odd neighbours", `{"error":{"error_code":["x"],"error_msg":"still here","request_id":{}}}`, errorBody{ErrMsg: ErrMsg{"", "still here"}}},
		{"line breaks and control characters", `{"error_code":"A\u0000B","error_msg":"one\r\n\ttwo\u001b[31m"}`, errorBody{ErrMsg: ErrMsg{"A B", "one two [31m"}}},
		{"empty error object", `{"error":{}}`, errorBody{}},
		{"error as list", `{"error":[1]}`, errorBody{}},
		{"another object", `{"total":1,"data":[]}`, errorBody{}},
		{"array", `[{"error_code":"x"}]`, errorBody{}},
		{"cut short", `{"error":{"error_code":"CDN.0001"`, errorBody{}},
		{"HTML", `<html>`, errorBody{}},
		{"nothing", ``, errorBody{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := parseErrorBody(test.text)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.want.ErrMsg != ErrMsg{}, got.found())
		})
	}
}

func TestParseErrorBodyBoundsMessages(t *testing.T) {
	text, err := json.Marshal(map[string]string{"error_code": strings.Repeat("C", 9000), "error_msg": strings.Repeat("日", 9000), "request_id": strings.Repeat("r", 9000)})
	require.NoError(t, err)
	got := parseErrorBody(string(text))
	assert.Equal(t, maxMessage, len(got.ErrorCode))
	assert.LessOrEqual(t, len(got.ErrorMsg), maxMessage)
	assert.True(t, utf8.ValidString(got.ErrorMsg))
	assert.Equal(t, maxRequestID, len(got.requestID))
}

func FuzzParseErrorBody(f *testing.F) {
	f.Add(`{"error":{"error_code":"CDN.0001","error_msg":"x"}}`)
	f.Add(`{"error_code":"APIGW.0301","error_msg":"y","request_id":"z"}`)
	f.Add(`{"error":"x","message":1e999,"code":"\u001b"}`)
	f.Add("<html>\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		body := parseErrorBody(text)
		for _, shown := range []string{body.ErrorCode, body.ErrorMsg, body.requestID, redact.Excerpt(text, redact.Short)} {
			assert.NotContains(t, shown, "\n")
			assert.NotContains(t, shown, "\x1b")
			assert.True(t, utf8.ValidString(shown))
			assert.LessOrEqual(t, len(shown), maxMessage)
		}
		assert.LessOrEqual(t, len(redact.Excerpt(text, redact.Short)), redact.Short)
	})
}

func TestAPIErrorText(t *testing.T) {
	tests := []struct {
		err  APIError
		want string
	}{
		{APIError{Operation: "ListExportTasks", StatusCode: 401, RequestID: "r1", ErrMsg: ErrMsg{"APIGW.0301", "Incorrect"}, Attempts: 1},
			"401 Unauthorized: APIGW.0301: Incorrect (request id r1)"},
		{APIError{Operation: "ListExportTasks", StatusCode: 503, ErrMsg: ErrMsg{ErrorMsg: "<html>"}, Attempts: 4},
			"503 Service Unavailable: <html> (4 attempts)"},
		{APIError{StatusCode: 599}, "599"},
		{APIError{StatusCode: 429, RetryAfter: time.Hour, Attempts: 2}, "429 Too Many Requests (retry after 1h0m0s, 2 attempts)"},
		{APIError{StatusCode: 500, ErrMsg: ErrMsg{ErrorCode: "CDN.1"}, EncodedAuthorizationMessage: "long"}, "500 Internal Server Error: CDN.1"},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, test.err.Error())
	}
}

func TestAPIErrorIs(t *testing.T) {
	sentinels := []error{ErrInvalidParameter, ErrNoCredentials, ErrUnauthorized, ErrForbidden, ErrThrottled, ErrTaskNotFound, ErrMalformedResponse}
	tests := []struct {
		status int
		code   string
		want   error
	}{
		{401, "", ErrUnauthorized},
		{403, "CDN.0403", ErrForbidden},
		{429, "", ErrThrottled},
		{200, "APIGW.0308", ErrThrottled},
		{500, "APIGW.0301", ErrUnauthorized},
		{403, "APIGW.0301", ErrUnauthorized},
		{400, "CDN.0001", nil},
		{404, "", nil},
		{500, "", nil},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			err := fmt.Errorf("report: %w", &APIError{StatusCode: test.status, ErrMsg: ErrMsg{ErrorCode: test.code}})
			for _, sentinel := range sentinels {
				assert.Equal(t, sentinel == test.want, errors.Is(err, sentinel), sentinel)
			}
		})
	}
}

// What the object store refuses is no matter of the account's keys, permissions or quota.
func TestAPIErrorOfTheStoreIsNoneOfTheSentinels(t *testing.T) {
	for status, sentinel := range map[int]error{401: ErrUnauthorized, 403: ErrForbidden, 429: ErrThrottled} {
		assert.NotErrorIs(t, &APIError{Operation: "Download", StatusCode: status}, sentinel)
	}
}

func TestAPIErrorAsOfficial(t *testing.T) {
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

// Calls that make other calls say "cdn:" once, before the name of the call that the user made.
func TestErrorsNameThePackageOnce(t *testing.T) {
	forbidding := func(method string, filtered bool) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			if req.Method == method && (req.URL.Query().Get("task_id") != "") == filtered {
				return reply(403, `{"error":{"error_code":"CDN.0403","error_msg":"no"}}`), nil
			}
			return nil, nil
		}
	}
	busy := func(*http.Request) (*http.Response, error) { return reply(503, "busy"), nil }
	const refusal = "403 Forbidden: CDN.0403: no"
	for _, c := range []struct {
		name   string
		before func(*http.Request) (*http.Response, error)
		call   func(context.Context, *CdnClient) error
		want   string
	}{
		{"Export, listing", forbidding("GET", false), exportOnce, "Export: ListExportTasks: " + refusal},
		{"Export, creating", forbidding("POST", false), exportOnce, "Export: CreateExportTask: " + refusal},
		{"Export, waiting", forbidding("GET", true), exportOnce, "Export: created-1: GetExportTask: " + refusal},
		{"WaitForExportTask", forbidding("GET", false), waitOnce, "WaitForExportTask: 1: ListExportTasks: " + refusal},
		{"WaitForExportTask, time-out", busy, waitOnce,
			"WaitForExportTask: 1: context deadline exceeded; the last poll failed: ListExportTasks: 503 Service Unavailable: busy (4 attempts)"},
		{"WatchExportTasks", forbidding("GET", false), watchOnce, "WatchExportTasks: ListExportTasks: " + refusal},
		{"Download", forbidding("GET", true), downloadOnce, "Download: 1: GetExportTask: " + refusal},
		{"ExportTasks", forbidding("GET", false), readOnce, "ExportTasks: " + refusal},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				err := c.call(ctx, newTestClient(t, &fakeService{before: c.before}))
				require.Error(t, err)
				assert.Equal(t, "cdn: "+c.want, err.Error())
			})
		})
	}
}

// A call that is cancelled in a pause says what it was waiting for.
func TestCancelledCallTellsTheLastAnswer(t *testing.T) {
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
		var answer *APIError
		require.ErrorAs(t, err, &answer)
		assert.Equal(t, time.Minute, answer.RetryAfter)
	})
}

// An answer that cannot be read may hold the key to a file.
func TestErrorsOfAnswersShowNoKeyToAFile(t *testing.T) {
	const text = `{"data":[{"download_link":"https://b.example/f.csv?AccessKeyId=A&Signature=s3cret","task_id":"1"`
	for _, status := range []int{200, 400} {
		_, err := newTestClient(t, &fakeService{before: func(*http.Request) (*http.Response, error) {
			return reply(status, text), nil
		}}).ListExportTasks(t.Context(), nil)
		require.ErrorContains(t, err, "https://b.example/f.csv?redacted")
		assert.NotContains(t, err.Error(), "s3cret")
	}
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
