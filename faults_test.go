package cdn_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

var updateMatrix = flag.Bool("update", false, "write the tables that tests measure into docs/reliability.md")

// fault is a way in which a server, or the way to it, fails each connection; with what becomes of a
// call that meets nothing else.
type fault struct {
	name string
	// serve is what happens on a connection. It is closed afterwards.
	serve func(*faultConn)
	// endpoint replaces the server's address where the fault lies before it.
	endpoint func(*testing.T) string
	https    bool
	// transport replaces the client's own, where the fault needs one.
	transport func(*testing.T) *http.Transport
	// fakeClock runs client and server on a clock that passes by itself when both wait, without a
	// socket between them. The other faults meet attempts that may take an hour, and do not.
	fakeClock bool

	list, create outcome
}

// outcome is what a call came to.
type outcome struct {
	err      string // what errors.Is and errors.As find in it
	timeout  bool   // whether it says so with Timeout
	unknown  bool   // whether it wraps ErrOutcomeUnknown
	attempts int
	// What the server saw: connections, and whole requests with a good signature.
	connections, requests int
	took                  time.Duration // by the fake clock
}

// The time-outs that bound the faults on the fake clock.
const (
	attemptTime   = 30 * time.Second // RetryPolicy's default
	handshakeTime = 10 * time.Second // the default transport's
)

