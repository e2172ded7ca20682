package cdn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestDownload_error_of_the_store(t *testing.T) {
	var busy atomic.Int64
	busy.Store(2)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		if busy.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Obs-Request-Id", "from-header")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The key does not exist</Message><StringToSign>s3cret</StringToSign></Error>`)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	var apiError *cdn.APIError
	require.ErrorAs(t, err, &apiError)
	assert.Equal(t, 404, apiError.StatusCode)
	assert.Equal(t, "NoSuchKey", apiError.ErrorCode)
	assert.Equal(t, "from-header", apiError.RequestID)
	assert.Equal(t, 3, apiError.Attempts)
	assert.EqualError(t, err, "cdn: Download: "+id+": object store: 404 Not Found: NoSuchKey: The key does not exist (request id from-header, 3 attempts)")
}

func TestDownload_error_of_the_writer(t *testing.T) {
	full := errors.New("disk full")
	requests := 0
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = w.Write(randomBytes(1 << 20))
	})
	n, err := client.Download(t.Context(), id, writerFunc(func(p []byte) (int, error) { return 10, full }))
	require.ErrorIs(t, err, full)
	assert.Equal(t, int64(10), n)
	_, err = client.Download(t.Context(), id, writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil }))
	require.ErrorIs(t, err, io.ErrShortWrite)
	assert.Equal(t, 2, requests, "an error of the writer is not retried")
}

func TestDownload_cancelled_in_the_body(t *testing.T) {
	started := make(chan struct{}, 1)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	folder := t.TempDir()
	_, err := client.DownloadFile(ctx, id, filepath.Join(folder, "report"))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, filesIn(t, folder))
}

// The error wraps that of the context and the last response of the store.
func TestDownload_cancelled_in_a_delay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The delay is logged before it begins.
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}), &slog.HandlerOptions{Level: slog.LevelWarn}))
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, cdn.WithLogger(logger))
	_, err := client.Download(ctx, id, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	var response *cdn.APIError
	require.ErrorAs(t, err, &response)
	assert.Equal(t, 5*time.Minute, response.RetryAfter)
}

// net/http quotes a Location that it cannot parse, and a transport may quote the link.
func TestDownload_errors_of_net_http_are_redacted(t *testing.T) {
	for _, location := range []string{"/100%.csv?Signature=s3cret", "https://u:s3cret@host/%zz"} {
		client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		})
		_, err := client.Download(t.Context(), id, io.Discard)
		var response *cdn.APIError
		require.ErrorAs(t, err, &response, location)
		assert.Equal(t, http.StatusFound, response.StatusCode)
		assert.NotContains(t, err.Error(), "s3cret")

		srv, client := newServer(t)
		srv.Inject(cdntest.Fault{Status: http.StatusFound, Header: http.Header{"Location": {location}}})
		_, err = client.ListExportTasks(t.Context(), nil)
		require.ErrorAs(t, err, &response, location)
		assert.NotContains(t, err.Error(), "s3cret")
	}

	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: srv.URL + "/x?Signature=s3cret"}, nil)
	client := srv.NewClient(cdn.WithHTTPClient(&http.Client{Transport: quoting{}}))
	_, err := client.Download(t.Context(), task.TaskID, io.Discard)
	require.ErrorContains(t, err, "cannot reach")
	assert.NotContains(t, err.Error(), "s3cret")
}

// The store or a proxy may quote the link, or the link of a redirect.
func TestDownload_errors_of_the_store_are_redacted(t *testing.T) {
	const link = "HTTPS://other.example/g?Signature=s3cret"
	for name, respond := range map[string]func(*http.Request) (*http.Response, error){
		"message": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<Error><Code>" + link + "</Code><Message>no " + link + "</Message></Error>"))}, nil
		},
		"body": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 9, Body: io.NopCloser(io.MultiReader(strings.NewReader("x"), failingReader{link}))}, nil
		},
		"redirect": func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "other.example" {
				return nil, errors.New("cannot reach " + link)
			}
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {link}}, Body: http.NoBody}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := cdntest.NewServer()
			defer srv.Close()
			task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "https://store.example/f"}, nil)
			var log bytes.Buffer
			client := srv.NewClient(
				cdn.WithHTTPClient(&http.Client{Transport: storeTransport(respond)}),
				cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}),
				cdn.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
			)
			_, err := client.Download(t.Context(), task.TaskID, io.Discard)
			require.ErrorContains(t, err, "other.example/g?redacted")
			assert.NotContains(t, err.Error()+log.String(), "s3cret")
		})
	}
}

// storeTransport responds for all hosts but loopback ones.
type storeTransport func(*http.Request) (*http.Response, error)

func (s storeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() == "127.0.0.1" {
		return http.DefaultTransport.RoundTrip(req)
	}
	return s(req)
}

type failingReader struct{ why string }

func (r failingReader) Read([]byte) (int, error) { return 0, errors.New("read " + r.why) }

// quoting is a transport that does not reach the store and quotes the link.
type quoting struct{}

func (quoting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/x" {
		return nil, fmt.Errorf("cannot reach %s", req.URL)
	}
	return http.DefaultTransport.RoundTrip(req)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The table has a row for each line of ofTransfer's comment, and the error that the caller gets.
