package cdn_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
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

// quickRetries keeps tests from waiting.
var quickRetries = cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond})

// noContext is what a caller passes who forgets to make a context.
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

// download runs Download and DownloadFile, which must come to the same.
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

// The store refuses what carries a signature of the API's; beside that, nothing of ours goes there.
func TestDownloadSendsNothingOfTheAPIsToTheStore(t *testing.T) {
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
}

func TestDownloadOfATaskWithoutFile(t *testing.T) {
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

func TestDownloadRefusesBadArguments(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("x")).TaskID
	_, err := client.Download(t.Context(), id, nil)
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.Download(t.Context(), id, io.Discard, nil)
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.Download(noContext, id, io.Discard)
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.DownloadFile(t.Context(), id, "")
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.DownloadFile(t.Context(), id, t.TempDir())
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	_, err = client.DownloadFile(t.Context(), id, filepath.Join(t.TempDir(), "no", "folder"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "cdn: DownloadFile: "+id+": ", "it names the task")
	assert.Empty(t, srv.Requests(), "nothing was sent")
}

// A connection that is cut again and again costs nothing but what was under way.
func TestDownloadThatIsCutArrives(t *testing.T) {
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
	// A cut may lose what is still on the way.
	assert.GreaterOrEqual(t, requests.Load(), int64(size/piece))
	assert.Less(t, requests.Load(), int64(2*size/piece))
}

// cutWriter aborts the answer after some bytes of body.
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

// cutOnce is a store that cuts its first answer after half of the content and goes on as then says.
func cutOnce(content []byte, header http.Header, then func(w http.ResponseWriter, r *http.Request, answer int)) http.HandlerFunc {
	answers := 0
	return func(w http.ResponseWriter, r *http.Request) {
		answers++
		if answers == 1 {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:len(content)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		then(w, r, answers)
	}
}

func TestDownloadGoesOnWhereItBroke(t *testing.T) {
	content := randomBytes(1000)
	changed := randomBytes(2000)[1000:]
	etag := http.Header{"Etag": {`"v1"`}}
	date := http.Header{"Last-Modified": {"Mon, 02 Mar 2026 03:04:05 GMT"}}
	part := func(w http.ResponseWriter, header http.Header, contentRange string, body []byte) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body)
	}
	whole := func(w http.ResponseWriter, header http.Header, body []byte) {
		for name, values := range header {
			w.Header()[name] = values
		}
		_, _ = w.Write(body)
	}
	tests := []struct {
		name   string
		header http.Header
		then   func(w http.ResponseWriter, r *http.Request, answer int)
		want   []byte // of Download; nil for an error
		file   []byte // of DownloadFile; nil for an error
	}{
		{"range by ETag", etag, func(w http.ResponseWriter, r *http.Request, _ int) {
			assert.Equal(t, "bytes=500-", r.Header.Get("Range"))
			assert.Equal(t, `"v1"`, r.Header.Get("If-Range"))
			part(w, etag, "bytes 500-999/1000", content[500:])
		}, content, content},
		{"range by date", date, func(w http.ResponseWriter, r *http.Request, _ int) {
			assert.Equal(t, "Mon, 02 Mar 2026 03:04:05 GMT", r.Header.Get("If-Range"))
			part(w, date, "bytes 500-999/1000", content[500:])
		}, content, content},
		{"range of a copy with another date", http.Header{"Etag": {`"v1"`}, "Last-Modified": date["Last-Modified"]}, func(w http.ResponseWriter, _ *http.Request, _ int) {
			part(w, http.Header{"Etag": {`"v1"`}, "Last-Modified": {"Tue, 03 Mar 2026 03:04:05 GMT"}}, "bytes 500-999/1000", content[500:])
		}, content, content},
		{"range by length only", nil, func(w http.ResponseWriter, r *http.Request, _ int) {
			assert.Empty(t, r.Header.Get("If-Range"))
			part(w, nil, "bytes 500-999/1000", content[500:])
		}, content, content},
		{"a store that caps ranges", etag, func(w http.ResponseWriter, r *http.Request, _ int) {
			var from int
			_, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			assert.NoError(t, err)
			to := min(from+100, 1000)
			part(w, etag, fmt.Sprintf("bytes %d-%d/1000", from, to-1), content[from:to])
		}, content, content},
		{"a store without ranges", etag, func(w http.ResponseWriter, _ *http.Request, _ int) { whole(w, etag, content) }, content, content},
		{"changed, by ETag", etag, func(w http.ResponseWriter, _ *http.Request, _ int) {
			whole(w, http.Header{"Etag": {`"v2"`}}, changed)
		}, nil, changed},
		{"changed, by date", date, func(w http.ResponseWriter, _ *http.Request, _ int) {
			whole(w, http.Header{"Last-Modified": {"Tue, 03 Mar 2026 03:04:05 GMT"}}, changed)
		}, nil, changed},
		{"changed, by date beside a weak ETag", http.Header{"Etag": {`W/"v1"`}, "Last-Modified": date["Last-Modified"]}, func(w http.ResponseWriter, r *http.Request, _ int) {
			assert.Equal(t, date.Get("Last-Modified"), r.Header.Get("If-Range"))
			whole(w, http.Header{"Etag": {`W/"v1"`}, "Last-Modified": {"Tue, 03 Mar 2026 03:04:05 GMT"}}, changed)
		}, nil, changed},
		{"changed, by length", nil, func(w http.ResponseWriter, _ *http.Request, _ int) { whole(w, nil, changed[:700]) }, nil, changed[:700]},
		{"changed, in a range", etag, func(w http.ResponseWriter, r *http.Request, answer int) {
			if r.Header.Get("Range") == "" {
				whole(w, http.Header{"Etag": {`"v2"`}}, changed)
				return
			}
			part(w, http.Header{"Etag": {`"v2"`}}, "bytes 500-999/1000", changed[500:])
		}, nil, changed},
		{"shorter now", etag, func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.Header.Get("Range") == "" {
				whole(w, http.Header{"Etag": {`"v2"`}}, changed[:100])
				return
			}
			w.Header().Set("Content-Range", "bytes */100")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, nil, changed[:100]},
		{"the wrong range", etag, func(w http.ResponseWriter, _ *http.Request, _ int) {
			part(w, etag, "bytes 400-999/1000", content[400:])
		}, nil, nil},
		{"no range", etag, func(w http.ResponseWriter, _ *http.Request, _ int) { part(w, etag, "", content[500:]) }, nil, nil},
		{"gone", etag, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusNotFound) }, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, id := storeOf(t, cutOnce(content, test.header, test.then))
			var b bytes.Buffer
			n, err := client.Download(t.Context(), id, &b)
			if test.want == nil {
				require.Error(t, err)
				assert.Equal(t, int64(500), n)
				assert.NotContains(t, err.Error(), "s3cret")
			} else {
				require.NoError(t, err)
				assert.True(t, bytes.Equal(test.want, b.Bytes()))
			}

			client, id = storeOf(t, cutOnce(content, test.header, test.then))
			path := filepath.Join(t.TempDir(), "report")
			_, err = client.DownloadFile(t.Context(), id, path)
			if test.file == nil {
				require.Error(t, err)
				assert.NoFileExists(t, path)
				return
			}
			require.NoError(t, err)
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(test.file, got))
		})
	}
}