var faults = []fault{
	{
		name:     "connection refused",
		endpoint: refusingEndpoint,
		list:     outcome{err: "syscall.ECONNREFUSED", attempts: 4},
		create:   outcome{err: "syscall.ECONNREFUSED", attempts: 4},
	},
	{
		name:   "reset before the request was read",
		serve:  func(c *faultConn) { c.await(c.server.wroteRequest); c.reset() },
		list:   outcome{err: "syscall.ECONNRESET", attempts: 4, connections: 4},
		create: outcome{err: "syscall.ECONNRESET", unknown: true, attempts: 1, connections: 1},
	},
	{
		name:   "reset after the request was read",
		serve:  func(c *faultConn) { c.readRequest(); c.reset() },
		list:   outcome{err: "syscall.ECONNRESET", attempts: 4, connections: 4, requests: 4},
		create: outcome{err: "syscall.ECONNRESET", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "reset in the body",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
			c.await(c.server.gotFirstByte)
			c.reset()
		},
		list:   outcome{err: "ErrMalformedResponse, syscall.ECONNRESET", attempts: 4, connections: 4, requests: 4},
		create: outcome{err: "ErrMalformedResponse, syscall.ECONNRESET", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "truncated body",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
		},
		list:   outcome{err: "ErrMalformedResponse, io.ErrUnexpectedEOF", attempts: 4, connections: 4, requests: 4},
		create: outcome{err: "ErrMalformedResponse, io.ErrUnexpectedEOF", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:   "header cut within a line",
		serve:  func(c *faultConn) { c.readRequest(); c.send("HTTP/1.1 200 OK\r\nContent-Le") },
		list:   outcome{err: "textproto.ProtocolError", attempts: 4, connections: 4, requests: 4},
		create: outcome{err: "textproto.ProtocolError", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "Content-Length too long, connection kept",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + faultAnswer)
			c.hold()
		},
		fakeClock: true,
		list:      outcome{err: "context.DeadlineExceeded", timeout: true, attempts: 4, connections: 4, requests: 4, took: 4 * attemptTime},
		create:    outcome{err: "context.DeadlineExceeded", timeout: true, unknown: true, attempts: 1, connections: 1, requests: 1, took: attemptTime},
	},
	{
		name:   "Content-Length too short",
		serve:  answeringEach("200 OK", faultAnswer, "Connection: close", "Content-Length: 5"),
		list:   outcome{err: "ErrMalformedResponse, io.ErrUnexpectedEOF", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "ErrMalformedResponse", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:      "slow headers, a line a second",
		serve:     func(c *faultConn) { c.readRequest(); c.send("HTTP/1.1 200 OK\r\n"); c.drip("X-Filler: x\r\n") },
		fakeClock: true,
		list:      outcome{err: "context.DeadlineExceeded", timeout: true, attempts: 4, connections: 4, requests: 4, took: 4 * attemptTime},
		create:    outcome{err: "context.DeadlineExceeded", timeout: true, unknown: true, attempts: 1, connections: 1, requests: 1, took: attemptTime},
	},
	{
		name: "slow body, a byte a second",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			c.drip(" ")
		},
		fakeClock: true,
		list:      outcome{err: "context.DeadlineExceeded", timeout: true, attempts: 4, connections: 4, requests: 4, took: 4 * attemptTime},
		create:    outcome{err: "context.DeadlineExceeded", timeout: true, unknown: true, attempts: 1, connections: 1, requests: 1, took: attemptTime},
	},
	{
		name:   "bad gzip",
		serve:  answeringEach("200 OK", faultAnswer, "Content-Encoding: gzip"),
		list:   outcome{err: "ErrMalformedResponse, gzip.ErrHeader", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "ErrMalformedResponse, gzip.ErrHeader", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "gzip bomb, 1 GiB",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
			mebibyte := gzipped(c.server.t, strings.Repeat(" ", 1<<20))
			for left := 1 << 10; left > 0 && c.send(mebibyte); left-- {
			}
		},
		list:   outcome{err: "ErrMalformedResponse", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "ErrMalformedResponse", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:   "HTML with status 200",
		serve:  answeringEach("200 OK", "<html><h1>Sign in</h1></html>", "Content-Type: text/html"),
		list:   outcome{err: "ErrMalformedResponse", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "ErrMalformedResponse", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:   "HTML with status 502",
		serve:  answeringEach("502 Bad Gateway", "<html><h1>Bad Gateway</h1></html>", "Content-Type: text/html"),
		list:   outcome{err: "*APIError", attempts: 4, connections: 1, requests: 4},
		create: outcome{err: "*APIError", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "1xx flood",
		serve: func(c *faultConn) {
			c.readRequest()
			for c.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") {
			}
		},
		list:   outcome{err: "*url.Error", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "*url.Error", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "endless headers",
		serve: func(c *faultConn) {
			c.readRequest()
			for c.send("HTTP/1.1 200 OK\r\n"); c.send("X-Filler: " + strings.Repeat("x", 1000) + "\r\n"); {
			}
		},
		list:   outcome{err: "*url.Error", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "*url.Error", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:      "half-open TLS",
		serve:     (*faultConn).hold,
		https:     true,
		fakeClock: true,
		list:      outcome{err: "*url.Error", timeout: true, attempts: 4, connections: 4, took: 4 * handshakeTime},
		create:    outcome{err: "*url.Error", timeout: true, attempts: 4, connections: 4, took: 4 * handshakeTime},
	},
	{
		name: "expired certificate",
		serve: func(c *faultConn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{expired()}}).Handshake()
		},
		https:     true,
		transport: trustingExpired,
		list:      outcome{err: "*tls.CertificateVerificationError, x509.Expired", attempts: 1, connections: 1},
		create:    outcome{err: "*tls.CertificateVerificationError, x509.Expired", attempts: 1, connections: 1},
	},
	{
		name:      "DNS: no such host",
		endpoint:  unknownHost,
		transport: resolvingTo(3),
		list:      outcome{err: "*net.DNSError, IsNotFound", attempts: 1},
		create:    outcome{err: "*net.DNSError, IsNotFound", attempts: 1},
	},
	{
		name:      "DNS: server failure",
		endpoint:  unknownHost,
		transport: resolvingTo(2),
		list:      outcome{err: "*net.DNSError, IsTemporary", attempts: 4},
		create:    outcome{err: "*net.DNSError, IsTemporary", attempts: 4},
	},
}

// faultAnswer is good as an answer to both calls.
const faultAnswer = `{"total":0,"data":[]}`

// faultCalls are the calls that meet the faults.
var faultCalls = map[string]func(context.Context, *cdn.CdnClient) error{
	"list": func(ctx context.Context, client *cdn.CdnClient) error {
		_, err := client.ListExportTasks(ctx, nil)
		return err
	},
	"create": func(ctx context.Context, client *cdn.CdnClient) error {
		_, err := client.CreateExportTask(ctx, &cdn.CreateExportTaskRequest{StatType: cdn.StatTypeFlux})
		return err
	},
}

// TestFaultMatrix has each call meet each fault, logs what came of it as a table, and keeps the copy
// of that table in docs/reliability.md true.
func TestFaultMatrix(t *testing.T) {
	rows := []string{
		"| fault | error | `Timeout()` | create: `ErrOutcomeUnknown` | attempts | connections | requests | time |",
		"|---|---|---|---|---|---|---|---|",
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			list, create := f.meet(t, "list", limits{}), f.meet(t, "create", limits{})
			assert.Equal(t, f.list, list, "list")
			assert.Equal(t, f.create, create, "create")
			rows = append(rows, matrixRow(f, list, create))
		})
	}
	table := strings.Join(rows, "\n") + "\n"
	t.Log("a / b: list / create\n" + table)
	if t.Failed() || len(rows) < 2+len(faults) {
		return // what failed is told above, and a part of the table cannot be compared
	}
	checkTable(t, "TestFaultMatrix", table)
}

