package cdn_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"example.com/huaweicloud/cdn"
)

// ending is one end of an exchange by the server.
type ending struct {
	name string
	// end ends the exchange after the server has read the request.
	end func(e *exchange)
}

// exchange is one request on one connection of the server.
type exchange struct {
	conn   net.Conn
	framer *http2.Framer // nil over HTTP/1
	stream uint32
	// accepted is whether the service has made a task of the request.
	accepted bool
}

// reset closes the connection with a TCP reset.
func (e *exchange) reset() {
	conn := e.conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// respond sends a whole response.
func (e *exchange) respond(status int, body string, header ...string) {
	if e.framer == nil {
		var b strings.Builder
		fmt.Fprintf(&b, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n", status, len(body))
		for i := 0; i < len(header); i += 2 {
			fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
		}
		_, _ = io.WriteString(e.conn, b.String()+"\r\n"+body)
		return
	}
	e.headers(status, body == "", header...)
	if body != "" {
		_ = e.framer.WriteData(e.stream, true, []byte(body))
	}
}

// headers sends the HEADERS frame of a response.
func (e *exchange) headers(status int, end bool, header ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	for i := 0; i < len(header); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(header[i]), Value: header[i+1]})
	}
	_ = e.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: e.stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// responses are endings that have a status, over both protocols.
func responses() []ending {
	endings := []ending{
		{"200, empty", func(e *exchange) { e.respond(200, "") }},
		{"200, a task id", func(e *exchange) { e.respond(200, `{"task_id":"t1","message":"task created"}`) }},
		{"200, code 0", func(e *exchange) { e.respond(200, `{"code":0,"message":"ok"}`) }},
		{"200, null", func(e *exchange) { e.respond(200, "null") }},
		{"200, HTML", func(e *exchange) { e.respond(200, "<html>") }},
		{"200, internal error", func(e *exchange) { e.respond(200, `{"error":{"error_code":"CDN.0000"}}`) }},
		{"202, a message", func(e *exchange) { e.respond(202, `{"message":"accepted"}`) }},
		{"503, Retry-After: 0", func(e *exchange) { e.respond(503, "", "Retry-After", "0") }},
		{"401, dated 1990", func(e *exchange) {
			e.respond(401, `{"error_code":"APIGW.0301","error_msg":"x"}`, "Date", "Mon, 01 Jan 1990 00:00:00 GMT")
		}},
	}
	for _, status := range []int{300, 303, 307, 400, 403, 404, 408, 409, 413, 500, 501, 502, 503, 504} {
		endings = append(endings, ending{strconv.Itoa(status), func(e *exchange) { e.respond(status, "") }})
	}
	return endings
}

// refuses reports whether the status of an ending means that there is no task.
func refuses(ending string) bool {
	return strings.HasPrefix(ending, "4") && ending != "408"
}

// contradicts reports whether an ending denies what the server did: it refuses after it made a task, or it
// reports success without one.
func contradicts(ending string, makesTask bool) bool {
	switch {
	case makesTask:
		return refuses(ending)
	case ending == "200, null", ending == "200, HTML", ending == "200, internal error":
		return false
	}
	return strings.HasPrefix(ending, "20")
}

