package transfer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	strong = `"v1"`
	body   = "0123456789"
)

// partOf returns a 206 with the bytes of body from first on.
func partOf(first int) *http.Response {
	return respond(206, body[first:], "ETag", strong, "Content-Range", "bytes "+strconv.Itoa(first)+"-9/10")
}

// A copy that is resumed requests the rest of the same file.
func TestCopy_requests(t *testing.T) {
	closed := 0
	responses := []*http.Response{cut(200, 10, body[:4], "ETag", strong), partOf(4)}
	for _, resp := range responses {
		resp.Body = &closingBody{resp.Body, &closed}
	}
	store, requests := script(t, responses...)
	var sink memory
	n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &sink)
	require.NoError(t, err)
	assert.Equal(t, 2, closed)
	assert.EqualValues(t, 10, n)
	assert.Equal(t, body, sink.String())
	assert.Zero(t, sink.restarts)
	assert.Equal(t, http.Header{"User-Agent": {"test/1"}, "Accept-Encoding": {"identity"}}, (*requests)[0].Header)
	assert.Equal(t, http.Header{
		"User-Agent": {"test/1"}, "Accept-Encoding": {"identity"},
		"Range": {"bytes=4-"}, "If-Match": {strong},
	}, (*requests)[1].Header)
	for _, req := range *requests {
		assert.Equal(t, "GET "+storeLink, req.Method+" "+req.URL.String())
		require.Error(t, req.Context().Err(), "the attempt has ended")
	}
}

// closingBody counts how many bodies were closed.
type closingBody struct {
	io.ReadCloser
	closed *int
}

func (b *closingBody) Close() error {
	*b.closed++
	return b.ReadCloser.Close()
}

