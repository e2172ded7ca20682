package transfer

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/atomicfile"
)

var update = flag.Bool("update", false, "write the table that TestStoreTable measures into docs/reliability.md")

func newGzipWriter(w io.Writer) *gzip.Writer { return gzip.NewWriter(w) }

// The file, and another one that takes its place.
var (
	oldFile = randomBytes(1, 1000)
	newFile = randomBytes(2, 1000)
)

// storeRow is a store and what happens to a download from it.
type storeRow struct {
	etag, ranges, length, event string
	http2                       bool
	// serve responds to the request of this number, beginning with 1.
	serve func(w http.ResponseWriter, r *http.Request, number int)
}

// The ETags of a store, of its file and of the one that takes its place.
var etags = map[string][2]string{
	"strong":   {`"v1"`, `"v2"`},
	"weak":     {`W/"v1"`, `W/"v2"`},
	"none":     {"", ""},
	"unquoted": {"v1", "v2"},
}

// storeRows are the stores that differ in how they tell versions apart, serve ranges, and announce lengths, each
// with a connection that is cut in the middle of the first response, and with a file that changes then.
func storeRows() []storeRow {
	var rows []storeRow
	for _, etag := range []string{"strong", "weak", "none", "unquoted"} {
		for _, ranges := range []string{"honoured", "honoured, without If-Match", "ignored", "from another byte", "as a 200 with the rest only"} {
			for _, length := range []string{"announced", "absent"} {
				for _, event := range []string{"cut", "cut and changed"} {
					rows = append(rows, storeRow{etag: etag, ranges: ranges, length: length, event: event, serve: serveCut(etag, ranges, length, event)})
				}
			}
		}
	}
	return append(rows, oddRows()...)
}

func serveCut(etag, ranges, length, event string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, number int) {
		content, tag := oldFile, etags[etag][0]
		if event == "cut and changed" && number > 1 {
			content, tag = newFile, etags[etag][1]
		}
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		first := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err != nil || ranges == "ignored" {
			body := content
			if number == 1 {
				body = body[:500]
			}
			send(w, http.StatusOK, len(content), length, body)
			if number == 1 {
				panic(http.ErrAbortHandler)
			}
			return
		}
		if match := r.Header.Get("If-Match"); ranges == "honoured" && match != "" && match != tag {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		switch ranges {
		case "as a 200 with the rest only":
			send(w, http.StatusOK, len(content)-first, length, content[first:])
			return
		case "from another byte":
			first -= 100
		}
		total := strconv.Itoa(len(content))
		if length == "absent" {
			total = "*"
		}
		if first >= len(content) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, len(content)-1, total))
		send(w, http.StatusPartialContent, len(content)-first, length, content[first:])
	}
}

// send sends a response. It announces the length of the body, or sends it in chunks.
func send(w http.ResponseWriter, status, length int, announce string, body []byte) {
	if announce == "announced" {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	w.WriteHeader(status)
	flush(w)
	_, _ = w.Write(body)
	flush(w)
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// raw takes the connection and sends text as it is.
func raw(text string, body []byte) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
		_, _ = conn.Write(body)
		_ = conn.Close()
	}
}

// withHeader responds with a 200 and a body that is announced.
func withHeader(body []byte, header ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		send(w, http.StatusOK, len(body), "announced", body)
	}
}

