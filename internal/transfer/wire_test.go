package transfer

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestEndings1 has responses over HTTP/1.1. The server sends each to the first request and closes the connection,
// and responds to the second request with the whole file.
func TestEndings1(t *testing.T) {
	const chunked = "Transfer-Encoding: chunked\n"
	tests := []struct {
		name, response string
		requests       int
		want           string // in the sink
	}{
		{"length", "Content-Length: 4\n\nabcd", 1, "abcd"},
		{"length too long", "Content-Length: 5\n\nabcd", 2, "whole"},
		{"length too short", "Content-Length: 2\n\nabcd", 1, "ab"},
		{"length twice", "Content-Length: 4\nContent-Length: 4\n\nabcd", 1, "abcd"},
		{"two lengths", "Content-Length: 4\nContent-Length: 2\n\nabcd", 1, ""},
		{"length below 0", "Content-Length: -1\n\nabcd", 1, ""},
		{"length that is no number", "Content-Length: 0x4\n\nabcd", 1, ""},
		{"chunks", chunked + "\n4\nabcd\n0\n\n", 1, "abcd"},
		{"chunks and a length", chunked + "Content-Length: 2\n\n4\nabcd\n0\n\n", 1, "abcd"},
		{"chunks with a trailer", chunked + "\n4\nabcd\n0\nX: y\n\n", 1, "abcd"},
		{"chunks without the last", chunked + "\n4\nabcd\n", 2, "whole"},
		{"chunks cut in the last", chunked + "\n4\nabcd\n0\n", 2, "whole"},
		{"chunks cut in a trailer", chunked + "\n4\nabcd\n0\nX: y\n", 2, "whole"},
		{"chunk too short", chunked + "\n5\nabcd", 2, "whole"},
		{"chunk too long", chunked + "\n3\nabcd\n0\n\n", 2, "whole"},
		{"chunk of no number", chunked + "\n4\nabcd\nx\n\n", 2, "whole"},
		{"chunk of a number too large", chunked + "\n4\nabcd\nfffffffffffffffff\n", 2, "whole"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			server, config := newServer(t, false, func(w http.ResponseWriter, r *http.Request) {
				if requests++; requests == 1 {
					raw("HTTP/1.1 200 OK\n"+test.response, nil)(w, r, requests)
					return
				}
				_, _ = io.WriteString(w, "whole")
			})
			assertEnding(t, config, server.URL, test.want)
			assert.Equal(t, test.requests, requests)
		})
	}
}

// assertEnding copies from link. An empty want is for an error.
func assertEnding(t *testing.T, config Config, link, want string) {
	t.Helper()
	var sink memory
	_, err := Copy(t.Context(), config, sourceOf(link), &sink)
	if want == "" {
		require.Error(t, err)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, want, sink.String())
}

// stream is one stream of an HTTP/2 connection.
type stream struct {
	*http2.Framer
	conn net.Conn
	id   uint32
}

// headers sends headers. It ends the stream if end is set.
func (s *stream) headers(end bool, header ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(header); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: header[i], Value: header[i+1]})
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// begin sends the headers of a response of this length, and a body without its end.
func (s *stream) begin(length int, body string) {
	header := []string{":status", "200"}
	if length >= 0 {
		header = append(header, "content-length", strconv.Itoa(length))
	}
	s.headers(false, header...)
	_ = s.WriteData(s.id, false, []byte(body))
}

func (s *stream) reset(code http2.ErrCode) { _ = s.WriteRSTStream(s.id, code) }

func (s *stream) goAway(last uint32) {
	_ = s.WriteGoAway(last, http2.ErrCodeNo, nil)
	_ = s.conn.Close()
}

// serve2 responds to the requests on an HTTP/2 connection.
func serve2(conn net.Conn, respond func(*stream)) {
	defer conn.Close()
	framer := http2.NewFramer(conn, conn)
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = framer.WritePing(true, frame.Data)
		case *http2.HeadersFrame:
			respond(&stream{framer, conn, frame.StreamID})
		}
	}
}

// newServer2 starts a server that speaks HTTP/2 without encryption.
func newServer2(t *testing.T, respond func(*stream)) (link string, config Config) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() { _ = listener.Close(); transport.CloseIdleConnections() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve2(conn, respond)
		}
	}()
	return fmt.Sprintf("http://%s/f", listener.Addr()), configOf(transport)
}

// TestEndings2 has responses over HTTP/2, each to the first request. The second response has the whole file.
func TestEndings2(t *testing.T) {
	tests := []struct {
		name     string
		respond  func(*stream)
		requests int32
		want     string
	}{
		{"end of data", func(s *stream) { s.begin(-1, "ab"); _ = s.WriteData(s.id, true, []byte("cd")) }, 1, "abcd"},
		{"end in a trailer", func(s *stream) { s.begin(-1, "abcd"); s.headers(true, "x", "y") }, 1, "abcd"},
		{"end before the announced length", func(s *stream) { s.begin(5, "ab"); _ = s.WriteData(s.id, true, []byte("cd")) }, 2, "whole"},
		{"more than the announced length", func(s *stream) { s.begin(3, "ab"); _ = s.WriteData(s.id, false, []byte("cd")) }, 1, ""},
		{"reset without error", func(s *stream) { s.begin(-1, "abcd"); s.reset(http2.ErrCodeNo) }, 2, "whole"},
		{"reset without error behind the announced length", func(s *stream) { s.begin(4, "abcd"); s.reset(http2.ErrCodeNo) }, 1, "abcd"},
		{"reset with an internal error", func(s *stream) { s.begin(-1, "abcd"); s.reset(http2.ErrCodeInternal) }, 2, "whole"},
		{"reset as cancelled", func(s *stream) { s.begin(-1, "abcd"); s.reset(http2.ErrCodeCancel) }, 2, "whole"},
		{"GOAWAY after this stream", func(s *stream) { s.begin(-1, "abcd"); s.goAway(s.id) }, 2, "whole"},
		{"GOAWAY before this stream", func(s *stream) { s.begin(-1, "abcd"); s.goAway(0) }, 2, "whole"},
		{"closed", func(s *stream) { s.begin(-1, "abcd"); _ = s.conn.Close() }, 2, "whole"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var requests atomic.Int32
			link, config := newServer2(t, func(s *stream) {
				if requests.Add(1) == 1 {
					test.respond(s)
					return
				}
				s.begin(5, "wh")
				_ = s.WriteData(s.id, true, []byte("ole"))
			})
			assertEnding(t, config, link, test.want)
			assert.Equal(t, test.requests, requests.Load())
		})
	}
}
