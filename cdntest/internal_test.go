package cdntest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestEndpoint(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"http://127.0.0.1:80":   &net.TCPAddr{IP: net.IPv4zero, Port: 80},
		"http://127.0.0.1:81":   &net.TCPAddr{IP: net.IPv6unspecified, Port: 81},
		"http://[::1]:82":       &net.TCPAddr{IP: net.IPv6loopback, Port: 82},
		"http://192.0.2.1:8080": &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080},
	} {
		assert.Equal(t, want, endpoint(addr))
	}
}

func TestBaseURL(t *testing.T) {
	assert.Equal(t, "http://a:1", baseURL(&http.Request{Host: "a:1"}, "http://b"))
	assert.Equal(t, "http://b", baseURL(&http.Request{}, "http://b"), "HTTP/1.0 has no host")
}

// The client's end alone ends a delay; over the network, the server's end could not be told from it.
func TestDelayEndsWithTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		Fault{Delay: time.Hour}.serve(w, r, func(http.ResponseWriter, *http.Request) { t.Error("the request was handled") })
	})
	assert.Empty(t, w.Body.String())
}

func TestRequestLogDoesNotGrow(t *testing.T) {
	log := requestLog{keep: 5}
	for range 100 {
		log.add(httptest.NewRequest(http.MethodGet, "/", nil), nil)
		assert.LessOrEqual(t, len(log.latest), 10)
	}
}

func TestReset_without_a_connection_aborts_the_handler(t *testing.T) {
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { reset(httptest.NewRecorder()) })
}