// Each row is a script: the response of the store to each request.
func TestCopy(t *testing.T) {
	busy := func() *http.Response { return respond(503, "<Error><Code>SlowDown</Code></Error>") }
	tests := []struct {
		name      string
		responses []*http.Response
		want      string // what the sink has; the file is complete if err is ""
		restarts  int
		err       string
	}{
		{"whole", []*http.Response{respond(200, body)}, body, 0, ""},
		{"more than the 0 bytes announced", []*http.Response{longer(respond(200, ""), body)}, "", 0, "malformed response: more than the 0 bytes that the store announced"},
		{"empty", []*http.Response{respond(200, "")}, "", 0, ""},
		{"busy, then whole", []*http.Response{busy(), respond(200, body)}, body, 0, ""},
		{"broken before the first byte", []*http.Response{cut(200, 10, "", "ETag", strong), respond(200, "abc")}, "abc", 0, ""},
		{"the sum of an attempt without bytes is forgotten", []*http.Response{cut(200, 10, "", "Content-MD5", "x"), respond(200, "abc")}, "abc", 0, ""},
		{"the sum of an attempt without bytes is forgotten for a part", []*http.Response{cut(200, 10, "", "Content-MD5", "x"), partOf(0)}, body, 0, ""},
		{"only the end is lost", []*http.Response{cut(200, 10, body, "ETag", strong)}, body, 0, ""},
		{"progress between failures", []*http.Response{
			cut(200, 10, body[:1], "ETag", strong), busy(), busy(), busy(), cut(206, 9, body[1:2], "ETag", strong, "Content-Range", "bytes 1-9/10"), busy(), busy(), busy(), partOf(2),
		}, body, 0, ""},
		{"no progress", []*http.Response{busy(), busy(), busy(), busy()}, "", 0, "the store responded with status 503: SlowDown (4 attempts in a row brought nothing)"},
		{"404", []*http.Response{respond(404, "")}, "", 0, "the store responded with status 404"},
		{"412 for the whole file", []*http.Response{respond(412, "")}, "", 0, "the store responded with status 412"},
		{"416 for the whole file", []*http.Response{respond(416, "")}, "", 0, "malformed response: status 416 for the whole file"},
		{"412", []*http.Response{cut(200, 10, body[:4], "ETag", strong), respond(412, ""), respond(200, "new")}, "new", 1, ""},
		{"another ETag in the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", `"v2"`, "Content-Range", "bytes 4-9/10"), respond(200, "new"),
		}, "new", 1, ""},
		{"no ETag in the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "Content-Range", "bytes 4-9/10"), respond(200, "new"),
		}, "new", 1, ""},
		{"a weak ETag in the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", "W/"+strong, "Content-Range", "bytes 4-9/10"), respond(200, "new"),
		}, "new", 1, ""},
		{"another total in the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", strong, "Content-Range", "bytes 4-9/11"), respond(200, "new"),
		}, "new", 1, ""},
		{"the 206 starts earlier", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[3:], "ETag", strong, "Content-Range", "bytes 3-9/10"),
		}, body[:4], 0, `malformed response: asked for the bytes from 4 on, got Content-Range "bytes 3-9/10"`},
		{"the 206 starts later", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[5:], "ETag", strong, "Content-Range", "bytes 5-9/10"),
		}, body[:4], 0, `malformed response: asked for the bytes from 4 on, got Content-Range "bytes 5-9/10"`},
		{"the 206 is compressed", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", strong, "Content-Range", "bytes 4-9/10", "Content-Encoding", "gzip"),
		}, body[:4], 0, "malformed response: a part of the file came with a Content-Encoding, which was not asked for"},
		{"more than announced in the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:]+"x", "ETag", strong, "Content-Range", "bytes 4-9/10"),
		}, body[:4], 0, "malformed response: more than the 10 bytes that the store announced"},
		{"206 for the whole file", []*http.Response{partOf(0)}, body, 0, ""},
		{"206 for the whole file, cut", []*http.Response{cut(206, 10, body[:4], "ETag", strong, "Content-Range", "bytes 0-9/10"), partOf(4)}, body, 0, ""},
		{"206 for the whole file, starts later", []*http.Response{partOf(1)}, "", 0, `malformed response: asked for the bytes from 0 on, got Content-Range "bytes 1-9/10"`},
		{"the 206 tells the length first", []*http.Response{unknownLength(cut(200, -1, body[:4], "ETag", strong)), partOf(4)}, body, 0, ""},
		{"the 200 repeats it", []*http.Response{cut(200, 10, body[:4], "ETag", strong), respond(200, body, "ETag", strong)}, body, 0, ""},
		{"the 200 repeats it, and is cut while it is skipped", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), cut(200, 10, body[:2], "ETag", strong), respond(200, body, "ETag", strong),
		}, body, 0, ""},
		{"the 200 repeats another length", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(200, body[:9], "ETag", strong), respond(200, "new"),
		}, "new", 1, ""},
		{"the 200 is compressed", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(200, body, "ETag", strong, "Content-Encoding", "gzip"), respond(200, "new"),
		}, "new", 1, ""},
		{"the 200 has a Content-Range", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(200, body, "ETag", strong, "Content-Range", "bytes 4-13/14"), respond(200, "new"),
		}, "new", 1, ""},
		{"416 in the middle", []*http.Response{cut(200, 10, body[:4], "ETag", strong), respond(416, "", "ETag", strong), respond(200, "new")}, "new", 1, ""},
		{"416 with an unreadable total", []*http.Response{
			unknownLength(cut(200, -1, body, "ETag", strong)), respond(416, "", "ETag", strong, "Content-Range", "bytes */x"), respond(200, "new"),
		}, "new", 1, ""},
		{"begun too often", []*http.Response{
			cut(200, 10, body[:4]), cut(200, 10, body[:4]), cut(200, 10, body[:4]), cut(200, 10, body[:4]),
		}, body[:4], 3, "unexpected EOF (the file was begun 4 times)"},
		{"changed too often", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(412, ""), cut(200, 10, body[:4], "ETag", strong), respond(412, ""),
			cut(200, 10, body[:4], "ETag", strong), respond(412, ""), cut(200, 10, body[:4], "ETag", strong), respond(412, ""),
		}, body[:4], 3, "malformed response: the file has changed since the download began (the file was begun 4 times)"},
		{"a wrong sum", []*http.Response{respond(200, body, "Content-MD5", "x")}, body, 0, "malformed response: the file's MD5 is eB5eJF1ptWaXm4bijSPyxw==, which is not what the store announced"},
		{"the right sum", []*http.Response{cut(200, 10, body[:4], "ETag", strong, "Content-MD5", "eB5eJF1ptWaXm4bijSPyxw=="), partOf(4)}, body, 0, ""},
		{"the sum of gzip is not the file's", []*http.Response{respond(200, string(gzipped(t, []byte(body))), "Content-Encoding", "gzip", "Content-MD5", "x")}, body, 0, ""},
		{"decoded by the transport", []*http.Response{uncompressed(respond(200, body, "ETag", strong, "Content-MD5", "x"))}, body, 0, ""},
		{"decoded by the transport, and cut", []*http.Response{uncompressed(cut(200, -1, body[:4], "ETag", strong)), respond(200, "new")}, "new", 1, ""},
		{"a part decoded by the transport", []*http.Response{cut(200, 10, body[:4], "ETag", strong), uncompressed(partOf(4))}, body[:4], 0,
			"malformed response: a part of the file came with a Content-Encoding, which was not asked for"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, requests := script(t, test.responses...)
			var sink memory
			n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &sink)
			assert.Equal(t, test.want, sink.String())
			assert.EqualValues(t, sink.Len(), n)
			assert.Equal(t, test.restarts, sink.restarts)
			assert.Len(t, *requests, len(test.responses))
			if test.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.err)
			require.ErrorAs(t, err, new(*Error))
			assert.Equal(t, strings.HasPrefix(test.err, "malformed"), errors.Is(err, ErrMalformed))
		})
	}
}

