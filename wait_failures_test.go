package cdn

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWait_transient_failure_until_the_deadline(t *testing.T) {
	tests := []struct {
		name   string
		before func(*http.Request) (*http.Response, error)
		want   string
	}{
		{"busy", func(*http.Request) (*http.Response, error) { return reply(503, ""), nil }, "503 Service Unavailable"},
		{"throttled", func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "1"), nil }, "429 Too Many Requests"},
		{"malformed", func(*http.Request) (*http.Response, error) { return reply(200, "<html>"), nil }, "malformed response"},
		{"unreachable", func(*http.Request) (*http.Response, error) { return nil, timeoutError{} }, timeoutError{}.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{before: test.before}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				begin := time.Now()
				_, err := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1})).WaitForExportTask(ctx, "mine")
				assert.Equal(t, 10*time.Minute, time.Since(begin))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, test.want)
				requests, _, _ := service.counts()
				assert.Less(t, requests, 60, "pauses grow")
				assert.Greater(t, requests, 8, "to the longest pause at most")
			})
		})
	}
}

// If the context ends during a retry, the error has the failure that is being retried.
func TestWait_deadline_during_a_retry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := play(t, &fakeService{})
		refuses(429, "slow down", "Retry-After", "20")(service)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := newTestClient(t, service).WaitForExportTask(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ErrThrottled)
		assert.EqualError(t, err, "cdn: WaitForExportTask: x: context deadline exceeded; the last poll failed: GetExportTask: 429 Too Many Requests: slow down (retry after 20s, 2 attempts)")
	})
}

func TestWait_retry_after(t *testing.T) {
	t.Run("obeyed_beyond_the_longest_pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			service := &fakeService{}
			service.set("mine", "processing")
			scripted := play(t, service, at(time.Second, refuses(429, "", "Retry-After", "100")), at(91*time.Second, recovers))
			logger := slog.New(slog.NewTextHandler(&log, nil))
			client := newTestClient(t, scripted, WithLogger(logger), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
			done := waiting(t.Context(), client, "mine")
			time.Sleep(time.Second)
			_, _, _ = service.counts()
			time.Sleep(90 * time.Second)
			requests, _, _ := service.counts()
			assert.Equal(t, 1, requests)
			service.set("mine", ExportTaskSuccess)
			require.NoError(t, (<-done).err)
			assert.Contains(t, log.String(), "pacing them")
		})
	})
	t.Run("a_week_is_10_minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			service.set("a", "processing")
			service.set("b", ExportTaskSuccess)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := newTestClient(t, play(t, service, onRequestReply(3, 429, "", "Retry-After", "604800")))
			waiting(ctx, client, "a")
			time.Sleep(time.Minute)
			begin := time.Now()
			require.NoError(t, (<-waiting(ctx, client, "b")).err)
			assert.Less(t, time.Since(begin), 11*time.Minute)
		})
	})
}

func TestWait_permanent_failure_ends_all_waits(t *testing.T) {
	for status, want := range map[int]error{401: ErrUnauthorized, 403: ErrForbidden} {
		t.Run(want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				service.set("a", "processing")
				service.set("b", "processing")
				client := newTestClient(t, play(t, service, at(time.Second, refuses(status, ""))))
				for _, wait := range []<-chan waitResult{waiting(t.Context(), client, "a"), waiting(t.Context(), client, "b")} {
					require.ErrorIs(t, (<-wait).err, want)
				}
			})
		})
	}
}

// A failed look-up affects the waits for that task only.
func TestWait_failure_of_another_look_up(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		ends   string // the error of the wait for that task; empty if the wait goes on
	}{
		{"refused_id_ends_its_own_wait", 400, `{"error":{"error_code":"CDN.0001","error_msg":"bad id"}}`, "bad id"},
		{"failing_look_up_does_not_delay_others", 500, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{before: func(req *http.Request) (*http.Response, error) {
					if req.URL.Query().Get("task_id") == "bad" {
						return reply(test.status, test.body), nil
					}
					return nil, nil
				}}
				service.set("mine", "processing")
				service.set("good", ExportTaskSuccess)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
				mine := waiting(ctx, client, "mine")
				bad := waiting(ctx, client, "bad")
				time.Sleep(5 * time.Minute)
				if test.ends != "" {
					require.ErrorContains(t, (<-bad).err, test.ends)
				}
				begin := time.Now()
				require.NoError(t, (<-waiting(ctx, client, "good")).err)
				assert.Less(t, time.Since(begin), time.Minute)
				service.set("mine", ExportTaskSuccess)
				require.NoError(t, (<-mine).err)
			})
		})
	}
}

// callingHandler calls back with each record that is logged.
type callingHandler func(slog.Record)

func (callingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h callingHandler) Handle(_ context.Context, record slog.Record) error {
	h(record)
	return nil
}
func (h callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h callingHandler) WithGroup(string) slog.Handler      { return h }

func TestWait_slow_logger_delays_nothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := play(t, &fakeService{})
		refuses(503, "")(service)
		client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}),
			WithLogger(slog.New(callingHandler(func(record slog.Record) {
				if strings.Contains(record.Message, "a poll failed") {
					time.Sleep(time.Hour)
				}
			}))))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := client.WaitForExportTask(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(begin))
		time.Sleep(2 * time.Hour)
	})
}

// A response that arrives after all subscribers have left is not used for the subscribers of the next start.
func TestPoller_response_after_the_last_subscriber_left(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", "processing")
		arrived, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		client := newTestClient(t, service, WithLogger(slog.New(callingHandler(func(record slog.Record) {
			record.Attrs(func(attr slog.Attr) bool {
				if attr.Value.String() == "GetExportTask" {
					once.Do(func() { close(arrived); <-goOn })
				}
				return true
			})
		}))))
		first, leave := context.WithCancel(t.Context())
		left := waiting(first, client, "mine")
		<-arrived // the response to the look-up: processing
		leave()
		<-left
		service.set("mine", ExportTaskSuccess)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := waiting(ctx, client, "mine")
		time.Sleep(time.Millisecond) // the second start has its first reading
		close(goOn)
		require.NoError(t, (<-done).err)
	})
}
