package cdn

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rawServer sends the same bytes to each connection once it has read something from it, and closes the connection.
func rawServer(t *testing.T, response string) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, response)
				// A connection that is closed with unread bytes is reset, and the client may lose the response.
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return "http://" + listener.Addr().String()
}

// texts returns the text of err and of each error that it wraps.
func texts(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error() + "\n"
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		text += texts(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range wrapper.Unwrap() {
			text += texts(cause)
		}
	}
	return text
}

// net/http quotes what it cannot read of a response. Programs may log each error of a chain.
func TestSecrets_echoed_in_a_response_that_is_not_HTTP(t *testing.T) {
	const token = "s3cret-token-0123456789"
	for name, test := range map[string]struct {
		response string
		attempts string
	}{
		"header without a colon":    {"HTTP/1.1 200 OK\r\nX-Security-Token " + token + "\r\n\r\n", "(4 attempts)"},
		"header as status line":     {"X-Security-Token: " + token + "\r\n\r\n", ""},
		"first line":                {token + "\r\n\r\n", ""},
		"Content-Length":            {"HTTP/1.1 200 OK\r\nContent-Length: " + token + "\r\n\r\n", ""},
		"Transfer-Encoding":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + token + "\r\n\r\n", ""},
		"Content-Encoding":          {"HTTP/1.1 200 OK\r\nContent-Encoding: " + token + "\r\nContent-Length: 0\r\n\r\n", ""},
		"Location":                  {"HTTP/1.1 307 X\r\nLocation: https://x.example/" + token + "\r\nContent-Length: 0\r\n\r\n", ""},
		"Location that is no URL":   {"HTTP/1.1 307 X\r\nLocation: https://x.example:" + token + "\r\nContent-Length: 0\r\n\r\n", ""},
		"request id":                {"HTTP/1.1 400 X\r\nConnection: close\r\nX-Request-Id: " + token + "\r\nContent-Length: 0\r\n\r\n", ""},
		"code, escaped in entities": {"HTTP/1.1 400 X\r\nConnection: close\r\n\r\n{\"code\":\"&#115;3cret-token&#45;0123456789\"}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client, err := NewCdnClient(WithCredentials(testCredentials("ak", "sk", token)), WithEndpoint(rawServer(t, test.response)),
				WithRetryPolicy(RetryPolicy{MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}),
				WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			require.NoError(t, err)
			defer client.CloseIdleConnections()
			_, err = client.ListExportTasks(t.Context(), nil)
			require.Error(t, err)
			shown := texts(err) + log.String()
			assert.NotContains(t, shown, token)
			assert.NotContains(t, shown, "3cret-token")
			assert.Contains(t, err.Error(), test.attempts)
			_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
			require.Error(t, err)
			assert.NotContains(t, texts(err), "s3cret")
			assert.Equal(t, !strings.Contains(test.response, " 400 "), isUnknown(err))
		})
	}
}

func isUnknown(err error) bool { return strings.Contains(err.Error(), ErrOutcomeUnknown.Error()) }

// A server may send any three digits as a status.
func TestStatus_outside_the_registered_range(t *testing.T) {
	for _, status := range []string{"000", "099", "600", "999"} {
		t.Run(status, func(t *testing.T) {
			client := newTestClient(t, &http.Transport{DisableKeepAlives: true},
				WithEndpoint(rawServer(t, "HTTP/1.1 "+status+" X\r\nContent-Length: 0\r\n\r\n")))
			_, err := client.ListExportTasks(t.Context(), nil)
			var response *APIError
			require.ErrorAs(t, err, &response)
			assert.Equal(t, 1, response.Attempts)
			_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
			require.ErrorIs(t, err, ErrOutcomeUnknown)
		})
	}
}