func longer(resp *http.Response, body string) *http.Response {
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp
}

func unknownLength(resp *http.Response) *http.Response {
	resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
	return resp
}

func uncompressed(resp *http.Response) *http.Response {
	resp.ContentLength, resp.Uncompressed = -1, true
	return resp
}

// The error says why the copy was not resumed.
func TestCopy_sink_without_restart(t *testing.T) {
	tests := []struct {
		name      string
		responses []*http.Response
		err       string
	}{
		{"cut", []*http.Response{cut(200, 10, body[:4])}, "unexpected EOF (" + noResume + ")"},
		{"changed", []*http.Response{cut(200, 10, body[:4], "ETag", strong), respond(412, "")}, "malformed response: the file has changed since the download began"},
		{"unproved", []*http.Response{cut(200, 10, body[:4], "ETag", strong), respond(200, body)}, "malformed response: the response does not prove that the file is still the same"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, _ := script(t, test.responses...)
			n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{io.Discard})
			require.EqualError(t, err, test.err)
			assert.EqualValues(t, 4, n)
		})
	}
}

// brokenSink fails to be restarted.
type brokenSink struct{ memory }

var errBroken = errors.New("cannot be truncated")

func (*brokenSink) Restart() error { return errBroken }

func TestCopy_sink_fails(t *testing.T) {
	store, _ := script(t, cut(200, 10, body[:4]))
	_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &brokenSink{})
	require.ErrorIs(t, err, errBroken)
	assert.EqualError(t, err, errBroken.Error())

	store, _ = script(t, respond(200, body))
	n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{writerFunc(func([]byte) (int, error) { return 3, errBroken })})
	require.ErrorIs(t, err, errBroken)
	assert.EqualError(t, err, errBroken.Error())
	assert.EqualValues(t, 3, n)

	store, _ = script(t, respond(200, body))
	n, err = Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{writerFunc(func([]byte) (int, error) { return 3, nil })})
	require.ErrorIs(t, err, io.ErrShortWrite)
	assert.EqualValues(t, 3, n)
}

