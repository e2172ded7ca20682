package cdn_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/huaweicloud/cdn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultKeys sign the requests that meet faults.
var faultKeys = cdn.Signer{AccessKey: "ak", SecretKey: "sk"}

// faultServer serves each connection in the same way, over TCP or in the process.
type faultServer struct {
	t                     *testing.T
	address               string
	listener              net.Listener
	connections, requests atomic.Int64
	// Each attempt sends to these when the client has done so.
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

// trace returns the callbacks that tell the server how far the client has come.
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

// close ends all connections and waits until none is served.
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

// dial connects a client in the process.
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

// send reports whether the client has received text.
func (c *faultConn) send(text string) bool {
	_, err := io.WriteString(c, text)
	return err == nil
}

// drip sends text once a second until the client closes the connection.
func (c *faultConn) drip(text string) {
	for c.send(text) {
		time.Sleep(time.Second)
	}
}

// hold keeps the connection open, and sends nothing, until the client closes it.
func (c *faultConn) hold() { _, _ = io.Copy(io.Discard, c.reader) }

// await waits for a report of the client's trace.
func (c *faultConn) await(done <-chan struct{}) {
	select {
	case <-done:
	case <-c.server.closing:
	}
}

// reset closes the connection with a TCP reset.
func (c *faultConn) reset() {
	assert.NoError(c.server.t, c.Conn.(*net.TCPConn).SetLinger(0))
	_ = c.Close()
}

// responding sends the same response to each request of a connection.
func responding(status, body string, header ...string) func(*faultConn) {
	lines := append([]string{"HTTP/1.1 " + status}, header...)
	if !strings.Contains(strings.Join(header, "\n"), "Content-Length:") {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	response := strings.Join(lines, "\r\n") + "\r\n\r\n" + body
	return func(c *faultConn) {
		for c.readRequest() && c.send(response) && !strings.Contains(response, "Connection: close") {
		}
	}
}
