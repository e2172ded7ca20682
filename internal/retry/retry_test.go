package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBackoff_full_jitter_within_bounds(t *testing.T) {
	bounds := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}
	highest := make([]time.Duration, len(bounds))
	for range 500 {
		backoff := NewBackoff(time.Second, 3*time.Second)
		for i, bound := range bounds {
			delay := backoff.Next()
			require.LessOrEqual(t, delay, bound+1)
			require.GreaterOrEqual(t, delay, time.Duration(0))
			highest[i] = max(highest[i], delay)
		}
		backoff.Reset()
		require.LessOrEqual(t, backoff.Next(), time.Second+1)
	}
	for i, bound := range bounds {
		assert.Greater(t, highest[i], bound*9/10)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		assert.True(t, Sleep(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.True(t, Fits(ctx, time.Second-1))
		assert.False(t, Fits(ctx, time.Second))
		assert.True(t, Fits(t.Context(), time.Hour))
		start = time.Now()
		assert.False(t, Sleep(ctx, time.Minute))
		assert.Equal(t, time.Second, time.Since(start))
		assert.False(t, Sleep(ctx, 0), "an ended context wins over a delay of 0")
	})
}

func TestBudget_100_retries_then_refunds(t *testing.T) {
	var budget Budget
	for range 10 * budgetTokens {
		budget.Refund(true)
	}
	taken := 0
	for budget.Take() {
		taken++
	}
	assert.Equal(t, budgetTokens/retryCost, taken)
	for range retryCost - 1 {
		budget.Refund(false)
		assert.False(t, budget.Take())
	}
	budget.Refund(false)
	assert.True(t, budget.Take())
	assert.False(t, budget.Take())
	budget.Refund(true)
	assert.True(t, budget.Take())
}

func TestAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(after time.Duration) string { return now.Add(after).Format(http.TimeFormat) }
	tests := []struct {
		name, value, date string
		want              time.Duration
	}{
		{"none", "", "", 0},
		{"seconds", "17", "", 17 * time.Second},
		{"spaces", " 17 ", "", 17 * time.Second},
		{"zero", "0", "", 0},
		{"negative", "-1", "", 0},
		{"fraction is rounded up", "299.997", "", 300 * time.Second},
		{"point at the end", "1.", "", time.Second},
		{"only a point", ".", "", 0},
		{"exponent", "1e3", "", 0},
		{"huge", "18446744073709551615", "", maxAfter},
		{"larger than any number", "99999999999999999999999999999999999999999999", "", maxAfter},
		{"date", date(time.Minute), "", time.Minute},
		{"date past", date(-time.Minute), "", 0},
		{"date counts from the response's own", date(time.Hour), date(time.Hour - time.Second), time.Second},
		{"date far away", date(100 * maxAfter), "", maxAfter},
		{"garbage", "soon", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Retry-After": {test.value}}
			if test.date != "" {
				header.Set("Date", test.date)
			}
			assert.Equal(t, test.want, After(header, now))
		})
	}
}

func FuzzAfter(f *testing.F) {
	f.Add("17", "")
	f.Add("1.5", "")
	f.Add("Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 02 Jan 2026 03:04:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		delay := After(http.Header{"Retry-After": {value}, "Date": {date}}, time.Unix(0, 0))
		assert.GreaterOrEqual(t, delay, time.Duration(0))
		assert.LessOrEqual(t, delay, maxAfter)
	})
}

func TestProxyError(t *testing.T) {
	proxy := &url.URL{Scheme: "http", User: url.UserPassword("me", "s3cret"), Host: "proxy.example:3128"}
	require.NoError(t, OnProxyConnectResponse(t.Context(), proxy, nil, &http.Response{StatusCode: 200}))
	err := OnProxyConnectResponse(t.Context(), proxy, nil, &http.Response{StatusCode: 503})
	assert.EqualError(t, err, "the proxy proxy.example:3128 responded to CONNECT with 503 Service Unavailable")
	assert.True(t, IsTransient(err))
	assert.False(t, IsTransient(&ProxyError{StatusCode: 407}))

	wrapped := &url.Error{Op: "Get", URL: "https://cdn.example", Err: errors.New("Bad Gateway")}
	assert.Equal(t, &ProxyError{StatusCode: 502}, AsProxyError(wrapped))
	assert.EqualError(t, AsProxyError(wrapped), "the proxy responded to CONNECT with 502 Bad Gateway")
	assert.Same(t, err, AsProxyError(&url.Error{Err: err}))
	assert.Nil(t, AsProxyError(io.EOF))
}

// selfReporting is an error with a method Transient.
type selfReporting bool

func (e selfReporting) Error() string   { return "http2: status" }
func (e selfReporting) Transient() bool { return bool(e) }

func TestIsTransient_body_cut_in_its_trailer(t *testing.T) {
	assert.True(t, IsTransient(errors.New("http: unexpected EOF reading trailer")))
	assert.False(t, IsTransient(errors.New("http: suspiciously long trailer after chunked body")))
}

func TestIsTransient_error_that_reports_it(t *testing.T) {
	assert.True(t, IsTransient(fmt.Errorf("wrapped: %w", selfReporting(true))))
	assert.False(t, IsTransient(fmt.Errorf("wrapped: %w", selfReporting(false))))
}