// A file that is another one each time is given up, whether its bytes or only its ranges show it.
func TestDownloadOfAFileThatNeverHoldsStill(t *testing.T) {
	for name, ranges := range map[string]bool{"whole answers": false, "ranges": true} {
		t.Run(name, func(t *testing.T) {
			version := 0
			client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
				version++
				w.Header().Set("ETag", strconv.Itoa(version))
				if ranges && r.Header.Get("Range") != "" {
					w.Header().Set("Content-Range", "bytes 500-999/1000")
					w.WriteHeader(http.StatusPartialContent)
					return
				}
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write(randomBytes(500))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			_, err := client.DownloadFile(t.Context(), id, filepath.Join(t.TempDir(), "report"))
			require.Error(t, err)
			assert.Less(t, version, 12)
		})
	}
}

// Without a length, the end of the file shows only when there is nothing more to ask for.
func TestDownloadOfUnknownLength(t *testing.T) {
	content := randomBytes(1000)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes */1000")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		_, _ = w.Write(content)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	got, err := download(t, client, id)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, got))
}

func TestDownloadGivesUpWithoutProgress(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    int64 // requests
	}{
		{"busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, 4},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 4},
		{"header only", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 4},
		{"link refused, and refused again", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 4},
		{"bad request", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, 1},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var requests atomic.Int64
			client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				test.handler(w, r)
			}, cdn.WithHTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
			_, err := client.Download(t.Context(), id, io.Discard)
			require.Error(t, err)
			assert.Equal(t, test.want, requests.Load())
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestDownloadWithoutRetries(t *testing.T) {
	content := randomBytes(1000)
	client, id := storeOf(t, cutOnce(content, nil, func(http.ResponseWriter, *http.Request, int) { t.Error("asked again") }),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))
	_, err := client.Download(t.Context(), id, io.Discard)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestDownloadReportsTheStoresError(t *testing.T) {
	var busy atomic.Int64
	busy.Store(2)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		if busy.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Obs-Request-Id", "from-header")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The key does not exist</Message><StringToSign>s3cret</StringToSign></Error>`)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	var apiError *cdn.APIError
	require.ErrorAs(t, err, &apiError)
	assert.Equal(t, 404, apiError.StatusCode)
	assert.Equal(t, "NoSuchKey", apiError.ErrorCode)
	assert.Equal(t, "from-header", apiError.RequestID)
	assert.Equal(t, 3, apiError.Attempts)
	assert.EqualError(t, err, "cdn: Download: "+id+": Download: 404 Not Found: NoSuchKey: The key does not exist (request id from-header, 3 attempts)")
}

// A link that has expired is fetched anew from the service.
func TestDownloadWithAnExpiredLink(t *testing.T) {
	content := randomBytes(1000)
	now := atomic.Int64{}
	start := time.Now()
	srv := cdntest.NewServer(cdntest.WithLinkExpiry(time.Minute), cdntest.WithClock(func() time.Time {
		return start.Add(time.Duration(now.Load()))
	}))
	defer srv.Close()
	id := srv.AddTask(cdn.ExportTask{}, content).TaskID
	client := srv.NewClient(quickRetries)
	defer client.CloseIdleConnections()
	// Between the service's answer and the store's, the link expires once.
	expired := false
	srv.Inject(cdntest.Fault{Times: -1, Match: func(r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/files/") && !expired {
			expired = true
			now.Add(int64(2 * time.Minute))
		}
		return false
	}})
	var b bytes.Buffer
	_, err := client.Download(t.Context(), id, &b)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, b.Bytes()))
	gets := 0
	for _, request := range srv.Requests() {
		if request.Query.Get("task_id") == id {
			gets++
		}
	}
	assert.Equal(t, 2, gets)
}