// oddRows are stores with one oddity each.
func oddRows() []storeRow {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, _ = w.Write(oldFile)
	_ = w.Close()
	corrupt := bytes.Clone(compressed.Bytes())
	corrupt[500] ^= 1
	cutOnce := func(header ...string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, number int) {
			if number > 1 {
				withHeader(compressed.Bytes(), header...)(w, r, number)
				return
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			send(w, http.StatusOK, compressed.Len(), "announced", compressed.Bytes()[:600])
			panic(http.ErrAbortHandler)
		}
	}
	parts := func(body func(first int) (contentRange string, body []byte)) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, number int) {
			w.Header().Set("ETag", `"v1"`)
			first := 0
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err != nil {
				send(w, http.StatusOK, 1000, "announced", oldFile[:500])
				panic(http.ErrAbortHandler)
			}
			value, content := body(first)
			w.Header().Set("Content-Range", value)
			send(w, http.StatusPartialContent, 0, "absent", content)
		}
	}
	end := func(etag, value string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, number int) {
			if r.Header.Get("Range") == "" {
				w.Header().Set("ETag", `"v1"`)
				send(w, http.StatusOK, 0, "absent", oldFile)
				panic(http.ErrAbortHandler)
			}
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			if value != "" {
				w.Header().Set("Content-Range", value)
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}
	}
	const strong, none, announced, absent = "strong", "none", "announced", "absent"
	return []storeRow{
		{etag: none, ranges: "–", length: "none, HTTP/1.1 connection closed", event: "whole", serve: raw("HTTP/1.1 200 OK\nConnection: close\n\n", oldFile)},
		{etag: strong, ranges: "–", length: "none, HTTP/1.1 connection closed", event: "cut", serve: raw("HTTP/1.1 200 OK\nETag: \"v1\"\nConnection: close\n\n", oldFile[:500])},
		{etag: none, ranges: "–", length: "none, HTTP/1.0", event: "cut", serve: raw("HTTP/1.0 200 OK\n\n", oldFile[:500])},
		{etag: none, ranges: "–", length: absent, event: "whole", serve: func(w http.ResponseWriter, _ *http.Request, _ int) { send(w, 200, 0, absent, oldFile) }},
		{etag: strong, ranges: "honoured", length: absent, event: "cut, HTTP/2", http2: true, serve: serveCut(strong, "honoured", absent, "cut")},
		{etag: strong, ranges: "honoured", length: announced, event: "cut, HTTP/2", http2: true, serve: serveCut(strong, "honoured", announced, "cut")},
		{etag: none, ranges: "honoured", length: absent, event: "cut, HTTP/2", http2: true, serve: serveCut(none, "honoured", absent, "cut")},
		{etag: none, ranges: "–", length: absent, event: "whole, HTTP/2", http2: true, serve: func(w http.ResponseWriter, _ *http.Request, _ int) { send(w, 200, 0, absent, oldFile) }},
		{etag: strong, ranges: "–", length: announced, event: "gzip, unasked", serve: withHeader(compressed.Bytes(), "ETag", `"v1"`, "Content-Encoding", "gzip")},
		{etag: strong, ranges: "–", length: announced, event: "gzip, unasked, cut", serve: cutOnce("ETag", `"v1"`, "Content-Encoding", "GZIP")},
		{etag: strong, ranges: "–", length: announced, event: "gzip, corrupt", serve: withHeader(corrupt, "ETag", `"v1"`, "Content-Encoding", "x-gzip")},
		{etag: strong, ranges: "–", length: announced, event: "gzip, ends within", serve: withHeader(compressed.Bytes()[:600], "Content-Encoding", "gzip")},
		{etag: strong, ranges: "–", length: announced, event: "gzip, more behind it", serve: withHeader(append(bytes.Clone(compressed.Bytes()), "more"...), "Content-Encoding", "gzip")},
		{etag: strong, ranges: "–", length: announced, event: "gzip, empty", serve: withHeader(nil, "Content-Encoding", "gzip")},
		{etag: strong, ranges: "–", length: announced, event: "called gzip, and is not", serve: withHeader(oldFile, "Content-Encoding", "gzip")},
		{etag: strong, ranges: "–", length: announced, event: "br, unasked", serve: withHeader(oldFile, "Content-Encoding", "br")},
		{etag: strong, ranges: "–", length: announced, event: "gzip twice", serve: withHeader(compressed.Bytes(), "Content-Encoding", "gzip, gzip")},
		{etag: strong, ranges: "–", length: announced, event: "identity", serve: withHeader(oldFile, "Content-Encoding", "identity")},
		{etag: strong, ranges: "a 200 with the rest at once", length: announced, event: "whole", serve: withHeader(oldFile[500:], "ETag", `"v1"`, "Content-Range", "bytes 500-999/1000")},
		{etag: strong, ranges: "100 bytes at most", length: absent, event: "cut", serve: parts(func(first int) (string, []byte) {
			return fmt.Sprintf("bytes %d-%d/1000", first, first+99), oldFile[first : first+100]
		})},
		{etag: strong, ranges: "more than announced", length: absent, event: "cut", serve: parts(func(first int) (string, []byte) {
			return fmt.Sprintf("bytes %d-999/1000", first), append(bytes.Clone(oldFile[first:]), 'x')
		})},
		{etag: strong, ranges: "less than announced", length: absent, event: "cut", serve: parts(func(first int) (string, []byte) {
			return fmt.Sprintf("bytes %d-999/1000", first), oldFile[first : first+(1001-first)/2]
		})},
		{etag: strong, ranges: "of another total", length: absent, event: "cut", serve: parts(func(first int) (string, []byte) {
			return fmt.Sprintf("bytes %d-1999/2000", first), newFile[first:]
		})},
		{etag: strong, ranges: "without Content-Range", length: absent, event: "cut", serve: parts(func(first int) (string, []byte) { return "", oldFile[first:] })},
		{etag: strong, ranges: "416 of the same file", length: absent, event: "cut behind the last byte", serve: end(`"v1"`, "bytes */1000")},
		{etag: strong, ranges: "416 of the same file, without total", length: absent, event: "cut behind the last byte", serve: end(`"v1"`, "")},
		{etag: strong, ranges: "416 of the same file, with another total", length: absent, event: "cut behind the last byte", serve: end(`"v1"`, "bytes */500")},
		{etag: strong, ranges: "416 without ETag", length: absent, event: "cut behind the last byte", serve: end("", "bytes */1000")},
		{etag: strong, ranges: "ignored", length: announced, event: "another file each time", serve: func(w http.ResponseWriter, r *http.Request, number int) {
			w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, number))
			send(w, http.StatusOK, 1000, announced, oldFile[:500])
			panic(http.ErrAbortHandler)
		}},
		{etag: strong, ranges: "–", length: announced, event: "Content-MD5 of another file", serve: withHeader(oldFile, "ETag", `"v1"`, "Content-MD5", "mZFLkyvTelC5g8XnyQrpOw==")},
		{etag: "strong, 32 digits, of no MD5", ranges: "–", length: announced, event: "whole", serve: withHeader(oldFile, "ETag", `"0123456789abcdef0123456789abcdef"`)},
	}
}