func TestCopy_one_attempt(t *testing.T) {
	for name, response := range map[string]*http.Response{
		"cut": cut(200, 10, body[:4], "ETag", strong), "busy": respond(503, ""), "refused": respond(403, ""),
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := script(t, response)
			config := configOf(store)
			config.MaxAttempts = 1
			var sink memory
			_, err := Copy(t.Context(), config, sourceOf(storeLink), &sink)
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "attempts")
			assert.Zero(t, sink.restarts)
		})
	}
}

func TestCopy_permanent_error(t *testing.T) {
	requests := 0
	store := roundTripper(func(*http.Request) (*http.Response, error) {
		requests++
		return nil, errors.New("no such protocol")
	})
	_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &memory{})
	require.EqualError(t, err, "get https://store.example/f?redacted: no such protocol")
	assert.Equal(t, 1, requests)
}

// The delay is Retry-After and jitter on top. Retry-After is at most 10 minutes.
func TestDelay(t *testing.T) {
	const second = time.Second
	busy := func(retryAfter string) *http.Response { return respond(503, "", "Retry-After", retryAfter) }
	large := strings.Repeat("x", enoughProgress)
	tests := []struct {
		name        string
		responses   []*http.Response
		deadline    time.Duration // 0 for none
		least, most time.Duration
		err         string // "" for none
	}{
		{"Retry-After", []*http.Response{busy("17"), respond(200, body)}, 0, 17 * second, 19 * second, ""},
		{"the longest Retry-After", []*http.Response{busy("600"), respond(200, body)}, 0, 600 * second, 602 * second, ""},
		{"too long a Retry-After", []*http.Response{busy("601")}, 0, 0, 0, "status 503 (the store asks for a delay of over 10m0s)"},
		{"Retry-After behind the deadline", []*http.Response{busy("17")}, 17 * second, 0, 0, "status 503 (the deadline is before the next attempt)"},
		{"Retry-After before the deadline", []*http.Response{busy("17"), respond(200, body)}, 20 * second, 17 * second, 19 * second, ""},
		{"Retry-After of 0", []*http.Response{busy("0"), respond(200, body)}, 0, 1, 2 * second, ""},
		{"backoff", []*http.Response{busy(""), busy(""), busy(""), respond(200, body)}, 0, 1, (2 + 4 + 8) * second, ""},
		{"after little progress", []*http.Response{cut(200, 10, body[:4], "ETag", strong), partOf(4)}, 0, 1, 2 * second, ""},
		{"none after much progress", []*http.Response{
			cut(200, len(large)+1, large, "ETag", strong),
			respond(206, "x", "ETag", strong, "Content-Range", "bytes 65536-65536/65537"),
		}, 0, 0, 0, ""},
		{"none before the file is started over", []*http.Response{cut(200, len(large)+1, large, "ETag", strong), respond(412, ""), respond(200, body)}, 0, 0, 0, ""},
		{"none after a link was refused", []*http.Response{respond(403, ""), respond(200, body)}, 0, 0, 0, ""},
		{"Retry-After with a refused link", []*http.Response{respond(403, "", "Retry-After", "5"), respond(200, body)}, 0, 5 * second, 7 * second, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				store, _ := script(t, test.responses...)
				config := configOf(store)
				config.MinBackoff, config.MaxBackoff = 2*second, 20*second
				var err error
				duration := took(func() { _, err = Copy(ctx, config, sourceOf(storeLink), &memory{}) })
				if test.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, test.err)
				}
				assert.GreaterOrEqual(t, duration, test.least)
				assert.LessOrEqual(t, duration, test.most)
			})
		})
	}
}