// A link that says itself that it has expired is not tried again after a cut.
func TestDownloadGoesByTheLinksOwnExpiry(t *testing.T) {
	content := randomBytes(1000)
	store := httptest.NewServer(cutOnce(content, http.Header{"Etag": {`"v1"`}}, func(w http.ResponseWriter, r *http.Request, _ int) {
		assert.Equal(t, "/fresh", r.URL.Path)
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	defer store.Close()
	srv, client := newServer(t)
	task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL + "/stale?Expires=1"}, nil)
	srv.Inject(cdntest.Fault{Times: -1, Match: func(*http.Request) bool {
		if len(srv.Requests()) == 2 {
			srv.UpdateTask(task.TaskID, func(task *cdn.ExportTask) { task.DownloadLink = store.URL + "/fresh" })
		}
		return false
	}})
	var b bytes.Buffer
	_, err := client.Download(t.Context(), task.TaskID, &b)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, b.Bytes()))
}

func TestDownloadFollowsFewRedirects(t *testing.T) {
	for redirects, ok := range map[int]bool{1: true, 3: true, 4: false} {
		client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Empty(t, r.Header.Get("Referer"), "the link is a secret")
			hop, _ := strconv.Atoi(r.URL.Query().Get("hop"))
			if hop < redirects {
				http.Redirect(w, r, fmt.Sprintf("/?hop=%d", hop+1), http.StatusFound)
				return
			}
			_, _ = io.WriteString(w, "content")
		})
		_, err := client.Download(t.Context(), id, io.Discard)
		assert.Equal(t, ok, err == nil, "%d redirects: %v", redirects, err)
	}
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://store.example/?Signature=s3cret", http.StatusFound)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	assert.NotContains(t, err.Error(), "s3cret")
}