// endings1 are endings of HTTP/1.1 without a whole response.
var endings1 = []ending{
	{"closed", closing(func(*exchange) {})},
	{"reset", (*exchange).reset},
	{"100 Continue, then closed", closing(func(e *exchange) { _, _ = io.WriteString(e.conn, "HTTP/1.1 100 Continue\r\n\r\n") })},
	{"103 Early Hints, then reset", func(e *exchange) { _, _ = io.WriteString(e.conn, "HTTP/1.1 103 X\r\n\r\n"); e.reset() }},
	{"cut in the status line", closing(func(e *exchange) { _, _ = io.WriteString(e.conn, "HTTP/1.1 20") })},
	{"cut in the headers", closing(func(e *exchange) { _, _ = io.WriteString(e.conn, "HTTP/1.1 200 OK\r\nContent-Le") })},
	{"cut in the body", closing(func(e *exchange) { _, _ = io.WriteString(e.conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}") })},
	{"cut in a chunk", closing(func(e *exchange) {
		_, _ = io.WriteString(e.conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}")
	})},
}

func goAway(last uint32, code http2.ErrCode) func(*exchange) {
	return func(e *exchange) { _ = e.framer.WriteGoAway(last, code, nil) }
}

func rstStream(code http2.ErrCode) func(*exchange) {
	return func(e *exchange) { _ = e.framer.WriteRSTStream(e.stream, code) }
}

// closing returns an ending that closes the connection after send.
func closing(send func(*exchange)) func(*exchange) {
	return func(e *exchange) {
		send(e)
		_ = e.conn.Close()
	}
}

// endings2 are endings of HTTP/2 without a whole response.
var endings2 = []ending{
	{"closed", closing(func(*exchange) {})},
	{"reset", (*exchange).reset},
	{"GOAWAY, last stream 0", goAway(0, http2.ErrCodeNo)},
	{"GOAWAY, last stream 0, an error", goAway(0, http2.ErrCodeProtocol)},
	{"GOAWAY, this stream the last, then closed", closing(func(e *exchange) { _ = e.framer.WriteGoAway(e.stream, http2.ErrCodeNo, nil) })},
	{"RST_STREAM NO_ERROR", rstStream(http2.ErrCodeNo)},
	{"RST_STREAM PROTOCOL_ERROR", rstStream(http2.ErrCodeProtocol)},
	{"RST_STREAM INTERNAL_ERROR", rstStream(http2.ErrCodeInternal)},
	{"RST_STREAM REFUSED_STREAM", rstStream(http2.ErrCodeRefusedStream)},
	{"RST_STREAM CANCEL", rstStream(http2.ErrCodeCancel)},
	{"RST_STREAM ENHANCE_YOUR_CALM", rstStream(http2.ErrCodeEnhanceYourCalm)},
	{"RST_STREAM HTTP_1_1_REQUIRED", rstStream(http2.ErrCodeHTTP11Required)},
	{"100, then closed", closing(func(e *exchange) { e.headers(100, false) })},
	{"103, then REFUSED_STREAM", func(e *exchange) { e.headers(103, false); rstStream(http2.ErrCodeRefusedStream)(e) }},
	{"cut after HEADERS", closing(func(e *exchange) { e.headers(200, false, "Content-Length", "9") })},
	{"HEADERS, then REFUSED_STREAM", func(e *exchange) { e.headers(200, false); rstStream(http2.ErrCodeRefusedStream)(e) }},
	{"cut within DATA", closing(func(e *exchange) {
		e.headers(200, false, "Content-Length", "9")
		_ = e.framer.WriteData(e.stream, false, []byte("{}"))
	})},
	{"DATA shorter than announced", func(e *exchange) {
		e.headers(200, false, "Content-Length", "9")
		_ = e.framer.WriteData(e.stream, true, []byte("{}"))
	}},
}

// endingServer is a service that reads requests and ends each in the same way.
type endingServer struct {
	http.Transport
	url                          string
	connections, requests, tasks atomic.Int64
	whole                        bool // whether a request is read to its end
	accept                       bool // whether a request that was read makes a task
	end                          ending
	second                       func(*exchange) // ends each request after the first, which makes a task; nil for end
}

func (s *endingServer) start(t *testing.T, h2 bool) {
	t.Helper()
	protocol := "http/1.1"
	if h2 {
		protocol = "h2"
	}
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	config := certificates.TLS.Clone()
	s.TLSClientConfig = certificates.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	certificates.Close()
	config.NextProtos = []string{protocol}
	s.ForceAttemptHTTP2 = h2
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	s.url = "https://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			serving.Go(func() { s.serve(conn, h2) })
		}
	})
	t.Cleanup(func() {
		s.CloseIdleConnections()
		_ = listener.Close()
		stop()
		serving.Wait()
	})
}

