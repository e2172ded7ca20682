package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowBody brings a byte after each pause. It never ends if left is negative.
type slowBody struct {
	ctx   context.Context
	pause time.Duration
	left  int
	bytes string // repeated; "x" if it is empty
	n     int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pause):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.left--
	b.n++
	if b.bytes == "" {
		return copy(p, "x"), nil
	}
	return copy(p, b.bytes[(b.n-1)%len(b.bytes):][:1]), nil
}

func (*slowBody) Close() error { return nil }

// slowStore responds to each request with what respond returns for its number.
func slowStore(respond func(req *http.Request, number int) *http.Response) (roundTripper, *int) {
	requests := new(int)
	return func(req *http.Request) (*http.Response, error) {
		*requests++
		return respond(req, *requests), nil
	}, requests
}

// slow returns a response that announces length bytes and brings bytes slowly.
func slow(req *http.Request, length, bytes int, pause time.Duration) *http.Response {
	resp := respond(200, "", "ETag", `"v1"`)
	resp.ContentLength, resp.Body = int64(length), &slowBody{ctx: req.Context(), pause: pause, left: bytes}
	return resp
}

// took runs f and returns how long it took.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestSilence(t *testing.T) {
	const timeout = 30 * time.Second
	tests := []struct {
		name     string
		respond  func(req *http.Request, number int) *http.Response
		written  int64
		err      error  // nil for none
		text     string // in the error
		requests int
		took     time.Duration
	}{
		{
			"slow bytes that come in time", func(req *http.Request, _ int) *http.Response { return slow(req, 100, 100, 20*time.Second) },
			100, nil, "", 1, 100 * 20 * time.Second,
		},
		{
			"no byte in time", func(req *http.Request, _ int) *http.Response { return slow(req, 100, 100, time.Minute) },
			0, context.DeadlineExceeded, "no byte within 30s: context deadline exceeded (4 attempts in a row brought nothing)", 4, 4 * timeout,
		},
		{
			"no more byte in time", func(req *http.Request, number int) *http.Response {
				resp := slow(req, 100, 100, time.Hour)
				if number == 1 {
					resp.Body = struct {
						io.Reader
						closer
					}{io.MultiReader(strings.NewReader("xxxxx"), resp.Body), closer{}}
				}
				return resp
			},
			5, context.DeadlineExceeded, "no byte within 30s", 5, 5 * timeout,
		},
		{
			"no header in time", func(req *http.Request, _ int) *http.Response {
				<-req.Context().Done()
				return slow(req, 1, 1, time.Minute)
			},
			0, context.DeadlineExceeded, "no byte within 30s", 4, 4 * timeout,
		},
		{
			"an error's body that trickles", func(req *http.Request, _ int) *http.Response {
				resp := slow(req, -1, -1, 20*time.Second)
				resp.StatusCode = 404
				return resp
			},
			0, new(StoreError), "status 404", 1, timeout,
		},
		{
			"an error's body without end", func(req *http.Request, _ int) *http.Response {
				resp := slow(req, -1, -1, 0)
				resp.StatusCode = 404
				return resp
			},
			0, new(StoreError), "status 404", 1, 0,
		},
		{
			"skipping as slowly as at first", func(req *http.Request, number int) *http.Response {
				if number == 1 {
					return slow(req, 100, 50, 20*time.Second)
				}
				return slow(req, 100, 100, 20*time.Second)
			},
			100, nil, "", 2, 150 * 20 * time.Second,
		},
		{
			"skipping more slowly", func(req *http.Request, number int) *http.Response {
				if number == 1 {
					return slow(req, 100, 50, time.Second)
				}
				return slow(req, 100, 100, 20*time.Second)
			},
			50, context.DeadlineExceeded, "no byte within 30s", 5, 50*time.Second + 4*(50*time.Second+timeout),
		},
		{
			"skipping that stops", func(req *http.Request, number int) *http.Response {
				if number == 1 {
					return slow(req, 100, 50, 20*time.Second)
				}
				return slow(req, 100, 100, time.Hour)
			},
			50, context.DeadlineExceeded, "no byte within 30s", 5, 50*20*time.Second + 4*timeout,
		},
		{
			"gzip that decodes to nothing", func(req *http.Request, _ int) *http.Response {
				resp := slow(req, -1, -1, time.Second)
				resp.Header.Set("Content-Encoding", "gzip")
				resp.TransferEncoding = []string{"chunked"}
				empty := string(gzipped(t, nil))
				resp.Body.(*slowBody).bytes = empty
				return resp
			},
			0, context.DeadlineExceeded, "no byte within 30s", 4, 4 * timeout,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, requests := slowStore(test.respond)
				var b bytes.Buffer
				var n int64
				var err error
				duration := took(func() { n, err = Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{&b}) })
				assert.Equal(t, test.written, n)
				assert.EqualValues(t, test.written, b.Len())
				assert.Equal(t, test.requests, *requests)
				assert.InDelta(t, test.took, duration, float64(time.Second))
				if test.err == nil {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, test.text)
				if response := new(StoreError); !errors.As(test.err, &response) {
					require.ErrorIs(t, err, test.err)
				} else {
					require.ErrorAs(t, err, &response)
				}
			})
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The time that the sink takes is not silence of the store.
func TestSilence_slow_sink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, requests := slowStore(func(req *http.Request, _ int) *http.Response { return slow(req, 5, 5, time.Second) })
		sink := writerFunc(func(p []byte) (int, error) { time.Sleep(time.Hour); return len(p), nil })
		n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{sink})
		require.NoError(t, err)
		assert.EqualValues(t, 5, n)
		assert.Equal(t, 1, *requests)
	})
}

// lateBody brings a byte when the attempt has ended already.
type lateBody struct{}

func (lateBody) Read(p []byte) (int, error) { time.Sleep(time.Minute); return copy(p, "x"), nil }
func (lateBody) Close() error               { return nil }

// The error of the sink is returned also if the attempt has timed out and the context has ended.
func TestSilence_sink_fails_later(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _ := slowStore(func(*http.Request, int) *http.Response {
			resp := respond(200, "")
			resp.ContentLength, resp.Body = 10, lateBody{}
			return resp
		})
		full, writes := errors.New("disk full"), 0
		ctx, cancel := context.WithCancel(t.Context())
		sink := writerFunc(func([]byte) (int, error) { writes++; cancel(); return 0, full })
		_, err := Copy(ctx, configOf(store), sourceOf(storeLink), Writer{sink})
		require.ErrorIs(t, err, full)
		require.NotErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, writes)
	})
}

func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 70*time.Second, errors.New("closing time"))
		defer cancel()
		store, requests := slowStore(func(req *http.Request, _ int) *http.Response { return slow(req, 1, 1, time.Hour) })
		_, err := Copy(ctx, configOf(store), sourceOf(storeLink), &memory{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualError(t, err, "context deadline exceeded: closing time")
		assert.Equal(t, 3, *requests)
	})
}