func TestDownload_errors(t *testing.T) {
	full := errors.New("disk full")
	tests := []struct {
		name    string
		task    cdn.ExportTaskStatus // success if it is empty
		store   http.HandlerFunc
		w       io.Writer
		is      error // what errors.Is finds; nil for an *APIError of the store
		isNot   error
		message string
	}{
		{name: "the task has failed", task: cdn.ExportTaskFail, is: cdn.ErrTaskFailed, isNot: cdn.ErrMalformedResponse, message: "export task failed"},
		{name: "the task is not finished", task: "processing", is: cdn.ErrTaskNotFinished, message: `export task not finished: it has the status "processing"`},
		{
			name: "the store refuses", store: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
			isNot: cdn.ErrMalformedResponse, message: "object store: 400 Bad Request",
		},
		{
			name: "the store is busy", store: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
			isNot: cdn.ErrThrottled, message: "object store: 503 Service Unavailable (4 attempts) (4 attempts in a row brought nothing)",
		},
		{
			name: "the store throttles", store: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
			isNot: cdn.ErrThrottled, message: "object store: 429 Too Many Requests (4 attempts) (4 attempts in a row brought nothing)",
		},
		{
			name: "the response is no file", store: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "br") },
			is: cdn.ErrMalformedResponse, message: `malformed response: the file came with the Content-Encoding "br", which was not asked for`,
		},
		{
			name: "the file has changed", store: cutOnce(randomBytes(1000), http.Header{"Etag": {`"v1"`}}, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusPreconditionFailed) }),
			is: cdn.ErrMalformedResponse, message: "at byte 500: malformed response: the file has changed since the download began",
		},
		{
			name: "the connection breaks", store: cutOnce(randomBytes(1000), nil, nil),
			is: io.ErrUnexpectedEOF, isNot: cdn.ErrMalformedResponse,
			message: "at byte 500: unexpected EOF (the store gives no strong ETag, so the rest of the file cannot be told from another's)",
		},
		{
			name: "the writer fails", store: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
			w: writerFunc(func([]byte) (int, error) { return 0, full }), is: full, isNot: cdn.ErrMalformedResponse, message: "disk full",
		},
		{
			name: "the writer fails with an error like ours", store: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
			w: writerFunc(func([]byte) (int, error) { return 0, cdn.ErrThrottled }), is: cdn.ErrThrottled, isNot: cdn.ErrMalformedResponse, message: "throttled",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := httptest.NewServer(test.store)
			defer store.Close()
			srv := cdntest.NewServer()
			defer srv.Close()
			task := cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL + "/report?Signature=s3cret"}
			if test.task != "" {
				task.Status = test.task
			}
			id := srv.AddTask(task, nil).TaskID
			client := srv.NewClient(quickRetries)
			defer client.CloseIdleConnections()
			w := test.w
			if w == nil {
				w = io.Discard
			}
			_, err := client.Download(t.Context(), id, w)
			require.EqualError(t, err, "cdn: Download: "+id+": "+test.message)
			var response *cdn.APIError
			assert.Equal(t, test.is == nil, errors.As(err, &response))
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			} else {
				assert.Equal(t, "Download", response.Operation)
				assert.Equal(t, test.message[len("object store: "):][:3], strconv.Itoa(response.StatusCode))
			}
			if test.isNot != nil {
				assert.NotErrorIs(t, err, test.isNot)
			}
		})
	}
}

// The error says so if the file is older than a week.
func TestDownload_task_older_than_a_week(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name   string
		status int
		age    time.Duration
		want   string // empty if the error has nothing about the age
	}{
		{"gone", 404, 9*day + time.Hour, "; the task ended 9 days ago, and an export can be downloaded for 7 days"},
		{"refused", 403, 8 * day, "; the task ended 8 days ago, and an export can be downloaded for 7 days"},
		{"gone in time", 404, 7*day - time.Minute, ""},
		{"another error", 400, 9 * day, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) }))
			defer store.Close()
			srv, client := newServer(t)
			id := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL, UpdateTime: time.Now().Add(-test.age)}, nil).TaskID
			_, err := client.Download(t.Context(), id, io.Discard)
			var response *cdn.APIError
			require.ErrorAs(t, err, &response)
			assert.Equal(t, test.want != "", strings.Contains(err.Error(), "7 days"), "%v", err)
			assert.True(t, strings.HasSuffix(err.Error(), test.want), "%v", err)

			_, err = client.Download(t.Context(), id, io.Discard, cdn.WithLink(store.URL))
			require.ErrorAs(t, err, &response)
			if test.status != http.StatusForbidden { // a 403 makes the client fetch the task, which has the age
				assert.NotContains(t, err.Error(), "7 days", "the age is not known")
			}
		})
	}
}

// The error has the ids that the vendor's support needs.
func TestDownload_error_has_the_ids_of_the_store(t *testing.T) {
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Obs-Request-Id", "request-1")
		w.Header().Set("X-Obs-Id-2", "host-1")
		w.WriteHeader(http.StatusNotFound)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	var response *cdn.APIError
	require.ErrorAs(t, err, &response)
	assert.Equal(t, []string{"request-1", "host-1"}, []string{response.RequestID, response.HostID})
}
