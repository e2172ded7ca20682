package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTripper responds in place of the network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// configOf returns a configuration without delays whose requests transport sends.
func configOf(transport http.RoundTripper) Config {
	return Config{
		Client:         &http.Client{Transport: transport},
		UserAgent:      "test/1",
		Logger:         slog.New(slog.DiscardHandler),
		MaxAttempts:    4,
		MinBackoff:     2,
		MaxBackoff:     2,
		AttemptTimeout: 30 * time.Second,
		Loopback:       true,
	}
}

// sourceOf returns a source of one link.
func sourceOf(link string) Source {
	return func(context.Context) (*url.URL, error) { return url.Parse(link) }
}

const storeLink = "https://store.example/f?Signature=s3cret"

// respond returns a response as net/http would return it.
func respond(status int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode:    status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Add(header[i], header[i+1])
	}
	return resp
}

// cut returns a response whose body breaks off.
func cut(status, length int, body string, header ...string) *http.Response {
	resp := respond(status, "", header...)
	resp.ContentLength = int64(length)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), failingReader{io.ErrUnexpectedEOF}))
	return resp
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// script responds to the first request with the first response, and so on. Any further request fails the test.
func script(t *testing.T, responses ...*http.Response) (roundTripper, *[]*http.Request) {
	t.Helper()
	requests := &[]*http.Request{}
	return func(req *http.Request) (*http.Response, error) {
		*requests = append(*requests, req)
		if len(*requests) > len(responses) {
			t.Errorf("request %d: %v", len(*requests), req.Header)
			return nil, io.ErrClosedPipe
		}
		resp := responses[len(*requests)-1]
		resp.Request = req
		return resp, nil
	}, requests
}

// memory is a sink that can be restarted.
type memory struct {
	bytes.Buffer
	restarts int
}

// Write returns an error for an empty p.
func (m *memory) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, errEmptyWrite
	}
	return m.Buffer.Write(p)
}

var errEmptyWrite = errors.New("an empty write")

func (m *memory) Restart() error {
	m.restarts++
	m.Reset()
	return nil
}

// newServer starts a server. Its client is that of the server.
func newServer(t *testing.T, http2 bool, handler http.HandlerFunc) (*httptest.Server, Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server, configOf(server.Client().Transport)
}

func randomBytes(seed byte, n int) []byte {
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
	return content
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newGzipWriter(&b)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}