// checkTable compares a table that the test has measured with the one in docs/reliability.md, or writes it there.
func checkTable(t *testing.T, test, table string) {
	t.Helper()
	begin, end := "<!-- begin of what "+test+" measured -->\n", "<!-- end of what "+test+" measured -->\n"
	path := filepath.Join("docs", "reliability.md")
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(document), begin)
	require.True(t, found, begin)
	written, after, found := strings.Cut(rest, end)
	require.True(t, found, end)
	if *updateMatrix {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table+end+after), 0o644))
		return
	}
	assert.Equal(t, table, written, "go test -run %s -update . writes it anew", test)
}

func matrixRow(f fault, list, create outcome) string {
	pair := func(show func(outcome) string) string {
		if show(list) == show(create) {
			return show(list)
		}
		return show(list) + " / " + show(create)
	}
	number := func(of func(outcome) int) string { return pair(func(o outcome) string { return strconv.Itoa(of(o)) }) }
	yesNo := map[bool]string{true: "yes", false: "no"}
	return "| " + strings.Join([]string{
		f.name,
		pair(func(o outcome) string { return "`" + strings.ReplaceAll(o.err, ", ", "`, `") + "`" }),
		pair(func(o outcome) string { return yesNo[o.timeout] }),
		yesNo[create.unknown],
		number(func(o outcome) int { return o.attempts }),
		number(func(o outcome) int { return o.connections }),
		number(func(o outcome) int { return o.requests }),
		pair(func(o outcome) string {
			if !f.fakeClock {
				return "–"
			}
			return strconv.Itoa(int(o.took.Seconds())) + " s"
		}),
	}, " | ") + " |"
}

// A call that hangs ends when its context does, to the second, and is not tried again.
func TestFaultsThatHangEndWithTheContext(t *testing.T) {
	const patience = 7 * time.Second
	for _, f := range faults {
		if !f.fakeClock {
			continue
		}
		for call, want := range map[string]outcome{"list": f.list, "create": f.create} {
			t.Run(f.name+"/"+call, func(t *testing.T) {
				want.err, want.attempts, want.connections, want.requests, want.took = "context.DeadlineExceeded", 1, 1, min(want.requests, 1), patience
				assert.Equal(t, want, f.meet(t, call, limits{patience: patience}))
			})
		}
	}
}

// Without retries, the last attempt is the first one: what hangs is a time-out just the same.
func TestFaultsThatHangAreTimeoutsWithoutRetriesToo(t *testing.T) {
	for _, f := range faults {
		if !f.fakeClock {
			continue
		}
		for call, want := range map[string]outcome{"list": f.list, "create": f.create} {
			t.Run(f.name+"/"+call, func(t *testing.T) {
				want.took /= time.Duration(want.attempts)
				want.attempts, want.connections, want.requests = 1, 1, min(want.requests, 1)
				assert.Equal(t, want, f.meet(t, call, limits{attempts: 1}))
			})
		}
	}
}

