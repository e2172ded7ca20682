package cdn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roundTripper is a transport without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const emptyPage = `{"total":0,"data":[]}`

// reply returns a response as net/http returns it.
func reply(status int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode:    status,
		Header:        http.Header{},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Add(header[i], header[i+1])
	}
	return resp
}

// newTestClient returns a client with permanent keys that sends through transport.
func newTestClient(t *testing.T, transport http.RoundTripper, opts ...Option) *CdnClient {
	t.Helper()
	client, err := NewCdnClient(append([]Option{
		WithAKSK("test-ak", "test-sk"),
		WithEndpoint("https://cdn.example.com"),
		WithHTTPClient(&http.Client{Transport: transport}),
	}, opts...)...)
	require.NoError(t, err)
	return client
}

// inOrder returns a transport and the number of its requests. It sends responses in their order, then the last
// one again and again.
func inOrder(responses ...func() (*http.Response, error)) (http.RoundTripper, *int) {
	requests := new(int)
	return roundTripper(func(*http.Request) (*http.Response, error) {
		*requests++
		return responses[min(*requests, len(responses))-1]()
	}), requests
}

func responding(status int, body string, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return reply(status, body, header...), nil }
}

func failing(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

// A transport may break the rules of net/http.
func TestTransport_without_a_response(t *testing.T) {
	for name, transport := range map[string]roundTripper{
		"neither":    func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body":    func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 503}, nil },
		"empty body": func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTestClient(t, transport, WithRetryPolicy(RetryPolicy{MaxAttempts: 1})).ListExportTasks(t.Context(), nil)
			require.Error(t, err)
		})
	}
}

// testCredentials returns temporary credentials that are not refreshed.
func testCredentials(ak, sk, token string) *global.Credentials {
	official := &global.Credentials{}
	official.AK, official.SK, official.SecurityToken = ak, sk, token
	return official
}

func TestRequest_on_the_wire(t *testing.T) {
	var sent *http.Request
	client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		sent = req
		return reply(200, emptyPage), nil
	}), WithUserAgent("report/1.2"))
	_, err := client.ListExportTasks(t.Context(), &ListExportTasksRequest{Limit: 5, TaskName: "日报"})
	require.NoError(t, err)

	assert.Equal(t, "GET", sent.Method)
	assert.Equal(t, "https://cdn.example.com/v1/cdn/statistics/export-tasks?limit=5&task_name=%E6%97%A5%E6%8A%A5", sent.URL.String())
	assert.Regexp(t, `^report/1\.2 huaweicloud-cdn-go/\d+\.\d+\.\d+ go1\.`, sent.Header.Get("User-Agent"))
	assert.Equal(t, "application/json", sent.Header.Get("Content-Type"))
	assert.NotContains(t, sent.Header, "X-Domain-Id")
	assert.NotContains(t, sent.Header, "X-Security-Token")
	require.NoError(t, Signer{AccessKey: "test-ak", SecretKey: "test-sk"}.Verify(sent, time.Now()))
}

func TestHTTPClient_is_copied(t *testing.T) {
	redirects := 0
	given := &http.Client{
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			return reply(302, "", "Location", "https://elsewhere.example/x?token=s3cret"), nil
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { redirects++; return nil },
		Timeout:       time.Minute,
	}
	client := newTestClient(t, nil, WithHTTPClient(given))
	_, err := client.ListExportTasks(t.Context(), nil)

	var apiError *APIError
	require.ErrorAs(t, err, &apiError)
	assert.Equal(t, 302, apiError.StatusCode)
	assert.EqualError(t, err, "cdn: ListExportTasks: 302 Found: redirected to https://elsewhere.example/x?redacted, which is not followed")
	assert.Zero(t, redirects)
	assert.Equal(t, time.Minute, given.Timeout)
	assert.IsType(t, roundTripper(nil), given.Transport)
	assert.NotNil(t, given.CheckRedirect)
}

func TestHTTPClient_timeout_bounds_one_attempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, nil, WithHTTPClient(&http.Client{Timeout: time.Second, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})}), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
		start := time.Now()
		_, err := client.ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestList_malformed_success(t *testing.T) {
	tests := []struct {
		name, body, want string
	}{
		{"empty", "", "malformed response: unexpected EOF: cut short at byte 0, want '{'; the body is empty (status 200, request id r-1)"},
		{"white space", " \n ", "; the body is empty (status 200, request id r-1)"},
		{"null", "null", "the body begins null (status 200"},
		{"HTML", "<html>\n<body>Sign in</body></html>", "the body begins <html> <body>Sign in</body></html> (status 200"},
		{"empty object", "{}", "total is missing"},
		{"cut", `{"total":1,"data":[{"task_id":"a"`, "unexpected EOF"},
		{"garbage behind", emptyPage + "x", "want the end"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "not valid UTF-8"},
		{"too large", `{"total":0,"data":[]}` + strings.Repeat(" ", maxResponse), "larger than 33554432 bytes"},
	}
	for _, test := range tests {
		for _, status := range []int{200, 201, 299} {
			t.Run(test.name, func(t *testing.T) {
				transport, requests := inOrder(responding(status, test.body, "X-Request-Id", "r-1"))
				got, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
				require.ErrorIs(t, err, ErrMalformedResponse)
				assert.Nil(t, got)
				assert.Contains(t, err.Error(), strings.ReplaceAll(test.want, "200", strconv.Itoa(status)))
				assert.NotContains(t, err.Error(), "\n")
				assert.Equal(t, 1, *requests, "a malformed response is not retried")
			})
		}
	}
}

