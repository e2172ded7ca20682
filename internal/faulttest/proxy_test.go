package faulttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestMain(m *testing.M) {
	// The proxy leaks this goroutine if a toxic ends a connection that still receives.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe"))
}

// TestToxics has the outcomes of calls through a proxy that breaks their connections. Attempts have an hour, so that no
// outcome is a timeout.
func TestToxics(t *testing.T) {
	const sampleTasks = 100
	tests := []struct {
		name, toxic  string
		list, create result
	}{
		{
			name:   "connection to the server reset",
			toxic:  `{"type":"reset_peer","stream":"upstream"}`,
			list:   result{err: errConnection, attempts: 4},
			create: result{err: cdn.ErrOutcomeUnknown, attempts: 1},
		},
		{
			name:   "connection from the server reset",
			toxic:  `{"type":"reset_peer","stream":"downstream"}`,
			list:   result{err: errConnection, attempts: 4, requests: 4},
			create: result{err: cdn.ErrOutcomeUnknown, attempts: 1, requests: 1, created: 1},
		},
		{
			name:   "response cut after its first line",
			toxic:  `{"type":"limit_data","stream":"downstream","attributes":{"bytes":17}}`,
			list:   result{err: errConnection, attempts: 4, requests: 4},
			create: result{err: cdn.ErrOutcomeUnknown, attempts: 1, requests: 1, created: 1},
		},
		{
			name:   "response cut in its body",
			toxic:  `{"type":"limit_data","stream":"downstream","attributes":{"bytes":1000}}`,
			list:   result{err: cdn.ErrMalformedResponse, attempts: 4, requests: 4},
			create: result{attempts: 1, requests: 1, created: 1}, // its response has no body
		},
		{
			name:   "request cut in its header",
			toxic:  `{"type":"limit_data","stream":"upstream","attributes":{"bytes":20}}`,
			list:   result{err: errConnection, attempts: 4},
			create: result{err: cdn.ErrOutcomeUnknown, attempts: 1},
		},
		{
			name:   "response in pieces of a byte",
			toxic:  `{"type":"slicer","stream":"downstream","attributes":{"average_size":1}}`,
			list:   result{attempts: 1, requests: 1},
			create: result{attempts: 1, requests: 1, created: 1},
		},
		{
			name:   "connection closed an hour late",
			toxic:  `{"type":"slow_close","stream":"downstream","attributes":{"delay":3600000}}`,
			list:   result{attempts: 1, requests: 1},
			create: result{attempts: 1, requests: 1, created: 1},
		},
	}
	for _, test := range tests {
		for name, want := range map[string]result{"list": test.list, "create": test.create} {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				f := newFixture(t, sampleTasks)
				f.add(test.toxic)
				err := f.call(t.Context(), name)
				assert.Equal(t, want, result{
					err:      classOf(err),
					attempts: int(f.attempts.Load()),
					requests: len(f.server.Requests()),
					created:  len(f.server.Tasks()) - sampleTasks,
				}, "%v", err)
			})
		}
	}
}

// A create recovers if nothing was sent.
func TestRecovery_between_attempts(t *testing.T) {
	for _, name := range []string{"list", "create"} {
		t.Run(name+" while the server is down", func(t *testing.T) {
			f := newFixture(t, 0)
			f.proxy.Stop()
			f.beforeAttempt(3, func() { require.NoError(t, f.proxy.Start()) })
			require.NoError(t, f.call(t.Context(), name))
			assert.Len(t, f.server.Requests(), 1)
		})
	}
	t.Run("list while responses are lost", func(t *testing.T) {
		f := newFixture(t, 0)
		f.add(`{"name":"lost","type":"reset_peer","stream":"downstream"}`)
		f.beforeAttempt(3, func() { require.NoError(t, f.proxy.Toxics.RemoveToxic(t.Context(), "lost")) })
		require.NoError(t, f.call(t.Context(), "list"))
		assert.Len(t, f.server.Requests(), 3)
	})
}

// The proxy sends nothing back and closes nothing.
func TestBlackHole_ends_with_the_context(t *testing.T) {
	for _, name := range []string{"list", "create"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.add(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f.server.Inject(cdntest.Fault{Match: func(*http.Request) bool { cancel(); return false }})
			err := f.call(ctx, name)
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, name == "create", errors.Is(err, cdn.ErrOutcomeUnknown))
			assert.Len(t, f.server.Requests(), 1)
		})
	}
}

// result is the outcome of a call, for its caller and for the server.
type result struct {
	err                         error
	attempts, requests, created int
}

// errConnection is the class of all failures of a connection before a response.
var errConnection = errors.New("connection error")

func classOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cdn.ErrOutcomeUnknown):
		return cdn.ErrOutcomeUnknown
	case errors.Is(err, cdn.ErrMalformedResponse):
		return cdn.ErrMalformedResponse
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errConnection
	}
	return err
}

// fixture is a client that reaches a server through a proxy.
type fixture struct {
	t        *testing.T
	server   *cdntest.Server
	proxy    *toxiproxy.Proxy
	client   *cdn.CdnClient
	attempts atomic.Int64
	before   map[int64]func()
}

func newFixture(t *testing.T, tasks int) *fixture {
	t.Helper()
	f := &fixture{t: t, before: map[int64]func(){}, server: cdntest.NewServer(cdntest.WithSampleTasks(tasks))}
	t.Cleanup(f.server.Close)
	f.proxy = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "cdn", "127.0.0.1:0", strings.TrimPrefix(f.server.URL, "http://"))
	require.NoError(t, f.proxy.Start())
	t.Cleanup(func() {
		f.proxy.Toxics.ResetToxics(context.Background()) // or waiting toxics would go on
		f.proxy.Stop()
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	f.client = f.server.NewClient(
		cdn.WithEndpoint("http://"+f.proxy.Listen),
		cdn.WithHTTPClient(&http.Client{Transport: transport}),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond, AttemptTimeout: time.Hour}),
		cdn.WithRateLimiter(f),
	)
	return f
}

func (f *fixture) add(toxic string) {
	f.t.Helper()
	_, err := f.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(f.t, err)
}

// beforeAttempt makes the fixture call do before the n-th attempt.
func (f *fixture) beforeAttempt(n int64, do func()) { f.before[n] = do }

// Wait counts the attempts. The fixture is the rate limiter of its client.
func (f *fixture) Wait(context.Context) error {
	if do := f.before[f.attempts.Add(1)]; do != nil {
		do()
	}
	return nil
}

func (f *fixture) call(ctx context.Context, name string) error {
	if name == "create" {
		_, err := f.client.CreateExportTask(ctx, &cdn.CreateExportTaskRequest{StatType: cdn.StatTypeFlux})
		return err
	}
	_, err := f.client.ListExportTasks(ctx, &cdn.ListExportTasksRequest{Limit: 100})
	return err
}