// A call whose context has ended before it could be sent has no outcome to be unknown.
func TestEndedContextSendsNothing(t *testing.T) {
	for name, call := range faultCalls {
		for _, when := range []string{"before the call", "while the rate limiter holds it back"} {
			t.Run(name+" "+when, func(t *testing.T) {
				server := newFaultServer(t, false)
				defer server.close()
				server.start(answeringEach("200 OK", faultAnswer))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if when == "before the call" {
					cancel()
				}
				client, err := cdn.NewCdnClient(
					cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey), cdn.WithEndpoint("http://"+server.address),
					cdn.WithRateLimiter(endingLimiter(cancel)))
				require.NoError(t, err)

				err = call(ctx, client)
				require.ErrorIs(t, err, context.Canceled)
				assert.NotErrorIs(t, err, cdn.ErrOutcomeUnknown)
				assert.Zero(t, server.connections.Load())
			})
		}
	}
}

// endingLimiter ends the context of whoever waits, and has not looked at it.
type endingLimiter context.CancelFunc

func (l endingLimiter) Wait(context.Context) error {
	l()
	return nil
}

// Whoever ends a context may say why. The error wraps that and the context's own error, however many
// attempts the policy allows.
func TestEndOfTheContextInAnAttemptGivesBothReasons(t *testing.T) {
	why := errors.New("shutting down")
	for _, attempts := range []int{1, 4} {
		for name, call := range faultCalls {
			t.Run(fmt.Sprint(name, attempts), func(t *testing.T) {
				server := newFaultServer(t, false)
				defer server.close()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				server.start(func(c *faultConn) {
					c.readRequest()
					cancel(why)
					c.hold()
				})
				client, err := cdn.NewCdnClient(
					cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey), cdn.WithEndpoint("http://"+server.address),
					cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: attempts}))
				require.NoError(t, err)

				err = call(ctx, client)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, why)
				assert.Equal(t, name == "create", errors.Is(err, cdn.ErrOutcomeUnknown))
			})
		}
	}
}

func TestCloseIdleConnectionsReachesTheTransport(t *testing.T) {
	transport := &idleTransport{stubTransport: newStubTransport(1)}
	client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	client.CloseIdleConnections()
	assert.Equal(t, 1, transport.closed)
}

// idleTransport counts how often it is told to close its idle connections.
type idleTransport struct {
	*stubTransport
	closed int
}

func (i *idleTransport) CloseIdleConnections() { i.closed++ }

// limits are the caller's own; 0 is the client's default.
type limits struct {
	patience time.Duration
	attempts int
}

// meet makes a call that meets the fault.
func (f fault) meet(t *testing.T, call string, caller limits) (got outcome) {
	if !f.fakeClock {
		return f.measure(t, call, caller)
	}
	synctest.Test(t, func(t *testing.T) { got = f.measure(t, call, caller) })
	return got
}

func (f fault) measure(t *testing.T, call string, caller limits) outcome {
	server := newFaultServer(t, f.fakeClock)
	var attempts countingLimiter
	policy := cdn.RetryPolicy{MaxAttempts: caller.attempts, MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}
	if !f.fakeClock {
		policy.AttemptTimeout = time.Hour
	}
	options := []cdn.Option{
		cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey),
		cdn.WithEndpoint(f.address(t, server)),
		cdn.WithRetryPolicy(policy),
		cdn.WithRateLimiter(&attempts),
	}
	if transport := f.clientTransport(t, server); transport != nil {
		defer transport.CloseIdleConnections()
		options = append(options, cdn.WithHTTPClient(&http.Client{Transport: transport}))
	}
	client, err := cdn.NewCdnClient(options...)
	require.NoError(t, err)

	ctx := httptrace.WithClientTrace(t.Context(), server.trace())
	if caller.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, caller.patience)
		defer cancel()
	}
	server.start(f.serve)
	start := time.Now()
	err = faultCalls[call](ctx, client)
	got := outcome{attempts: int(attempts.Load())}
	if f.fakeClock {
		got.took = time.Since(start)
	}
	server.close()

	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\n")
	t.Logf("%s: %v", call, err)
	var timeout interface{ Timeout() bool }
	got.err = errorTargets(err)
	got.timeout = errors.As(err, &timeout) && timeout.Timeout()
	got.unknown = errors.Is(err, cdn.ErrOutcomeUnknown)
	got.connections, got.requests = int(server.connections.Load()), int(server.requests.Load())
	return got
}

