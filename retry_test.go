package cdn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRetryPolicy_defaults(t *testing.T) {
	defaults := RetryPolicy{MaxAttempts: 4, MinBackoff: 500 * time.Millisecond, MaxBackoff: 20 * time.Second, AttemptTimeout: 30 * time.Second, MaxThrottleWait: 15 * time.Minute}
	tests := []struct{ given, want RetryPolicy }{
		{RetryPolicy{}, defaults},
		{defaults, defaults},
		{RetryPolicy{MaxAttempts: 1}, RetryPolicy{1, defaults.MinBackoff, defaults.MaxBackoff, defaults.AttemptTimeout, defaults.MaxThrottleWait}},
		{RetryPolicy{MinBackoff: time.Minute}, RetryPolicy{4, time.Minute, time.Minute, defaults.AttemptTimeout, defaults.MaxThrottleWait}},
		{RetryPolicy{MaxBackoff: time.Second}, RetryPolicy{4, defaults.MinBackoff, time.Second, defaults.AttemptTimeout, defaults.MaxThrottleWait}},
		{RetryPolicy{MaxBackoff: time.Millisecond}, RetryPolicy{4, time.Millisecond, time.Millisecond, defaults.AttemptTimeout, defaults.MaxThrottleWait}},
	}
	for _, test := range tests {
		got, err := test.given.withDefaults()
		require.NoError(t, err)
		assert.Equal(t, test.want, got)
	}
	for _, bad := range []RetryPolicy{{MaxAttempts: -1}, {MinBackoff: -1}, {MaxBackoff: -1}, {AttemptTimeout: -1}, {MaxThrottleWait: -1}, {MinBackoff: 2, MaxBackoff: 1}} {
		_, err := NewCdnClient(WithRetryPolicy(bad))
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.Contains(t, err.Error(), "RetryPolicy.")
	}
}

// connectionError returns err as package net wraps it.
func connectionError(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

// timeoutError is a timeout of the network.
type timeoutError struct{}

func (timeoutError) Error() string { return "i/o timeout" }
func (timeoutError) Timeout() bool { return true }

func TestRetry_by_response_and_error(t *testing.T) {
	const always, never = 4, 1
	tests := []struct {
		name         string
		response     func() (*http.Response, error)
		list, create int // number of requests
	}{
		{"500", responding(500, ""), always, never},
		{"502", responding(502, ""), always, never},
		{"503", responding(503, ""), always, never},
		{"503 with Retry-After", responding(503, "", "Retry-After", "1"), always, never},
		{"504", responding(504, ""), always, never},
		{"400", responding(400, ""), never, never},
		{"401", responding(401, ""), never, never},
		{"403", responding(403, ""), never, never},
		{"404", responding(404, ""), never, never},
		{"408", responding(408, ""), always, never},
		{"500 with the internal code", responding(500, `{"error":{"error_code":"CDN.0000","error_msg":"x"}}`), always, never},
		{"200 with the internal code", responding(200, `{"error":{"error_code":"CDN.0000","error_msg":"x"}}`), always, never},
		{"200 with another code", responding(200, `{"error":{"error_code":"CDN.0105","error_msg":"x"}}`), never, never},
		{"409", responding(409, ""), never, never},
		{"501", responding(501, ""), never, never},
		{"505", responding(505, ""), never, never},
		{"302", responding(302, ""), never, never},
		{"refused", failing(connectionError("dial", syscall.ECONNREFUSED)), always, never},
		{"reset", failing(connectionError("read", syscall.ECONNRESET)), always, never},
		{"broken pipe", failing(connectionError("write", syscall.EPIPE)), always, never},
		{"closed", failing(io.EOF), always, never},
		{"closed within the header", failing(io.ErrUnexpectedEOF), always, never},
		{"timeout of the network", failing(timeoutError{}), always, never},
		{"lookup failed for now", failing(connectionError("dial", &net.DNSError{Err: "server misbehaving", IsTemporary: true})), always, never},
		{"no such host", failing(connectionError("dial", &net.DNSError{Err: "no such host", IsNotFound: true})), never, never},
		{"unknown authority", failing(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), never, never},
		{"TLS alert of the server", failing(connectionError("remote error", tls.AlertError(40))), never, never},
		{"TLS alert of the client", failing(connectionError("local error", tls.AlertError(70))), never, never},
		{"not TLS at all", failing(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), never, never},
		{"not HTTP at all", failing(errors.New(`malformed HTTP response "SSH-2.0"`)), never, never},
		{"HTTP/2 stream reset", failing(errors.New("stream error: stream ID 3; INTERNAL_ERROR; received from peer")), always, never},
		{"HTTP/2 connection lost", failing(errors.New("http2: client connection lost")), always, never},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, requests := inOrder(test.response)
				_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
				require.Error(t, err)
				assert.Equal(t, test.list, *requests, "list")

				transport, requests = inOrder(test.response)
				_, err = newTestClient(t, transport).CreateExportTask(t.Context(), &CreateExportTaskRequest{})
				require.Error(t, err)
				assert.Equal(t, test.create, *requests, "create")
			})
		})
	}
}

