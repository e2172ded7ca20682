package cdn

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/retry"
)

// connectProxy responds to the first CONNECT requests with refuse, and forwards the others.
func connectProxy(t *testing.T, refuse ...int) (proxy *url.URL, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(requests.Add(1))
		if n <= len(refuse) {
			w.WriteHeader(refuse[n-1])
			return
		}
		target, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(target, conn); _ = target.Close() }()
		_, _ = io.Copy(conn, target)
		_ = conn.Close()
	}))
	t.Cleanup(server.Close)
	proxy, err := url.Parse(server.URL)
	require.NoError(t, err)
	return proxy, requests
}

func TestProxy_refused_CONNECT(t *testing.T) {
	var seen atomic.Int64
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, emptyPage)
		}
	}))
	defer service.Close()
	through := func(proxy *url.URL, hook bool) *http.Transport {
		transport := defaultTransport()
		transport.Proxy = http.ProxyURL(proxy)
		transport.TLSClientConfig = service.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		if !hook {
			transport.OnProxyConnectResponse = nil
		}
		t.Cleanup(transport.CloseIdleConnections)
		return transport
	}
	policy := WithRetryPolicy(RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	for _, hook := range []bool{true, false} {
		for _, status := range []int{502, 503, 504} {
			proxy, connects := connectProxy(t, status)
			client := newTestClient(t, through(proxy, hook), WithEndpoint(service.URL), policy)
			seen.Store(0)
			_, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
			require.NoError(t, err, "the create was not sent, so it is retried")
			assert.EqualValues(t, 1, seen.Load())
			assert.EqualValues(t, 2, connects.Load())

			proxy, _ = connectProxy(t, status, status, status, status)
			client = newTestClient(t, through(proxy, hook), WithEndpoint(service.URL), policy)
			_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
			var refused *retry.ProxyError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, status, refused.StatusCode)
			assert.NotErrorIs(t, err, ErrOutcomeUnknown)
			assert.ErrorContains(t, err, "responded to CONNECT with")
			assert.ErrorContains(t, err, "(4 attempts)")
		}
		proxy, connects := connectProxy(t, 407, 407)
		client := newTestClient(t, through(proxy, hook), WithEndpoint(service.URL), policy)
		_, err := client.ListExportTasks(t.Context(), nil)
		assert.ErrorContains(t, err, "responded to CONNECT with 407")
		assert.EqualValues(t, 1, connects.Load(), "another attempt would not help")
	}
}

// pipeListener is a listener without a socket: its connections are pipes in this process, so that they can be
// used in fake time.
type pipeListener struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{dialled: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial connects a client.
func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.dialled <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// deadConn drops each write once dead is set.
type deadConn struct {
	net.Conn
	dead *atomic.Bool
}

func (c deadConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A connection that is dead but not closed fails one attempt. The next attempt has a new connection.
func TestHTTP2_dead_connection_is_given_up_within_an_attempt(t *testing.T) {
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	serverTLS, clientTLS := certificates.TLS.Clone(), certificates.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	certificates.Close()
	synctest.Test(t, func(t *testing.T) {
		listener := newPipeListener()
		var protocol atomic.Int64
		server := &http.Server{TLSConfig: serverTLS, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protocol.Store(int64(r.ProtoMajor))
			_, _ = io.WriteString(w, emptyPage)
		})}
		server.TLSConfig.NextProtos = []string{"h2"}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.ServeTLS(listener, "", "") }()

		dead, dials := &atomic.Bool{}, 0
		transport := defaultTransport()
		transport.TLSClientConfig = clientTLS
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := listener.dial(ctx)
			if dials++; dials > 1 {
				return conn, err
			}
			return deadConn{conn, dead}, err
		}
		client := newTestClient(t, transport, WithEndpoint("https://example.com"))
		_, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, protocol.Load())
		dead.Store(true)
		start := time.Now()
		got, err := client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 2, got.Attempts)
		assert.Less(t, time.Since(start), 20*time.Second)

		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
}

