package cdn

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

const throttledBody = `{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:20,time:1 minute","request_id":"r-1"}`

// quotaService lists an empty page, or refuses for a quota of 20 requests a minute.
func quotaService(requests, refused *int) http.RoundTripper {
	limiter := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}
	var mu sync.Mutex
	return roundTripper(func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		*requests++
		if ok, _ := limiter.Allow(time.Now()); !ok {
			*refused++
			return reply(429, throttledBody), nil
		}
		return reply(200, emptyPage), nil
	})
}

func TestPacing_calls_keep_the_quota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		requests, refused := 0, 0
		client := newTestClient(t, quotaService(&requests, &refused), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		start := time.Now()
		for range 100 {
			_, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, refused, 3)
		assert.Equal(t, 100+refused, requests)
		assert.Less(t, time.Since(start), 6*time.Minute)
		assert.Equal(t, 1, strings.Count(log.String(), `msg="cdn: requests are refused for the account's quota, pacing them" quota="20 requests per 1m0s (from the 429's text)"`), log.String())
	})
}

func TestPacing_refusal_is_no_attempt_and_create_waits_too(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []RequestEvent
		transport, requests := inOrder(responding(429, throttledBody), responding(400, throttledBody), responding(403, throttledBody), responding(200, ""))
		client := newTestClient(t, transport, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}),
			WithObserver(Observer{Request: func(e RequestEvent) { events = append(events, e) }}))
		got, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, 4, got.Attempts)
		assert.Equal(t, 4, *requests)
		require.Len(t, events, 4)
		assert.True(t, events[0].Throttled)
		assert.Equal(t, "APIGW.0308", events[2].ErrorCode)
		assert.False(t, events[3].Throttled)
		assert.Greater(t, events[1].QuotaWait, time.Second)
	})
}

func TestPacing_turn_after_the_deadline_ends_at_once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, requests := inOrder(responding(429, throttledBody))
		client := newTestClient(t, transport)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.CreateExportTask(ctx, &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrThrottled)
		assert.NotErrorIs(t, err, ErrOutcomeUnknown)
		assert.ErrorContains(t, err, "under 20 requests per 1m0s (from the 429's text)")
		var response *APIError
		require.ErrorAs(t, err, &response)
		assert.Equal(t, "r-1", response.RequestID)
		assert.Zero(t, time.Since(start))

		_, err = client.ListExportTasks(ctx, nil)
		var throttled *ThrottledError
		require.ErrorAs(t, err, &throttled)
		assert.Equal(t, &ThrottledError{Wait: 61200 * time.Millisecond, Quota: "20 requests per 1m0s (from the 429's text)"}, throttled)
		require.EqualError(t, err, "cdn: ListExportTasks: throttled: no turn in time: "+
			"the expected wait is 1m1.2s under 20 requests per 1m0s (from the 429's text)")
		require.ErrorIs(t, err, ErrThrottled)
		assert.Equal(t, 1, *requests, "the second call sends nothing")
	})
}

func TestPacing_waits_for_MaxThrottleWait_at_most(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, _ := inOrder(responding(429, throttledBody))
		client := newTestClient(t, transport, WithRetryPolicy(RetryPolicy{MaxThrottleWait: 3 * time.Minute}))
		start := time.Now()
		_, err := client.ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, ErrThrottled)
		assert.LessOrEqual(t, time.Since(start), 3*time.Minute)
		assert.Greater(t, time.Since(start), 30*time.Second)
	})
}

func TestPacing_cancelled_wait_gives_both_reasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		transport, requests := inOrder(responding(429, "", "Retry-After", "60"))
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		start := time.Now()
		_, err := newTestClient(t, transport).ListExportTasks(ctx, nil)
		assert.Equal(t, 5*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, ErrThrottled)
		assert.Equal(t, 1, *requests)
	})
}

func TestPacing_turn_of_an_unsent_request_is_given_back(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, refused, down := 0, 0, false
		quota := quotaService(&requests, &refused)
		client := newTestClient(t, quota, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}), WithRateLimiter(limiterFunc(func(context.Context) error {
			if down {
				return errors.New("down")
			}
			return nil
		})))
		for range 25 { // learns the quota
			_, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
		}
		down = true
		for range 100 {
			_, err := client.ListExportTasks(t.Context(), nil)
			require.Error(t, err)
		}
		down = false
		start := time.Now()
		_, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Less(t, time.Since(start), 10*time.Second)
	})
}

// A poll waits for its turn while a task is created. It is sent after the create, so it finds the task.
func TestPacing_reading_finds_what_was_created_while_it_waited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, turn := exporting(), time.Now()
		limiter := limiterFunc(func(ctx context.Context) error {
			service.mu.Lock()
			turn = laterOf(turn, time.Now()).Add(10 * time.Second)
			mine := turn
			service.mu.Unlock()
			return pauseUntil(ctx, mine)
		})
		readings := 0
		client := newTestClient(t, service, WithRateLimiter(limiter), WithObserver(Observer{
			ExportCreated: func(ExportEvent) {
				service.mu.Lock()
				defer service.mu.Unlock()
				readings = service.lists - readings
			},
		}))
		service.onCreate(func() (*http.Response, error) {
			readings = service.lists
			return nil, nil
		})
		after(t, 2*time.Minute, func() { service.finish(ExportTaskSuccess) })
		var watch sync.WaitGroup
		defer watch.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watch.Go(func() {
			for range client.WatchExportTasks(ctx) {
			}
		})
		time.Sleep(time.Minute)
		_, err := client.Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, 1, readings, "the same reading finds the task and proves that it is the only one")
	})
}

// A call panics in its turn, and its caller goes on. The call is the only one that may show whether a block is over.
func TestPacing_turn_of_a_call_that_panics_is_given_back(t *testing.T) {
	for name, option := range map[string]func(panics func()) Option{
		"before it is sent": func(panics func()) Option {
			return WithRateLimiter(limiterFunc(func(context.Context) error { panics(); return nil }))
		},
		"after it was sent": func(panics func()) Option {
			return WithObserver(Observer{Request: func(RequestEvent) { panics() }})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				isBroken := false
				transport, _ := inOrder(responding(429, ""), responding(200, emptyPage))
				client := newTestClient(t, transport, option(func() {
					if isBroken {
						panic("a bug of the caller")
					}
				}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				_, err := client.ListExportTasks(ctx, nil)
				require.ErrorIs(t, err, ErrThrottled)
				isBroken = true
				assert.Panics(t, func() { _, _ = client.ListExportTasks(t.Context(), nil) })
				isBroken = false
				start := time.Now()
				_, err = client.ListExportTasks(t.Context(), nil)
				require.NoError(t, err)
				assert.Less(t, time.Since(start), 5*time.Second)
			})
		})
	}
}