func (s *endingServer) serve(conn net.Conn, h2 bool) {
	defer func() { _ = conn.Close() }()
	e := &exchange{conn: conn}
	read := s.read1
	if h2 {
		read = s.open2(e)
	}
	for read(e) {
		n := s.requests.Add(1)
		if s.second != nil && n > 1 {
			s.tasks.Add(1)
			s.second(e)
			continue
		}
		if e.accepted {
			s.tasks.Add(1)
		}
		s.end.end(e)
	}
}

// read1 reads a request, or its header only.
func (s *endingServer) read1(e *exchange) bool {
	reader := bufio.NewReader(e.conn)
	req, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	e.accepted = false
	if s.whole {
		_, err = io.Copy(io.Discard, req.Body)
		e.accepted = err == nil && s.accept
	}
	return err == nil
}

// open2 begins an HTTP/2 connection and returns the function that reads a request from it.
func (s *endingServer) open2(e *exchange) func(*exchange) bool {
	preface := make([]byte, len(http2.ClientPreface))
	_, err := io.ReadFull(e.conn, preface)
	e.framer = http2.NewFramer(e.conn, e.conn)
	_ = e.framer.WriteSettings()
	return func(e *exchange) bool {
		for err == nil {
			var frame http2.Frame
			frame, err = e.framer.ReadFrame()
			if err != nil {
				return false
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = e.framer.WriteSettingsAck()
				}
			case *http2.PingFrame:
				_ = e.framer.WritePing(true, frame.Data)
			case *http2.HeadersFrame:
				e.stream = frame.StreamID
				e.accepted = frame.StreamEnded() && s.accept
				if !s.whole || frame.StreamEnded() {
					return true
				}
			case *http2.DataFrame:
				if s.whole && frame.StreamEnded() {
					e.accepted = s.accept
					return true
				}
			}
		}
		return false
	}
}

// client returns a client of the server with short delays.
func (s *endingServer) client(t *testing.T, opts ...cdn.Option) *cdn.CdnClient {
	t.Helper()
	client, err := cdn.NewCdnClient(append([]cdn.Option{
		cdn.WithAKSK("ak", "sk"), cdn.WithEndpoint(s.url), cdn.WithHTTPClient(&http.Client{Transport: &s.Transport}),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}),
	}, opts...)...)
	require.NoError(t, err)
	return client
}

// A create makes at most one task. An error that does not wrap ErrOutcomeUnknown means that there is none.
func TestCreate_every_end_of_the_exchange(t *testing.T) {
	table := &endingTable{}
	for _, h2 := range []bool{false, true} {
		protocol, endings := "HTTP/1.1", append(responses(), endings1...)
		if h2 {
			protocol, endings = "HTTP/2", append(responses(), endings2...)
		}
		for _, ending := range endings {
			for _, read := range []string{"the headers", "all, makes no task", "all, makes a task"} {
				if !h2 && read == "the headers" && strings.HasPrefix(ending.name, "401") {
					continue // the second request may or may not find the connection closed
				}
				if contradicts(ending.name, read == "all, makes a task") {
					continue
				}
				t.Run(protocol+"/"+read+"/"+ending.name, func(t *testing.T) {
					s := &endingServer{whole: read != "the headers", accept: read == "all, makes a task", end: ending}
					s.start(t, h2)
					_, err := s.client(t).CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{Action: "x"})
					checkCreate(t, s, err)
					table.add(protocol, read, ending.name, fmt.Sprintf("%d | %d | %s", s.requests.Load(), s.tasks.Load(), outcomeOf(err)))
				})
			}
		}
	}
	if !t.Failed() {
		checkTable(t, "TestCreate_every_end_of_the_exchange", table.String())
	}
}

// endingTable has a row for each outcome, with all its endings.
type endingTable struct {
	rows    []string
	endings map[string][]string
}

func (e *endingTable) add(protocol, read, ending, outcome string) {
	if e.endings == nil {
		e.endings = map[string][]string{}
	}
	row := protocol + " | " + read + " | %s | " + outcome
	if e.endings[row] == nil {
		e.rows = append(e.rows, row)
	}
	e.endings[row] = append(e.endings[row], ending)
}