func TestList_error_object_in_a_success(t *testing.T) {
	for _, body := range []string{
		`{"error":{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}}`,
		`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`,
		`{"total":0,"data":[],"error":{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}}`,
	} {
		transport, _ := inOrder(responding(200, body))
		_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, ErrUnauthorized)
		assert.EqualError(t, err, "cdn: ListExportTasks: 200 OK: APIGW.0301: Incorrect IAM authentication information; check the access key, the secret key and the clock")
	}
}

func TestAPIError_fields(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		header []string
		want   APIError
	}{
		{"gateway", 401, `{"error_code":"APIGW.0301","error_msg":"Incorrect","request_id":"from-body"}`, nil,
			APIError{StatusCode: 401, RequestID: "from-body", ErrMsg: ErrMsg{"APIGW.0301", "Incorrect"}}},
		{"header names the request before the body", 403, `{"code":"X","message":"denied","request_id":"from-body"}`, []string{"X-Request-Id", "from-header"},
			APIError{StatusCode: 403, RequestID: "from-header", ErrMsg: ErrMsg{"X", "denied"}}},
		{"HTML", 404, "<html>\r\n<h1>Not\tFound</h1>" + strings.Repeat("x", 300), nil,
			APIError{StatusCode: 404, ErrMsg: ErrMsg{"", "<html> <h1>Not Found</h1>" + strings.Repeat("x", 172) + "…"}}},
		{"nothing", 400, "", nil, APIError{StatusCode: 400}},
		{"binary", 418, "\x00\x01\xffok", nil, APIError{StatusCode: 418, ErrMsg: ErrMsg{"", "ok"}}},
		{"1xx", 199, "", nil, APIError{StatusCode: 199}},
		{"retry after", 501, "", []string{"Retry-After", "7"}, APIError{StatusCode: 501, RetryAfter: 7 * time.Second}},
		{"too large", 400, strings.Repeat("x", maxResponse+1), nil, APIError{StatusCode: 400}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			transport, _ := inOrder(responding(test.status, test.body, test.header...))
			_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
			var got *APIError
			require.ErrorAs(t, err, &got)
			test.want.Operation, test.want.Attempts = "ListExportTasks", 1
			assert.Equal(t, test.want, *got)
		})
	}
}

// A body of 32 MiB is read. A longer one is an error and is not read to its end.
func TestResponse_limit(t *testing.T) {
	padding := strings.Repeat(" ", maxResponse-len(emptyPage))
	transport, _ := inOrder(responding(200, emptyPage+padding))
	_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	endless := &countingReader{}
	_, err = newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(endless)}, nil
	})).ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, ErrMalformedResponse)
	assert.LessOrEqual(t, endless.read, maxResponse+chunkSize)
}

// countingReader is endless white space. It counts the bytes that were read.
type countingReader struct{ read int }

func (r *countingReader) Read(p []byte) (int, error) {
	r.read += len(p)
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

func TestSecrets_echoed_headers_are_redacted(t *testing.T) {
	official := testCredentials("echo-ak", "echo-sk", "echo-token")
	var signature string
	echo := func(status int) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			var headers strings.Builder
			require.NoError(t, req.Header.Write(&headers))
			_, signature, _ = strings.Cut(req.Header.Get("Authorization"), "Signature=")
			return reply(status, "<pre>"+headers.String()), nil
		})
	}
	for _, status := range []int{200, 400} {
		_, err := newTestClient(t, echo(status), WithCredentials(official)).ListExportTasks(t.Context(), nil)
		require.Error(t, err)
		assert.Contains(t, err.Error(), "[redacted]")
		assert.NotContains(t, err.Error(), "echo-token")
		require.Len(t, signature, 64)
		assert.NotContains(t, err.Error(), signature)
	}
}

// A security token may be longer than the excerpt of a body, and be cut with it.
func TestSecrets_cut_token_is_redacted(t *testing.T) {
	token := strings.Repeat("long-s3cret-token/", 200)
	for _, status := range []int{200, 400} {
		for _, cut := range []int{0, 1, 500, len(token) - 17} {
			echo := roundTripper(func(req *http.Request) (*http.Response, error) {
				return reply(status, "token: "+req.Header.Get("X-Security-Token")[:len(token)-cut]), nil
			})
			_, err := newTestClient(t, echo, WithCredentials(testCredentials("ak", "sk", token))).ListExportTasks(t.Context(), nil)
			require.Error(t, err)
			assert.Contains(t, err.Error(), "token: [redacted]")
			assert.NotContains(t, err.Error(), "s3cret", "status %d, cut by %d", status, cut)
		}
	}
}