func TestResponse_encoding_that_was_not_requested(t *testing.T) {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = io.WriteString(writer, emptyPage)
	require.NoError(t, writer.Close())
	for _, test := range []struct{ encoding, body, want string }{
		{"gzip", compressed.String(), ""},
		{"gzip", "not gzip", "unexpected EOF"},
		{"br", "x", "content encoding br"},
	} {
		transport, _ := inOrder(responding(200, test.body, "Content-Encoding", test.encoding))
		_, err := newTestClient(t, transport, quickRetries).ListExportTasks(t.Context(), nil)
		if test.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ErrMalformedResponse)
		assert.ErrorContains(t, err, test.want)
	}
}

// net/http accepts an empty body with any Content-Encoding.
func TestCreate_empty_body_with_an_encoding_is_accepted(t *testing.T) {
	transport, _ := inOrder(responding(200, "", "Content-Encoding", "gzip"))
	_, err := newTestClient(t, transport).CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
	require.NoError(t, err)
}

// A transport of net/http that fails before it has a connection has sent nothing.
func TestCreate_failed_proxy_setting_is_not_sent(t *testing.T) {
	misconfigured := errors.New("no such proxy")
	client := newTestClient(t, &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, misconfigured }})
	_, err := client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
	require.ErrorIs(t, err, misconfigured)
	assert.NotErrorIs(t, err, ErrOutcomeUnknown)
}

// retryingTransport sends a request again, as transports of users do.
type retryingTransport struct{ http.RoundTripper }

func (r retryingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	for range 3 {
		resp, err := r.RoundTripper.RoundTrip(req)
		if err == nil && resp.StatusCode < 500 {
			return resp, nil
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	return nil, errors.New("3 requests failed")
}

func TestRetryingTransport_does_not_send_a_second_request(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, emptyPage)
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := newTestClient(t, retryingTransport{base}, WithEndpoint(server.URL),
		WithRetryPolicy(RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}))

	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err, "this package's own retry follows")
	requests.Store(0)
	_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
	require.ErrorIs(t, err, ErrOutcomeUnknown)
	assert.EqualValues(t, 1, requests.Load())
}

func TestRetryBudget_error_says_that_it_is_spent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, _ := inOrder(responding(503, ""))
		client := newTestClient(t, transport)
		var err error
		for range 100 {
			_, err = client.ListExportTasks(t.Context(), nil)
		}
		assert.ErrorContains(t, err, "not retried: the client's retry budget is spent")
		var response *APIError
		assert.ErrorAs(t, err, &response)
	})
}

// Calls with the same Retry-After are retried later than that, and not at the same moment.
func TestRetryAfter_calls_spread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
			if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 5*time.Second {
				return reply(503, "", "Retry-After", "4.2"), nil
			}
			return reply(200, emptyPage), nil
		}))
		ended := make(chan time.Duration)
		start := time.Now()
		for range 50 {
			go func() {
				_, err := client.ListExportTasks(t.Context(), nil)
				assert.NoError(t, err)
				ended <- time.Since(start)
			}()
		}
		instants := map[time.Duration]bool{}
		for range 50 {
			took := <-ended
			assert.GreaterOrEqual(t, took, 5*time.Second)
			instants[took] = true
		}
		assert.Greater(t, len(instants), 40)
	})
}

func TestSecrets_escaped_echo_is_redacted(t *testing.T) {
	token := "tok/en+" + strings.Repeat("s3cret", 10)
	escaped := strings.NewReplacer("/", `\/`, "+", `\u002b`).Replace(token)
	for _, status := range []int{200, 401} {
		transport, _ := inOrder(responding(status, `{"error_code":"APIGW.0301","error_msg":"header X-Security-Token: `+escaped+`"}`))
		_, err := newTestClient(t, transport, WithCredentials(testCredentials("ak", "sk", token))).ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, ErrUnauthorized)
		assert.NotContains(t, err.Error(), "s3cret")
	}
}