func TestDelay_reset_by_progress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", enoughProgress)
		store, _ := script(t, respond(503, ""), respond(503, ""), respond(503, ""), cut(200, len(large)+1, large, "ETag", strong),
			respond(503, ""), respond(206, "x", "ETag", strong, "Content-Range", "bytes 65536-65536/65537"))
		var log strings.Builder
		config := configOf(store)
		config.MinBackoff, config.MaxBackoff = 2, time.Hour
		config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, err := Copy(t.Context(), config, sourceOf(storeLink), &memory{})
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 5)
		assert.Contains(t, lines[3], "attempt=4 pause=0s ")
		assert.Regexp(t, `attempt=5 pause=[0-3]n?s `, lines[4])
	})
}

func TestDelay_context_ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _ := script(t, respond(503, "", "Retry-After", "300"))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("closing time")) })
		var err error
		assert.Equal(t, time.Second, took(func() { _, err = Copy(ctx, configOf(store), sourceOf(storeLink), &memory{}) }))
		require.ErrorIs(t, err, context.Canceled)
		var response *StoreError
		require.ErrorAs(t, err, &response)
		assert.Equal(t, 5*time.Minute, response.RetryAfter)
		assert.EqualError(t, err, "context canceled: closing time; the last attempt before that: the store responded with status 503")
	})
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _ := slowStore(func(req *http.Request, _ int) *http.Response { return slow(req, 10, 10, 50*time.Millisecond) })
		var reports [][2]int64
		config := configOf(store)
		config.Report = func(written, total int64) { reports = append(reports, [2]int64{written, total}) }
		_, err := Copy(t.Context(), config, sourceOf(storeLink), &memory{})
		require.NoError(t, err)
		assert.Equal(t, [][2]int64{{1, 10}, {3, 10}, {5, 10}, {7, 10}, {9, 10}, {10, 10}}, reports, "every 100 ms, and at the end")
	})
	store, _ := script(t, respond(404, ""))
	config := configOf(store)
	config.Report = func(int64, int64) { t.Error("no progress") }
	_, err := Copy(t.Context(), config, sourceOf(storeLink), &memory{})
	require.Error(t, err)
}

func TestLog(t *testing.T) {
	store, _ := script(t, cut(200, 10, body[:4], "ETag", strong), partOf(4))
	var log strings.Builder
	config := configOf(store)
	config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, err := Copy(t.Context(), config, sourceOf(storeLink), &memory{})
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 3)
	assert.Regexp(t, `level=DEBUG msg="cdn: request" attempt=1 duration=\S+ bytes=4 status=200 error="unexpected EOF"$`, lines[0])
	assert.Regexp(t, `level=WARN msg="cdn: retry" attempt=1 pause=\S+ reason="unexpected EOF"$`, lines[1])
	assert.Regexp(t, `level=DEBUG msg="cdn: request" attempt=2 duration=\S+ bytes=6 status=206$`, lines[2])
	assert.NotContains(t, log.String(), "s3cret")

	log.Reset()
	requests := 0
	config.Client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		if requests++; requests == 1 {
			return respond(503, ""), nil
		}
		return nil, errBroken
	})}
	_, err = Copy(t.Context(), config, sourceOf(storeLink), &memory{})
	require.ErrorIs(t, err, errBroken)
	lines = strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 3)
	assert.NotContains(t, lines[2], "status=", "there was no response")
}

func TestCopy_source_fails(t *testing.T) {
	gone := errors.New("no such task")
	store, requests := script(t, respond(403, ""))
	_, err := Copy(t.Context(), configOf(store), func(context.Context) (*url.URL, error) { return nil, gone }, &memory{})
	assert.Equal(t, gone, err, "unchanged")
	assert.Empty(t, *requests)

	asked := 0
	_, err = Copy(t.Context(), configOf(store), func(ctx context.Context) (*url.URL, error) {
		if asked++; asked > 1 {
			return nil, gone
		}
		return url.Parse(storeLink)
	}, &memory{})
	assert.Equal(t, gone, err, "unchanged")
}
