package cdn_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// quickRetries are the default attempts with short delays.
var quickRetries = cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond})

// noContext is a nil context.
var noContext context.Context

func randomBytes(n int) []byte {
	content := make([]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(content)
	return content
}

// storeOf serves the file of the one task with handler, as an object store would.
func storeOf(t *testing.T, handler http.HandlerFunc, opts ...cdn.Option) (*cdn.CdnClient, string) {
	t.Helper()
	store := httptest.NewServer(handler)
	t.Cleanup(store.Close)
	srv := cdntest.NewServer()
	t.Cleanup(srv.Close)
	task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL + "/report.csv?Signature=s3cret"}, nil)
	client := srv.NewClient(append([]cdn.Option{quickRetries}, opts...)...)
	t.Cleanup(client.CloseIdleConnections)
	return client, task.TaskID
}

// download runs Download and DownloadFile, checks that they have the same outcome, and returns that.
func download(t *testing.T, client *cdn.CdnClient, id string) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	n, err := client.Download(t.Context(), id, &b)
	assert.Equal(t, int64(b.Len()), n)

	folder := t.TempDir()
	path := filepath.Join(folder, "report.csv")
	n, fileErr := client.DownloadFile(t.Context(), id, path)
	assert.Equal(t, err == nil, fileErr == nil, "%v; %v", err, fileErr)
	if fileErr != nil {
		assert.Empty(t, filesIn(t, folder), "nothing is left behind")
		return nil, err
	}
	content, readErr := os.ReadFile(path)
	require.NoError(t, readErr)
	assert.Equal(t, []string{"report.csv"}, filesIn(t, folder))
	assert.Equal(t, int64(len(content)), n)
	assert.True(t, bytes.Equal(b.Bytes(), content))
	return content, nil
}

func filesIn(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestDownload(t *testing.T) {
	for _, size := range []int{0, 1, 100_000, 5 << 20} {
		content := randomBytes(size)
		srv := cdntest.NewServer(cdntest.WithContentMD5())
		task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, content)
		client := srv.NewClient()
		got, err := download(t, client, task.TaskID)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, got), "%d bytes", size)
		client.CloseIdleConnections()
		srv.Close()
	}
}

// The store refuses requests that carry a signature of the API's.
func TestDownload_sends_no_signature_to_the_store(t *testing.T) {
	var seen http.Header
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		_, _ = io.WriteString(w, "x")
	})
	_, err := download(t, client, id)
	require.NoError(t, err)
	for name := range seen {
		assert.Contains(t, []string{"Accept-Encoding", "User-Agent"}, name)
	}
	assert.Equal(t, "identity", seen.Get("Accept-Encoding"))
	assert.Contains(t, seen.Get("User-Agent"), "huaweicloud-cdn-go/")
}

func TestDownload_task_without_file(t *testing.T) {
	srv, client := newServer(t)
	tests := []struct {
		name string
		task cdn.ExportTask
		want error
		text string
	}{
		{"not finished", cdn.ExportTask{Status: "processing"}, cdn.ErrTaskNotFinished, `has the status "processing"`},
		{"failed", cdn.ExportTask{Status: cdn.ExportTaskFail}, cdn.ErrTaskFailed, ""},
		{"no link", cdn.ExportTask{Status: cdn.ExportTaskSuccess}, cdn.ErrMalformedResponse, "no download link"},
		{"odd link", cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "https://%zz/?s3cret"}, cdn.ErrMalformedResponse, "not a URL"},
		{"no host", cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "/report?s3cret"}, cdn.ErrMalformedResponse, "no host"},
		{"not encrypted", cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "http://store.example/r?s3cret"}, cdn.ErrMalformedResponse, "http://store.example/r?redacted is not https"},
		{"not the web", cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "file://localhost/etc/passwd"}, cdn.ErrMalformedResponse, "not https"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := download(t, client, srv.AddTask(test.task, nil).TaskID)
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.text)
			assert.Regexp(t, "^cdn: Download: [0-9a-f]{32}: ", err.Error(), "it names the task")
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
	_, err := download(t, client, "unknown")
	require.ErrorIs(t, err, cdn.ErrTaskNotFound)
	_, err = download(t, client, "")
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
}

