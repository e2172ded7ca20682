package transfer

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failing returns a response over HTTP/2 without a length, whose body fails with err.
func failing(body string, err error) *http.Response {
	resp := respond(200, "")
	resp.ProtoMajor, resp.ContentLength = 2, -1
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), failingReader{err}))
	return resp
}

// The errors of a body that has begun are transient.
func TestCopy_body_fails(t *testing.T) {
	for name, err := range map[string]error{
		"EOF that is wrapped": fmt.Errorf("connection lost: %w", io.EOF),
		"unknown":             errors.New("bad record MAC"),
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := script(t, failing(body[:4], err), respond(200, body))
			var sink memory
			_, copyErr := Copy(t.Context(), configOf(store), sourceOf(storeLink), &sink)
			require.NoError(t, copyErr)
			assert.Equal(t, body, sink.String())
			assert.Equal(t, 1, sink.restarts)

			store, _ = script(t, failing(body[:4], err))
			_, copyErr = Copy(t.Context(), configOf(store), sourceOf(storeLink), Writer{io.Discard})
			require.ErrorIs(t, copyErr, err)
			require.ErrorContains(t, copyErr, noResume)
		})
	}
}

// A writer that breaks the rules of io.Writer fails the copy: what it has written is not known.
func TestCopy_sink_returns_impossible_count(t *testing.T) {
	for name, count := range map[string]int{"negative": -1, "more than given": 5} {
		t.Run(name, func(t *testing.T) {
			store, requests := script(t, cut(200, 10, body[:4], "ETag", strong))
			sink := Writer{writerFunc(func([]byte) (int, error) { return count, nil })}
			n, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), sink)
			require.ErrorIs(t, err, errInvalidWrite)
			assert.Zero(t, n)
			assert.Len(t, *requests, 1)
		})
	}
}

// Go's FIPS 140-3 mode allows no MD5, and panics.
func TestContentMD5_ignored_in_FIPS_mode(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", "GORACE=atexit_sleep_ms=0")
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", output)
		return
	}
	store, _ := script(t, respond(200, body, "Content-MD5", "x"))
	_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &memory{})
	require.NoError(t, err)
}

func TestCopy_header_twice(t *testing.T) {
	tests := []struct {
		name      string
		responses []*http.Response
		want      string // in the sink
		ok        bool
	}{
		{"ETag of the 200", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong, "ETag", `"v2"`), respond(200, "new"),
		}, "new", true},
		{"ETag of the 206", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", strong, "ETag", `"v2"`, "Content-Range", "bytes 4-9/10"), respond(200, "new"),
		}, "new", true},
		{"Content-Range", []*http.Response{
			cut(200, 10, body[:4], "ETag", strong), respond(206, body[4:], "ETag", strong, "Content-Range", "bytes 4-9/10", "Content-Range", "bytes 0-5/10"),
		}, body[:4], false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, _ := script(t, test.responses...)
			var sink memory
			_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &sink)
			assert.Equal(t, test.ok, err == nil, "%v", err)
			assert.Equal(t, test.want, sink.String())
		})
	}
}