func (f fault) address(t *testing.T, server *faultServer) string {
	switch {
	case f.endpoint != nil:
		return f.endpoint(t)
	case f.https:
		return "https://" + server.address
	}
	return "http://" + server.address
}

// clientTransport is nil where the client's own will do.
func (f fault) clientTransport(t *testing.T, server *faultServer) *http.Transport {
	switch {
	case f.transport != nil:
		return f.transport(t)
	case f.fakeClock:
		return &http.Transport{DialContext: server.dial, TLSHandshakeTimeout: handshakeTime}
	}
	return nil
}

// countingLimiter lets every attempt pass and counts them.
type countingLimiter struct{ atomic.Int64 }

func (l *countingLimiter) Wait(context.Context) error {
	l.Add(1)
	return nil
}

// errorTargets names what errors.Is and errors.As find in err, from what this package says of it to
// the cause. What has no better name is a *url.Error, as of any http.Client.
func errorTargets(err error) string {
	var answer *cdn.APIError
	var certificate *tls.CertificateVerificationError
	var validity x509.CertificateInvalidError
	var header textproto.ProtocolError
	var lookup *net.DNSError
	isLookup := errors.As(err, &lookup)
	var found []string
	for _, target := range []struct {
		name string
		is   bool
	}{
		{"ErrMalformedResponse", errors.Is(err, cdn.ErrMalformedResponse)},
		{"*APIError", errors.As(err, &answer)},
		{"context.DeadlineExceeded", errors.Is(err, context.DeadlineExceeded)},
		{"io.ErrUnexpectedEOF", errors.Is(err, io.ErrUnexpectedEOF)},
		{"gzip.ErrHeader", errors.Is(err, gzip.ErrHeader)},
		{"syscall.ECONNREFUSED", errors.Is(err, syscall.ECONNREFUSED)},
		{"syscall.ECONNRESET", errors.Is(err, syscall.ECONNRESET)},
		{"*tls.CertificateVerificationError", errors.As(err, &certificate)},
		{"x509.Expired", errors.As(err, &validity) && validity.Reason == x509.Expired},
		{"textproto.ProtocolError", errors.As(err, &header)},
		{"*net.DNSError", isLookup},
		{"IsNotFound", isLookup && lookup.IsNotFound},
		{"IsTemporary", isLookup && lookup.IsTemporary},
	} {
		if target.is {
			found = append(found, target.name)
		}
	}
	var request *url.Error
	if len(found) == 0 && errors.As(err, &request) {
		found = append(found, "*url.Error")
	}
	return strings.Join(found, ", ")
}

// faultKeys sign the requests that meet faults.
var faultKeys = cdn.Signer{AccessKey: "ak", SecretKey: "sk"}

// faultServer accepts connections and has the same happen on each, over TCP or in the process.
type faultServer struct {
	t                     *testing.T
	address               string
	listener              net.Listener
	connections, requests atomic.Int64
	// What the client did, once for each attempt.
	wroteRequest, gotFirstByte chan struct{}

	handlers sync.WaitGroup
	closing  chan struct{}
	mu       sync.Mutex
	open     []net.Conn
}

func newFaultServer(t *testing.T, inProcess bool) *faultServer {
	t.Helper()
	s := &faultServer{
		t:            t,
		wroteRequest: make(chan struct{}, 100),
		gotFirstByte: make(chan struct{}, 100),
		closing:      make(chan struct{}),
	}
	if inProcess {
		s.listener, s.address = &pipeListener{make(chan net.Conn), s.closing}, "127.0.0.1:1"
		return s
	}
	var err error
	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = s.listener.Addr().String()
	return s
}

// trace reports to the server what the client does.
func (s *faultServer) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { s.wroteRequest <- struct{}{} },
		GotFirstResponseByte: func() { s.gotFirstByte <- struct{}{} },
	}
}