func TestSecrets_algorithm_is_not_redacted(t *testing.T) {
	transport, _ := inOrder(responding(401, `{"error_code":"APIGW.0301","error_msg":"Authorization must begin with SDK-HMAC-SHA256 Access="}`))
	_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
	assert.ErrorContains(t, err, "must begin with SDK-HMAC-SHA256 Access=")
}

func TestLogger_each_attempt(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	official := testCredentials("log-ak", "log-sk", "log-token")
	synctest.Test(t, func(t *testing.T) {
		transport, _ := inOrder(responding(503, "busy", "X-Request-Id", "r-1"), failing(io.ErrUnexpectedEOF), responding(200, emptyPage, "X-Request-Id", "r-3"))
		_, err := newTestClient(t, transport, WithLogger(logger), WithCredentials(official)).ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
	})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 5)
	assert.Regexp(t, `level=DEBUG msg="cdn: request" operation=ListExportTasks attempt=1 duration=\S+ status=503 request_id=r-1$`, lines[0])
	assert.Regexp(t, `level=WARN msg="cdn: retry" operation=ListExportTasks attempt=1 pause=\S+ reason="status 503"$`, lines[1])
	assert.Regexp(t, `level=DEBUG msg="cdn: request" operation=ListExportTasks attempt=2 duration=\S+ error="unexpected EOF"$`, lines[2])
	assert.Regexp(t, `level=WARN msg="cdn: retry" operation=ListExportTasks attempt=2 pause=\S+ reason="unexpected EOF"$`, lines[3])
	assert.Regexp(t, `attempt=3 duration=\S+ status=200 request_id=r-3$`, lines[4])
	assert.NotContains(t, log.String(), "log-sk")
	assert.NotContains(t, log.String(), "log-token")
}

// limiterFunc is a rate limiter that calls itself.
type limiterFunc func(context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

func TestRateLimiter_counts_attempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := 0
		transport, requests := inOrder(responding(503, ""), responding(503, ""), responding(200, emptyPage))
		client := newTestClient(t, transport, WithRateLimiter(limiterFunc(func(context.Context) error { waits++; return nil })))
		_, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 3, waits)
		assert.Equal(t, 3, *requests)
	})
}

func TestRateLimiter_error_sends_nothing(t *testing.T) {
	full := errors.New("quota spent")
	transport, requests := inOrder(responding(200, emptyPage))
	client := newTestClient(t, transport, WithRateLimiter(limiterFunc(func(context.Context) error { return full })))
	_, err := client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, full)
	assert.Zero(t, *requests)

	_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
	require.ErrorIs(t, err, full)
	assert.NotErrorIs(t, err, ErrOutcomeUnknown)
}

// The service refused the first request, and the limiter stops the second one.
func TestRateLimiter_error_after_a_refused_create_is_not_unknown(t *testing.T) {
	full := errors.New("quota spent")
	for name, refusal := range map[string]func() (*http.Response, error){
		"throttled":   responding(429, "", "Retry-After", "0"),
		"wrong clock": responding(401, "", "Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, requests := inOrder(refusal)
				client := newTestClient(t, transport, WithRateLimiter(limiterFunc(func(context.Context) error {
					if *requests > 0 {
						return full
					}
					return nil
				})))
				_, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
				require.ErrorIs(t, err, full)
				assert.NotErrorIs(t, err, ErrOutcomeUnknown)
				assert.Equal(t, 1, *requests)
			})
		})
	}
}

// The error has the text of golang.org/x/time/rate.
func TestRateLimiter_turn_after_the_deadline_is_a_timeout(t *testing.T) {
	transport, _ := inOrder(responding(200, emptyPage))
	client := newTestClient(t, transport, WithRateLimiter(limiterFunc(func(context.Context) error {
		return errors.New("rate: Wait(n=1) would exceed context deadline")
	})))
	_, err := client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRateLimiter_wait_is_not_part_of_an_attempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, _ := inOrder(responding(200, emptyPage))
		client := newTestClient(t, transport,
			WithRetryPolicy(RetryPolicy{AttemptTimeout: time.Second}),
			WithRateLimiter(limiterFunc(func(context.Context) error { time.Sleep(time.Hour); return nil })))
		_, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
	})
}

func TestContext_nil_is_invalid(t *testing.T) {
	transport, requests := inOrder(responding(200, emptyPage))
	_, err := newTestClient(t, transport).ListExportTasks(noContext, nil)
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.Zero(t, *requests)
}