// A link that is encrypted does not lead to a place that is not, not even on this machine.
func TestDownloadIsNotRedirectedOutOfHTTPS(t *testing.T) {
	reached := false
	local := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer local.Close()
	store := httptest.NewTLSServer(http.RedirectHandler(local.URL+"/?Signature=s3cret", http.StatusFound))
	defer store.Close()
	srv, _ := newServer(t)
	task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL}, nil)
	client := srv.NewClient(cdn.WithHTTPClient(store.Client()), cdn.WithInsecureHTTP())
	_, err := client.Download(t.Context(), task.TaskID, io.Discard)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	assert.False(t, reached)
	assert.NotContains(t, err.Error(), "s3cret")
}

func TestDownloadChecksTheMD5(t *testing.T) {
	content := randomBytes(1000)
	sum := md5.Sum(content)
	header := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}, "Etag": {`"v1"`}}
	for name, served := range map[string][]byte{"right": content, "wrong": randomBytes(1001)[1:]} {
		t.Run(name, func(t *testing.T) {
			client, id := storeOf(t, cutOnce(served, header, func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("ETag", `"v1"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(served))
			}))
			_, err := client.Download(t.Context(), id, io.Discard)
			if name == "right" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, cdn.ErrMalformedResponse)
			assert.ErrorContains(t, err, "MD5")
		})
	}
}

func TestDownloadEndsWithItsContext(t *testing.T) {
	started := make(chan struct{}, 1)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	folder := t.TempDir()
	_, err := client.DownloadFile(ctx, id, filepath.Join(folder, "report"))
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, filesIn(t, folder))
}

func TestDownloadReturnsTheWritersError(t *testing.T) {
	full := errors.New("disk full")
	requests := 0
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = w.Write(randomBytes(1 << 20))
	})
	n, err := client.Download(t.Context(), id, writerFunc(func(p []byte) (int, error) { return 10, full }))
	require.ErrorIs(t, err, full)
	assert.Equal(t, int64(10), n)
	_, err = client.Download(t.Context(), id, writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil }))
	require.ErrorIs(t, err, io.ErrShortWrite)
	assert.Equal(t, 2, requests, "not the store's fault")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestDownloadReportsProgress(t *testing.T) {
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
	assert.LessOrEqual(t, len(reports), int(elapsed/(100*time.Millisecond))+2, "at most 10 a second, and the last")
	for i, report := range reports[1:] {
		assert.GreaterOrEqual(t, report.Bytes, reports[i].Bytes)
	}

	failing, failingID := storeOf(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	_, err = failing.Download(t.Context(), failingID, io.Discard, cdn.WithProgress(func(cdn.Progress) { t.Error("no progress") }))
	require.Error(t, err)
}

func TestDownloadFileReplacesOnlyWhenComplete(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	failed := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskFail}, nil).TaskID
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))

	_, err := client.DownloadFile(t.Context(), failed, path)
	require.Error(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(content))

	_, err = client.DownloadFile(t.Context(), id, path, cdn.WithProgress(func(cdn.Progress) {
		content, err := os.ReadFile(path)
		assert.NoError(t, err)
		assert.Equal(t, "old", string(content), "untouched until the end")
	}))
	require.NoError(t, err)
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "new", string(content))
	assert.Equal(t, []string{"report"}, filesIn(t, folder))
}

func TestDownloadFilePermissionsAndLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has neither in this form
	}
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	folder := t.TempDir()
	mode := func(path string) fs.FileMode {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		return info.Mode()
	}
	reference := filepath.Join(folder, "reference")
	file, err := os.Create(reference)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	created := filepath.Join(folder, "created")
	_, err = client.DownloadFile(t.Context(), id, created)
	require.NoError(t, err)
	assert.Equal(t, mode(reference), mode(created), "as os.Create")

	private := filepath.Join(folder, "private")
	require.NoError(t, os.WriteFile(private, nil, 0o600))
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink(private, link))
	_, err = client.DownloadFile(t.Context(), id, link)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), mode(private))
	assert.Equal(t, fs.ModeSymlink, mode(link)&fs.ModeSymlink, "the link stays")
	content, err := os.ReadFile(private)
	require.NoError(t, err)
	assert.Equal(t, "new", string(content))
}

// What the store does is logged as what the service does is, and the key to the file is not.
func TestDownloadIsLogged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	content := randomBytes(1000)
	client, id := storeOf(t, cutOnce(content, nil, func(w http.ResponseWriter, _ *http.Request, _ int) {
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

// A context that ends in a pause that the store has asked for is the error, and what the store said.
func TestDownloadThatIsCancelledInAPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The pause is announced before it begins.
	logger := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}), &slog.HandlerOptions{Level: slog.LevelWarn}))
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, cdn.WithLogger(logger))
	_, err := client.Download(ctx, id, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	var answer *cdn.APIError
	require.ErrorAs(t, err, &answer)
	assert.Equal(t, 5*time.Minute, answer.RetryAfter)
}

// A store that answers with ranges from the first request on.
func TestDownloadOfAStoreThatSendsPartsOnly(t *testing.T) {
	content, changed := randomBytes(1000), randomBytes(2000)[1000:]
	requests := 0
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		body, from := content, 0
		if requests > 1 {
			assert.Equal(t, `"v1"`, r.Header.Get("If-Range"))
			body, from = changed, 0 // it is another file now, so that the range does not count
		}
		w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, requests))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-999/1000", from))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body[from : from+500])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	assert.Equal(t, 2, requests)
}

// Of a file whose length nobody tells, the end is where the store has no more.
func TestDownloadOfPartsOfAFileOfUnknownLength(t *testing.T) {
	for _, end := range []string{"bytes */1000", ""} { // a refusal need not say how long the file is
		t.Run("refused with "+strconv.Quote(end), func(t *testing.T) { testDownloadOfParts(t, end) })
	}
}

func testDownloadOfParts(t *testing.T, end string) {
	content := randomBytes(1000)
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil { // the first one, cut
			_, _ = w.Write(content[:500])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if from == len(content) {
			if end != "" {
				w.Header().Set("Content-Range", end)
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, from+99))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[from : from+100])
	})
	got, err := download(t, client, id)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, got), "%d bytes", len(got))
}

// Where all the bytes have come and only the end of the answer was lost, nothing more is asked for.
func TestDownloadThatBreaksBehindItsLastByte(t *testing.T) {
	content := randomBytes(1000)
	requests := 0
	client, id := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 1 {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(content[:500])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Range", "bytes 500-999/1000")
		w.WriteHeader(http.StatusPartialContent) // chunked, and the last chunk does not come
		_, _ = w.Write(content[500:])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	var b bytes.Buffer
	_, err := client.Download(t.Context(), id, &b)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, b.Bytes()))
	assert.Equal(t, 2, requests)
}

func TestDownloadFileLeavesNothingBehindAPanic(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("content")).TaskID
	folder := t.TempDir()
	assert.Panics(t, func() {
		_, _ = client.DownloadFile(t.Context(), id, filepath.Join(folder, "report"), cdn.WithProgress(func(cdn.Progress) { panic("x") }))
	})
	assert.Empty(t, filesIn(t, folder))
}

func TestDownloadFileWithALongName(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("content")).TaskID
	path := filepath.Join(t.TempDir(), strings.Repeat("流", 80)+".csv")
	_, err := client.DownloadFile(t.Context(), id, path)
	require.NoError(t, err)
	assert.FileExists(t, path)
}

// A store that refuses a range nobody asked for is at fault, and the file has not changed.
func TestDownloadThatIsRefusedARangeItDidNotAskFor(t *testing.T) {
	requests := 0
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	})
	_, err := client.Download(t.Context(), id, io.Discard)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	assert.ErrorContains(t, err, "status 416 for the whole file")
	assert.NotContains(t, err.Error(), "changed")
	assert.Equal(t, 1, requests)
}

// net/http quotes a Location that it cannot read, and a transport may quote the link.
func TestErrorsOfNetHTTPShowNoKeyToAFile(t *testing.T) {
	for _, location := range []string{"/100%.csv?Signature=s3cret", "https://u:s3cret@host/%zz"} {
		client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		})
		_, err := client.Download(t.Context(), id, io.Discard)
		var answer *cdn.APIError
		require.ErrorAs(t, err, &answer, location)
		assert.Equal(t, http.StatusFound, answer.StatusCode)
		assert.NotContains(t, err.Error(), "s3cret")

		srv, client := newServer(t)
		srv.Inject(cdntest.Fault{Status: http.StatusFound, Header: http.Header{"Location": {location}}})
		_, err = client.ListExportTasks(t.Context(), nil)
		require.ErrorAs(t, err, &answer, location)
		assert.NotContains(t, err.Error(), "s3cret")
	}

	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: srv.URL + "/x?Signature=s3cret"}, nil)
	client := srv.NewClient(cdn.WithHTTPClient(&http.Client{Transport: quoting{}}))
	_, err := client.Download(t.Context(), task.TaskID, io.Discard)
	require.ErrorContains(t, err, "cannot reach")
	assert.NotContains(t, err.Error(), "s3cret")
}

// What the store or the way to it says may quote the link, or one that it redirected to.
func TestErrorsOfTheStoreShowNoKeyToAFile(t *testing.T) {
	const link = "HTTPS://other.example/g?Signature=s3cret"
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"message": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<Error><Code>" + link + "</Code><Message>no " + link + "</Message></Error>"))}, nil
		},
		"body": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 9, Body: io.NopCloser(io.MultiReader(strings.NewReader("x"), failingReader{link}))}, nil
		},
		"redirect": func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "other.example" {
				return nil, errors.New("cannot reach " + link)
			}
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {link}}, Body: http.NoBody}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := cdntest.NewServer()
			defer srv.Close()
			task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: "https://store.example/f"}, nil)
			var log bytes.Buffer
			client := srv.NewClient(
				cdn.WithHTTPClient(&http.Client{Transport: storeTransport(answer)}),
				cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}),
				cdn.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
			)
			_, err := client.Download(t.Context(), task.TaskID, io.Discard)
			require.ErrorContains(t, err, "other.example/g?redacted")
			assert.NotContains(t, err.Error()+log.String(), "s3cret")
		})
	}
}

// storeTransport answers for all hosts but loopback ones.
type storeTransport func(*http.Request) (*http.Response, error)

func (s storeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() == "127.0.0.1" {
		return http.DefaultTransport.RoundTrip(req)
	}
	return s(req)
}

type failingReader struct{ why string }

func (r failingReader) Read([]byte) (int, error) { return 0, errors.New("read " + r.why) }

// quoting is a transport that does not reach the store and says so at length.
type quoting struct{}

func (quoting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/x" {
		return nil, fmt.Errorf("cannot reach %s", req.URL)
	}
	return http.DefaultTransport.RoundTrip(req)
}