func (s *faultServer) start(serve func(*faultConn)) {
	s.handlers.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.mu.Lock()
			s.open = append(s.open, conn)
			s.mu.Unlock()
			s.handlers.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(&faultConn{conn, bufio.NewReader(conn), s})
			})
		}
	})
}

// close ends all connections and waits for what happens on them.
func (s *faultServer) close() {
	close(s.closing)
	_ = s.listener.Close()
	s.mu.Lock()
	for _, conn := range s.open {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.handlers.Wait()
}

// dial is for a client in the process.
func (s *faultServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case s.listener.(*pipeListener).dialled <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, net.ErrClosed
	}
}

// pipeListener is a listener without a socket.
type pipeListener struct {
	dialled chan net.Conn
	closing <-chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.closing:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// faultConn is the server's side of a connection.
type faultConn struct {
	net.Conn
	reader *bufio.Reader
	server *faultServer
}

// readRequest reads a request to its end and reports whether there was one.
func (c *faultConn) readRequest() bool {
	req, err := http.ReadRequest(c.reader)
	if err != nil {
		return false
	}
	assert.NoError(c.server.t, faultKeys.Verify(req, time.Now()))
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return false
	}
	c.server.requests.Add(1)
	return true
}

// send reports whether the client still takes what is sent.
func (c *faultConn) send(text string) bool {
	_, err := io.WriteString(c, text)
	return err == nil
}

// drip sends text once a second for as long as the client takes it.
func (c *faultConn) drip(text string) {
	for c.send(text) {
		time.Sleep(time.Second)
	}
}

// hold keeps the connection open, and silent, until the client leaves.
func (c *faultConn) hold() { _, _ = io.Copy(io.Discard, c.reader) }

// await waits until the client has done something.
func (c *faultConn) await(done <-chan struct{}) {
	select {
	case <-done:
	case <-c.server.closing:
	}
}

// reset has the client see a reset and not an orderly end.
func (c *faultConn) reset() {
	assert.NoError(c.server.t, c.Conn.(*net.TCPConn).SetLinger(0))
	_ = c.Close()
}

// answeringEach gives the same answer to each request of a connection.
func answeringEach(status, body string, header ...string) func(*faultConn) {
	lines := append([]string{"HTTP/1.1 " + status}, header...)
	if !strings.Contains(strings.Join(header, "\n"), "Content-Length:") {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	answer := strings.Join(lines, "\r\n") + "\r\n\r\n" + body
	return func(c *faultConn) {
		for c.readRequest() && c.send(answer) && !strings.Contains(answer, "Connection: close") {
		}
	}
}

// refusingEndpoint is an address where nobody listens and, for the length of the test, nobody can
// begin to: the client's side of a connection.
func refusingEndpoint(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return "http://" + conn.LocalAddr().String()
}

// expired is a certificate for 127.0.0.1 that ended in 2020.
var expired = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// trustingExpired trusts the expired certificate but for its age.
func trustingExpired(*testing.T) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(expired().Leaf)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
}

func unknownHost(*testing.T) string { return "https://cdn.example.invalid" }

// resolvingTo looks names up at a name server in the process that answers each query with this code
// of RFC 1035. Nothing is ever dialled.
func resolvingTo(code byte) func(*testing.T) *http.Transport {
	return func(t *testing.T) *http.Transport {
		var servers sync.WaitGroup
		t.Cleanup(servers.Wait)
		dialer := &net.Dialer{
			Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				servers.Go(func() { answerQueries(server, code) })
				return client, nil
			}},
			Control: func(_, address string, _ syscall.RawConn) error {
				return fmt.Errorf("nothing is to be dialled, not %s", address)
			},
		}
		return &http.Transport{DialContext: dialer.DialContext}
	}
}

// answerQueries answers the queries of a connection, in the framing that DNS has over TCP.
func answerQueries(conn net.Conn, code byte) {
	defer func() { _ = conn.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, message); err != nil || len(message) < 12 {
			return
		}
		message[2] |= 0x80       // it is a response
		message[3] = 0x80 | code // recursion is available
		if _, err := conn.Write(append(length[:], message...)); err != nil {
			return
		}
	}
}