// outcome is the end of a download.
type outcome struct {
	content []byte
	err     error
}

// isWhole reports whether the content is one of the files.
func (o outcome) isWhole() bool {
	return bytes.Equal(o.content, oldFile) || bytes.Equal(o.content, newFile)
}

func (o outcome) text() string {
	switch {
	case bytes.Equal(o.content, oldFile):
		return "the file"
	case bytes.Equal(o.content, newFile):
		return "the new file"
	case len(o.content) == 0:
		return "nothing"
	case bytes.HasPrefix(oldFile, o.content):
		return "its beginning"
	}
	return "other bytes"
}

// isMixed reports whether there are bytes of two files. A corrupt body is decoded as far as it goes.
func (o outcome) isMixed() bool {
	corrupt := errors.Is(o.err, gzip.ErrChecksum) || errors.As(o.err, new(flate.CorruptInputError))
	return !o.isWhole() && !bytes.HasPrefix(oldFile, o.content) && !corrupt
}

// errorText names what a user of the public API finds in the error.
func (o outcome) errorText() string {
	switch {
	case o.err == nil:
		return "nil"
	case errors.Is(o.err, ErrMalformed):
		return "`ErrMalformedResponse`"
	case errors.As(o.err, new(*StoreError)):
		return "`*APIError`"
	case errors.Is(o.err, io.ErrUnexpectedEOF):
		return "`io.ErrUnexpectedEOF`"
	}
	return "of the connection"
}

// shownRanges returns the store's ranges for the table. Without a strong ETag, none is asked for.
func (row storeRow) shownRanges() string {
	if !strings.HasPrefix(row.etag, "strong") {
		return "any"
	}
	return row.ranges
}

// run downloads to a file, or to a writer.
func (row storeRow) run(t *testing.T, toFile bool) outcome {
	t.Helper()
	number := 0
	server, config := newServer(t, row.http2, func(w http.ResponseWriter, r *http.Request) {
		number++
		row.serve(w, r, number)
	})
	source := sourceOf(server.URL + "/report?Signature=s3cret")
	if !toFile {
		var b bytes.Buffer
		n, err := Copy(t.Context(), config, source, Writer{&b})
		assert.EqualValues(t, b.Len(), n)
		return outcome{b.Bytes(), err}
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	file, err := atomicfile.Create(t.Context(), path)
	require.NoError(t, err)
	if _, err = Copy(t.Context(), config, source, file); err == nil {
		err = file.Commit()
	}
	file.Discard()
	content, readErr := os.ReadFile(path)
	assert.Equal(t, err == nil, readErr == nil, "a file that is there is complete")
	return outcome{content, err}
}

// TestStoreTable downloads from each store and compares the outcomes with the documentation.
func TestStoreTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| ETag | ranges | length | event | on disk | error of `DownloadFile` | in the writer | error of `Download` |\n|---|---|---|---|---|---|---|---|\n")
	for _, row := range storeRows() {
		name := strings.Join([]string{row.etag, row.ranges, row.length, row.event}, "; ")
		t.Run(name, func(t *testing.T) {
			file, writer := row.run(t, true), row.run(t, false)
			for _, outcome := range []outcome{file, writer} {
				assert.True(t, outcome.err != nil || outcome.isWhole(), "%d bytes with a nil error", len(outcome.content))
				assert.False(t, outcome.isMixed(), "bytes of two files")
				if outcome.err != nil {
					assert.NotContains(t, outcome.err.Error(), "s3cret")
					assert.NotContains(t, outcome.err.Error(), "\n")
				}
			}
			line := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.etag, row.shownRanges(), row.length, row.event,
				file.text(), file.errorText(), writer.text(), writer.errorText())
			if !strings.Contains(table.String(), line) { // stores that come to the same are in one line
				table.WriteString(line)
			}
		})
	}
	if testing.Verbose() {
		fmt.Print(table.String())
	}
	compareWithDocs(t, table.String())
}

// compareWithDocs compares the table with the one in docs/reliability.md, or writes it there.
func compareWithDocs(t *testing.T, table string) {
	t.Helper()
	const begin, end = "<!-- begin of what TestStoreTable measured -->\n", "<!-- end of what TestStoreTable measured -->"
	path := filepath.Join("..", "..", "docs", "reliability.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	documented, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table+end+after), 0o600))
		return
	}
	assert.Equal(t, documented, table, "go test -run TestStoreTable ./internal/transfer -update")
}