func (e *endingTable) String() string {
	var b strings.Builder
	b.WriteString("| protocol | the server reads | and ends with | requests | tasks | error |\n|---|---|---|---|---|---|\n")
	for _, row := range e.rows {
		fmt.Fprintf(&b, "| "+row+" |\n", strings.Join(e.endings[row], "; "))
	}
	return b.String()
}

// The server makes a task of each request of the create, so the client must send one only.
func TestCreate_second_request_accepted(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		endings := append(responses(), endings1...)
		if h2 {
			endings = append(responses(), endings2...)
		}
		for _, ending := range endings {
			if refuses(ending.name) {
				continue
			}
			t.Run(fmt.Sprintf("h2=%v/%s", h2, ending.name), func(t *testing.T) {
				s := &endingServer{whole: true, accept: true, end: ending, second: func(e *exchange) { e.respond(200, "") }}
				s.start(t, h2)
				_, err := s.client(t).CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{Action: "x"})
				checkCreate(t, s, err)
				assert.EqualValues(t, 1, s.requests.Load())
			})
		}
	}
}

func checkCreate(t *testing.T, s *endingServer, err error) {
	t.Helper()
	tasks := s.tasks.Load()
	assert.LessOrEqual(t, tasks, int64(1), "two tasks")
	if err == nil {
		assert.EqualValues(t, 1, tasks, "success without a task")
		return
	}
	if tasks > 0 {
		assert.ErrorIs(t, err, cdn.ErrOutcomeUnknown, "there is a task")
	}
	assert.LessOrEqual(t, s.requests.Load(), int64(4))
	assert.LessOrEqual(t, s.connections.Load(), int64(16))
}

func outcomeOf(err error) string {
	var response *cdn.APIError
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, cdn.ErrOutcomeUnknown) && errors.Is(err, cdn.ErrMalformedResponse):
		return "`ErrOutcomeUnknown`, `ErrMalformedResponse`"
	case errors.Is(err, cdn.ErrOutcomeUnknown):
		return "`ErrOutcomeUnknown`"
	case errors.As(err, &response):
		return "refused: `*APIError`"
	}
	return "not sent"
}

// A list is retried after each failure of the connection.
func TestList_second_request_succeeds(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		endings := endings1
		if h2 {
			endings = endings2
		}
		for _, ending := range endings {
			if ending.name == "cut in the status line" {
				continue // net/http reports it as a malformed response
			}
			t.Run(fmt.Sprintf("h2=%v/%s", h2, ending.name), func(t *testing.T) {
				s := &endingServer{whole: true, end: ending, second: func(e *exchange) { e.respond(200, faultResponse) }}
				s.start(t, h2)
				got, err := s.client(t).ListExportTasks(t.Context(), nil)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, got.Attempts, 2)
				assert.LessOrEqual(t, s.requests.Load(), int64(3), "at most one hidden repeat")
			})
		}
	}
}

// net/http repeats a GET by itself after these endings. Each repeat counts as an attempt and waits for the limiter.
func TestList_hidden_repeats_are_bounded(t *testing.T) {
	for _, ending := range endings2 {
		t.Run(ending.name, func(t *testing.T) {
			s := &endingServer{whole: true, end: ending}
			s.start(t, true)
			asked := &countingLimiter{}
			_, err := s.client(t, cdn.WithRateLimiter(asked)).ListExportTasks(t.Context(), nil)
			require.Error(t, err)
			assert.LessOrEqual(t, s.requests.Load(), int64(8), "at most one more request for each of the four attempts")
			assert.LessOrEqual(t, s.connections.Load(), int64(16))
			assert.LessOrEqual(t, asked.Load(), int64(4))
			assert.GreaterOrEqual(t, asked.Load()*2, s.requests.Load())
		})
	}
}

// net/http repeats a request only if it has a GetBody.
func TestCreate_request_has_no_GetBody(t *testing.T) {
	var sent *http.Request
	client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithHTTPClient(&http.Client{Transport: storeTransport(func(req *http.Request) (*http.Response, error) {
		sent = req
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})}))
	require.NoError(t, err)
	_, err = client.CreateExportTask(t.Context(), &cdn.CreateExportTaskRequest{Action: "x"})
	require.NoError(t, err)
	assert.Nil(t, sent.GetBody)
}