func TestRetry_create_only_if_not_written(t *testing.T) {
	tests := []struct {
		name    string
		trace   func(*httptrace.ClientTrace)
		err     error
		want    int
		unknown bool
	}{
		{"no connection", func(trace *httptrace.ClientTrace) { trace.GetConn("") }, connectionError("dial", syscall.ECONNREFUSED), 4, false},
		{"no connection, permanently", func(trace *httptrace.ClientTrace) { trace.GetConn("") }, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, 1, false},
		{"header written", func(trace *httptrace.ClientTrace) { trace.GetConn(""); trace.WroteHeaders() }, io.EOF, 1, true},
		{"failed to write", func(trace *httptrace.ClientTrace) {
			trace.GetConn("")
			trace.WroteRequest(httptrace.WroteRequestInfo{Err: io.ErrClosedPipe})
		}, io.ErrClosedPipe, 1, true},
		{"transport without a trace", func(*httptrace.ClientTrace) {}, connectionError("dial", syscall.ECONNREFUSED), 1, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
					requests++
					test.trace(httptrace.ContextClientTrace(req.Context()))
					return nil, test.err
				}))
				_, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
				require.ErrorIs(t, err, test.err)
				assert.Equal(t, test.want, requests)
				assert.Equal(t, test.unknown, errors.Is(err, ErrOutcomeUnknown))
			})
		})
	}
}

func TestRetry_last_error_has_attempts_and_cause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := connectionError("read", syscall.ECONNRESET)
		transport, _ := inOrder(responding(500, ""), failing(cause))
		_, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		assert.ErrorContains(t, err, "(4 attempts)")

		transport, _ = inOrder(failing(cause), responding(502, "bad gateway"))
		_, err = newTestClient(t, transport).ListExportTasks(t.Context(), nil)
		var apiError *APIError
		require.ErrorAs(t, err, &apiError)
		assert.Equal(t, 4, apiError.Attempts)
	})
}

func TestRetry_success_has_attempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, _ := inOrder(responding(429, ""), responding(200, emptyPage))
		got, err := newTestClient(t, transport).ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2, got.Attempts)
	})
}

func TestRetry_each_request_is_signed_anew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := Signer{AccessKey: "test-ak", SecretKey: "test-sk"}
		seen := map[string]bool{}
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			require.NoError(t, keys.Verify(req, time.Now()))
			body, err := io.ReadAll(req.Body)
			require.NoError(t, err)
			require.JSONEq(t, `{"action":"x"}`, string(body))
			seen[req.Header.Get("X-Sdk-Date")] = true
			if len(seen) < 3 {
				return reply(429, "", "Retry-After", "300"), nil
			}
			return reply(200, ""), nil
		}))
		got, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: "x"})
		require.NoError(t, err)
		assert.Equal(t, 3, got.Attempts)
	})
}

// Over many calls, the delays fill their range and never leave it.
func TestRetry_delays_are_exponential_with_full_jitter(t *testing.T) {
	policy := RetryPolicy{MaxAttempts: 5, MinBackoff: time.Second, MaxBackoff: 3 * time.Second}
	limits := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}
	lowest := []time.Duration{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64}
	highest := make([]time.Duration, len(limits))
	synctest.Test(t, func(t *testing.T) {
		for range 500 {
			var last time.Time
			attempt := 0
			client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
				if attempt > 0 {
					pause := time.Since(last)
					lowest[attempt-1], highest[attempt-1] = min(lowest[attempt-1], pause), max(highest[attempt-1], pause)
				}
				attempt, last = attempt+1, time.Now()
				return reply(503, ""), nil
			}), WithRetryPolicy(policy))
			_, err := client.ListExportTasks(t.Context(), nil)
			require.Error(t, err)
			require.Equal(t, 5, attempt)
		}
	})
	for i, limit := range limits {
		assert.Less(t, lowest[i], limit/20, "delay %d", i)
		assert.Greater(t, highest[i], limit*19/20, "delay %d", i)
		assert.LessOrEqual(t, highest[i], limit+1, "delay %d", i)
	}
}

