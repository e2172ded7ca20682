package cdn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowBody brings a byte each time that a pause is over.
type slowBody struct {
	ctx   context.Context
	pause time.Duration
	left  int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pause):
		b.left--
		return copy(p, "x"), nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (*slowBody) Close() error { return nil }

// downloadFrom is a client whose store answers with bodies that bring bytes slowly.
func downloadFrom(t *testing.T, pause time.Duration, bytes int) (*CdnClient, *int) {
	service := &fakeService{tasks: []ExportTask{{TaskID: "a", Status: ExportTaskSuccess, DownloadLink: "https://store.example/f?Signature=s3cret"}}}
	requests := new(int)
	return newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host != "store.example" {
			return service.RoundTrip(req)
		}
		*requests++
		return &http.Response{StatusCode: 200, ContentLength: int64(bytes), Body: &slowBody{req.Context(), pause, bytes}, Request: req}, nil
	})), requests
}

// An attempt lasts as long as bytes come, and is given up when none comes for the time of one attempt.
func TestDownloadStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, requests := downloadFrom(t, 20*time.Second, 100)
		n, err := client.Download(t.Context(), "a", io.Discard)
		require.NoError(t, err)
		assert.Equal(t, int64(100), n)
		assert.Equal(t, 1, *requests)

		client, requests = downloadFrom(t, time.Minute, 100)
		start := time.Now()
		_, err = client.Download(t.Context(), "a", io.Discard)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "no byte within 30s")
		assert.ErrorContains(t, err, "4 attempts in a row brought nothing")
		assert.NotContains(t, err.Error(), "s3cret")
		assert.Equal(t, 4, *requests)
		assert.InDelta(t, 2*time.Minute, time.Since(start), float64(5*time.Second))
	})
}

// A store without ranges sends again what is written: that is no pause, however long it takes.
func TestDownloadIsPassedOverForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{tasks: []ExportTask{{TaskID: "a", Status: ExportTaskSuccess, DownloadLink: "https://store.example/f"}}}
		requests := 0
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host != "store.example" {
				return service.RoundTrip(req)
			}
			body := &slowBody{req.Context(), 20 * time.Second, 100}
			if requests++; requests == 1 {
				body.left = 50 // and then it ends early
			}
			return &http.Response{StatusCode: 200, ContentLength: 100, Body: body, Request: req}, nil
		}))
		n, err := client.Download(t.Context(), "a", io.Discard)
		require.NoError(t, err)
		assert.Equal(t, int64(100), n)
		assert.Equal(t, 2, requests)
	})
}

// The time that the writer takes is not the store's.
func TestDownloadToASlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, requests := downloadFrom(t, time.Second, 5)
		n, err := client.Download(t.Context(), "a", slowWriter{time.Hour})
		require.NoError(t, err)
		assert.Equal(t, int64(5), n)
		assert.Equal(t, 1, *requests)
	})
}

type slowWriter struct{ pause time.Duration }

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.pause)
	return len(p), nil
}

// A writer that fails while the store is being given up has the last word.
func TestDownloadToAWriterThatFailsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{tasks: []ExportTask{{TaskID: "a", Status: ExportTaskSuccess, DownloadLink: "https://store.example/f"}}}
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host != "store.example" {
				return service.RoundTrip(req)
			}
			// It brings its byte when it is late already.
			body := io.NopCloser(readerFunc(func(p []byte) (int, error) { time.Sleep(time.Minute); return copy(p, "x"), nil }))
			return &http.Response{StatusCode: 200, ContentLength: 10, Body: body, Request: req}, nil
		}))
		full, writes := errors.New("disk full"), 0
		_, err := client.Download(t.Context(), "a", writerFunc(func([]byte) (int, error) { writes++; return 0, full }))
		require.ErrorIs(t, err, full)
		assert.Equal(t, 1, writes)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A refusal whose body does not come is a refusal.
func TestDownloadThatIsRefusedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{tasks: []ExportTask{{TaskID: "a", Status: ExportTaskSuccess, DownloadLink: "https://store.example/f"}}}
		client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host != "store.example" {
				return service.RoundTrip(req)
			}
			return &http.Response{StatusCode: 404, Header: http.Header{}, Body: &slowBody{req.Context(), time.Hour, 100}, Request: req}, nil
		}))
		_, err := client.Download(t.Context(), "a", io.Discard)
		var answer *APIError
		require.ErrorAs(t, err, &answer)
		assert.Equal(t, 404, answer.StatusCode)
	})
}

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		value        string
		start, total int64
		ok           bool
	}{
		{"bytes 0-9/10", 0, 10, true},
		{"bytes 5-9/*", 5, -1, true},
		{"bytes 5-9", 0, 0, false},
		{"bytes */10", 0, 0, false},
		{"bytes -5-9/10", 0, 0, false},
		{"bytes 5-9/-1", 5, -1, false},
		{"bytes a-9/10", 0, 0, false},
		{"items 0-9/10", 0, 0, false},
		{"", 0, 0, false},
	}
	for _, test := range tests {
		start, total, ok := parseContentRange(test.value)
		assert.Equal(t, test.ok, ok, test.value)
		if ok {
			assert.Equal(t, [2]int64{test.start, test.total}, [2]int64{start, total}, test.value)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-/*")
	f.Fuzz(func(t *testing.T, value string) {
		start, total, ok := parseContentRange(value)
		if ok {
			assert.GreaterOrEqual(t, start, int64(0))
			assert.GreaterOrEqual(t, total, int64(-1))
		}
	})
}