func TestDownload_invalid_arguments(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("x")).TaskID
	for name, call := range map[string]func() (int64, error){
		"nil writer":  func() (int64, error) { return client.Download(t.Context(), id, nil) },
		"nil option":  func() (int64, error) { return client.Download(t.Context(), id, io.Discard, nil) },
		"nil context": func() (int64, error) { return client.Download(noContext, id, io.Discard) },
		"empty path":  func() (int64, error) { return client.DownloadFile(t.Context(), id, "") },
		"directory":   func() (int64, error) { return client.DownloadFile(t.Context(), id, t.TempDir()) },
	} {
		_, err := call()
		require.ErrorIs(t, err, cdn.ErrInvalidParameter, name)
	}
	_, err := client.DownloadFile(t.Context(), id, filepath.Join(t.TempDir(), "no", "folder"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "cdn: DownloadFile: "+id+": ", "it names the task")
	assert.Empty(t, srv.Requests(), "nothing was sent")
}

// Each byte is requested once, but for those in flight when the connection is cut.
func TestDownload_cut_connections_are_resumed(t *testing.T) {
	const size, piece = 64 << 20, 400 << 10
	content := randomBytes(size)
	var requests atomic.Int64
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(&cutWriter{w, piece}, r, "", time.Time{}, bytes.NewReader(content))
	})
	var b bytes.Buffer
	b.Grow(size)
	n, err := client.Download(t.Context(), id, &b)
	require.NoError(t, err)
	assert.Equal(t, int64(size), n)
	assert.True(t, bytes.Equal(content, b.Bytes()))
	assert.GreaterOrEqual(t, requests.Load(), int64(size/piece))
	assert.Less(t, requests.Load(), int64(2*size/piece))
}

// cutWriter aborts the response after some bytes of body.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// cutOnce is a store that cuts its first response after half of the content. then sends the other responses.
func cutOnce(content []byte, header http.Header, then func(w http.ResponseWriter, r *http.Request, number int)) http.HandlerFunc {
	number := 0
	return func(w http.ResponseWriter, r *http.Request) {
		number++
		if number == 1 {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:len(content)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		then(w, r, number)
	}
}

func TestDownload_progress(t *testing.T) {
	srv, client := newServer(t)
	const size = 8 << 20
	id := srv.AddTask(cdn.ExportTask{}, randomBytes(size)).TaskID
	var reports []cdn.Progress
	start := time.Now()
	_, err := client.Download(t.Context(), id, io.Discard, cdn.WithProgress(func(p cdn.Progress) { reports = append(reports, p) }))
	require.NoError(t, err)
	elapsed := time.Since(start)
	require.NotEmpty(t, reports)
	assert.Equal(t, cdn.Progress{Bytes: size, Total: size}, reports[len(reports)-1])
	assert.LessOrEqual(t, len(reports), int(elapsed/(100*time.Millisecond))+2, "at most 10 reports a second, and the last")
	for i, report := range reports[1:] {
		assert.GreaterOrEqual(t, report.Bytes, reports[i].Bytes)
	}

	failing, failingID := storeOf(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	_, err = failing.Download(t.Context(), failingID, io.Discard, cdn.WithProgress(func(cdn.Progress) { t.Error("no progress") }))
	require.Error(t, err)
}

// Requests to the store are logged in the form of those to the service, without a secret.
func TestDownload_logged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	content := randomBytes(1000)
	client, id := storeOf(t, cutOnce(content, http.Header{"Etag": {`"v1"`}}, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Range", "bytes 500-999/1000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[500:])
	}), cdn.WithLogger(logger))
	n, err := client.Download(t.Context(), id, io.Discard)
	require.NoError(t, err)
	assert.EqualValues(t, 1000, n)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 4)
	assert.Contains(t, lines[0], "operation=GetExportTask attempt=1")
	assert.Regexp(t, `level=DEBUG msg="cdn: request" operation=Download attempt=1 duration=\S+ bytes=\d+ status=200 error=".*unexpected EOF"$`, lines[1])
	assert.Regexp(t, `level=WARN msg="cdn: retry" operation=Download attempt=1 pause=\S+ reason=".*unexpected EOF"$`, lines[2])
	assert.Regexp(t, `level=DEBUG msg="cdn: request" operation=Download attempt=2 duration=\S+ bytes=\d+ status=206$`, lines[3])
	assert.NotContains(t, log.String(), "s3cret")
}