func TestRetryAfter_is_the_least_delay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inSeconds := func(pause time.Duration) string { return strconv.Itoa(int(pause.Seconds())) }
		asDate := func(pause time.Duration) string { return time.Now().Add(pause).UTC().Format(http.TimeFormat) }
		tests := []struct {
			format func(time.Duration) string
			want   time.Duration
		}{{inSeconds, time.Second}, {inSeconds, 2 * time.Minute}, {asDate, 90 * time.Second}}
		for _, test := range tests {
			value := test.format(test.want)
			transport, _ := inOrder(responding(503, "", "Retry-After", value, "Date", time.Now().UTC().Format(http.TimeFormat)), responding(200, emptyPage))
			client := newTestClient(t, transport, WithRetryPolicy(RetryPolicy{MaxBackoff: time.Second}))
			start := time.Now()
			_, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, time.Since(start), test.want, value)
			assert.LessOrEqual(t, time.Since(start), test.want+500*time.Millisecond, value)
		}
	})
}

func TestRetryAfter_too_long_returns_at_once(t *testing.T) {
	tests := []struct {
		name       string
		deadline   time.Duration
		retryAfter string
	}{
		{"beyond the deadline", 10 * time.Second, "11"},
		{"at the deadline", 10 * time.Second, "10"},
		{"longer than 10 minutes", 0, "601"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				transport, requests := inOrder(responding(503, `{"error":{"error_code":"X","error_msg":"slow down"}}`, "Retry-After", test.retryAfter))
				start := time.Now()
				_, err := newTestClient(t, transport).ListExportTasks(ctx, nil)
				var apiError *APIError
				require.ErrorAs(t, err, &apiError)
				assert.Equal(t, test.retryAfter+"s", fmt.Sprintf("%.0fs", apiError.RetryAfter.Seconds()))
				assert.Zero(t, time.Since(start))
				assert.Equal(t, 1, *requests)
			})
		})
	}
}

func TestRetry_cancel_in_a_delay_returns_at_once_with_both_errors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		transport, requests := inOrder(responding(503, "", "Retry-After", "60"))
		time.AfterFunc(5*time.Second, func() { cancel(why) })
		start := time.Now()
		_, err := newTestClient(t, transport).ListExportTasks(ctx, nil)
		assert.Equal(t, 5*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		var response *APIError
		require.ErrorAs(t, err, &response)
		assert.Equal(t, 503, response.StatusCode)
		assert.Equal(t, 1, *requests)
	})
}

func TestRetry_attempt_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		requests := 0
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			if requests++; requests == 3 {
				return reply(200, emptyPage), nil
			}
			return hang(req)
		}), WithRetryPolicy(RetryPolicy{AttemptTimeout: 2 * time.Second}))
		got, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 3, got.Attempts)

		requests = 10
		_, err = client.ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "no response within the 2s of one attempt")
		assert.ErrorContains(t, err, "(4 attempts)")

		requests = 10
		_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 11, requests)
	})
}

// A service that is down gets 100 retries of a client, then one for each five successes.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, requests := true, 0
		client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
			requests++
			if down {
				return reply(503, ""), nil
			}
			return reply(200, emptyPage), nil
		}))
		const calls = 1000
		list := func(n int) {
			for range n {
				_, err := client.ListExportTasks(t.Context(), nil)
				require.Equal(t, down, err != nil)
			}
		}
		list(calls)
		assert.Equal(t, calls+100, requests)

		down, requests = false, 0
		list(25)
		down = true
		list(calls)
		assert.Equal(t, 25+calls+5, requests)
	})
}

func TestRetryBudget_refunded_after_success(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
			if requests++; requests%2 == 1 {
				return reply(503, ""), nil
			}
			return reply(200, emptyPage), nil
		}))
		for range 1000 {
			_, err := client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
		}
	})
}
