package cdn

import (
	"bytes"
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

// serverAhead returns a service that verifies signatures with a clock that is ahead of the local one.
func serverAhead(by time.Duration, requests *int) http.RoundTripper {
	keys := Signer{AccessKey: "test-ak", SecretKey: "test-sk"}
	var mu sync.Mutex
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		*requests++
		now := time.Now().Add(by)
		date := now.UTC().Format(http.TimeFormat)
		if err := keys.Verify(req, now); err != nil {
			return reply(401, `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`, "Date", date), nil
		}
		return reply(200, emptyPage, "Date", date), nil
	})
}

func TestClock_corrected_once_for_all_calls(t *testing.T) {
	for _, by := range []time.Duration{20 * time.Minute, -20 * time.Minute, 24 * 365 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			requests := 0
			client := newTestClient(t, serverAhead(by, &requests), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			start := time.Now()
			got, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			assert.Equal(t, 2, got.Attempts)
			assert.Zero(t, time.Since(start), "no delay")
			for range 3 {
				_, err = client.ListExportTasks(t.Context(), nil)
				require.NoError(t, err)
			}
			_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
			require.NoError(t, err)
			assert.Equal(t, 2+3+1, requests, "later calls need one request each")
			assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
			assert.Contains(t, log.String(), "level=WARN")
		})
	}
}

func TestClock_corrected_for_a_create(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		ahead := serverAhead(time.Hour, &requests)
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := ahead.RoundTrip(req)
			if resp.StatusCode == 200 {
				resp = reply(200, "")
			}
			return resp, err
		}))
		got, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: "x"})
		require.NoError(t, err)
		assert.Equal(t, 2, got.Attempts)
	})
}

func TestClock_corrected_for_concurrent_calls(t *testing.T) {
	requests := 0
	client := newTestClient(t, serverAhead(time.Hour, &requests))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			_, err := client.ListExportTasks(t.Context(), nil)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
}

func TestClock_refusal_with_the_right_time_is_not_retried(t *testing.T) {
	now := time.Now().UTC()
	for name, date := range map[string]string{
		"date is ours":      now.Format(http.TimeFormat),
		"date is a bit off": now.Add(4 * time.Minute).Format(http.TimeFormat),
		"no date":           "",
		"odd date":          "yesterday",
	} {
		t.Run(name, func(t *testing.T) {
			transport, requests := inOrder(responding(401, "", "Date", date))
			_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Equal(t, 1, *requests)
		})
	}
}

// A correction that does not help is tried once.
func TestClock_useless_correction_is_tried_once(t *testing.T) {
	transport, requests := inOrder(responding(401, "", "Date", "Thu, 01 Jan 1970 00:00:00 GMT"))
	client := newTestClient(t, transport)
	_, err := client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Equal(t, 2, *requests)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, ErrUnauthorized)
	assert.Equal(t, 3, *requests)
}

// NTP may set the local clock while a client runs, for instance after a virtual machine was suspended.
func TestClock_set_right_after_it_was_corrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, ahead := 0, time.Hour
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			return serverAhead(ahead, &requests).RoundTrip(req)
		}))
		for _, ahead = range []time.Duration{time.Hour, 0, -20 * time.Minute, 0} {
			got, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err, ahead)
			assert.Equal(t, 2, got.Attempts)
			got, err = client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err, ahead)
			assert.Equal(t, 1, got.Attempts)
		}
	})
}

func TestClock_correction_kept_for_the_retries_of_a_call(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, refused := 0, 0
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := serverAhead(time.Hour, &requests).RoundTrip(req)
			switch {
			case resp.StatusCode == 401:
				refused++
			case requests < 4:
				return reply(503, ""), nil
			}
			return resp, err
		}))
		for _, want := range []int{4, 1} {
			got, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			assert.Equal(t, want, got.Attempts)
			assert.Equal(t, 1, refused)
		}
	})
}

// The service refuses all signatures of a locked key, also those with the right time.
func TestClock_rejected_offset_is_tried_again_after_5_minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, locked := 0, true
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			if locked {
				requests++
				return reply(401, "", "Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), nil
			}
			return serverAhead(time.Hour, &requests).RoundTrip(req)
		}))
		for _, want := range []int{2, 1, 1} {
			requests = 0
			_, err := client.ListExportTasks(t.Context(), nil)
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Equal(t, want, requests)
		}
		time.Sleep(5 * time.Minute)
		locked = false
		got, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2, got.Attempts)
	})
}

func TestClock_ignores_other_statuses(t *testing.T) {
	transport, requests := inOrder(responding(403, "", "Date", "Thu, 01 Jan 1970 00:00:00 GMT"))
	_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, ErrForbidden)
	assert.Equal(t, 1, *requests)
}
