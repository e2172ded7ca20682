package cdn_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fault is a failure of each connection, of the server or on the way to it, and the outcome of each call.
type fault struct {
	name string
	// serve serves one connection, which is closed afterwards.
	serve func(*faultConn)
	// endpoint returns another address than the server's; nil for the server's.
	endpoint func(*testing.T) string
	https    bool
	// transport returns the client's transport; nil for the default one.
	transport func(*testing.T) *http.Transport
	// fakeClock connects client and server in the process, in the time of testing/synctest. The attempts of the
	// other faults have an hour, so that no slow machine ends them.
	fakeClock bool

	list, create outcome
}

// outcome describes the end of a call.
type outcome struct {
	err         string // the errors that errors.Is and errors.As find
	timeout     bool   // whether a Timeout method reports true
	unknown     bool   // whether the error wraps ErrOutcomeUnknown
	attempts    int
	connections int           // that the server accepted
	requests    int           // complete, with a valid signature
	took        time.Duration // on the fake clock
}

// The timeouts of the faults on the fake clock.
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
		name: "chunked body cut behind its last chunk",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n" + faultResponse + "\r\n0\r\n")
		},
		list:   outcome{err: "ErrMalformedResponse", attempts: 4, connections: 4, requests: 4},
		create: outcome{err: "ErrMalformedResponse", unknown: true, attempts: 1, connections: 1, requests: 1},
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
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + faultResponse)
			c.hold()
		},
		fakeClock: true,
		list:      outcome{err: "context.DeadlineExceeded", timeout: true, attempts: 4, connections: 4, requests: 4, took: 4 * attemptTime},
		create:    outcome{err: "context.DeadlineExceeded", timeout: true, unknown: true, attempts: 1, connections: 1, requests: 1, took: attemptTime},
	},
	{
		name:   "Content-Length too short",
		serve:  responding("200 OK", faultResponse, "Connection: close", "Content-Length: 5"),
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
		serve:  responding("200 OK", faultResponse, "Content-Encoding: gzip"),
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
		serve:  responding("200 OK", "<html><h1>Sign in</h1></html>", "Content-Type: text/html"),
		list:   outcome{err: "ErrMalformedResponse", attempts: 1, connections: 1, requests: 1},
		create: outcome{err: "ErrMalformedResponse", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name:   "HTML with status 502",
		serve:  responding("502 Bad Gateway", "<html><h1>Bad Gateway</h1></html>", "Content-Type: text/html"),
		list:   outcome{err: "*APIError", attempts: 4, connections: 1, requests: 4},
		create: outcome{err: "*APIError", unknown: true, attempts: 1, connections: 1, requests: 1},
	},
	{
		name: "101 Switching Protocols, connection kept",
		serve: func(c *faultConn) {
			c.readRequest()
			c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			c.hold()
		},
		list:   outcome{err: "*APIError", attempts: 1, connections: 1, requests: 1},
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

// faultResponse is a success of both calls.
const faultResponse = `{"total":0,"data":[]}`
