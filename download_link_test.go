package cdn_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A link that has expired is replaced by a new one from the service.
func TestDownload_expired_link_is_replaced(t *testing.T) {
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
	// The link expires once, after the service's response and before the store's.
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
	lookups := 0
	for _, request := range srv.Requests() {
		if request.Query.Get("task_id") == id {
			lookups++
		}
	}
	assert.Equal(t, 2, lookups)
}

// linkStore is a store that responds with 403 to the paths in refused.
func linkStore(t *testing.T, content []byte, refused ...string) (url string, paths *[]string) {
	t.Helper()
	paths = &[]string{}
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*paths = append(*paths, r.URL.Path)
		if slices.Contains(refused, r.URL.Path) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(store.Close)
	return store.URL, paths
}

func TestWithLink(t *testing.T) {
	content := randomBytes(1000)
	tests := []struct {
		name  string
		link  string
		calls int // requests to the service
		paths []string
	}{
		{"good", "/given?Signature=s3cret", 0, []string{"/given"}},
		{"refused", "/refused?Signature=s3cret", 1, []string{"/refused", "/fresh"}},
		{"expired", "/given?Expires=1&Signature=s3cret", 1, []string{"/fresh"}},
		{"expired, signed by date", "/given?X-Amz-Date=20200101T000000Z&X-Amz-Expires=900", 1, []string{"/fresh"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, paths := linkStore(t, content, "/refused")
			srv, client := newServer(t)
			id := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: url + "/fresh"}, nil).TaskID
			var b bytes.Buffer
			_, err := client.Download(t.Context(), id, &b, cdn.WithLink(url+test.link))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(content, b.Bytes()))
			assert.Equal(t, test.paths, *paths)
			assert.Len(t, srv.Requests(), test.calls)
		})
	}
}

func TestWithLink_invalid(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("x")).TaskID
	for link, text := range map[string]string{
		"":                                      `Link "": is not a URL`,
		"https://%zz/?s3cret":                   `Link "[unreadable link]": is not a URL`,
		"/report?s3cret":                        `Link "/report?redacted": the download link has no host`,
		"http://store.example/report?s3cret":    `Link "http://store.example/report?redacted": the download link`,
		"file://store.example/etc/hosts?s3cret": `is not https`,
	} {
		_, err := client.Download(t.Context(), id, io.Discard, cdn.WithLink(link))
		require.ErrorIs(t, err, cdn.ErrInvalidParameter, link)
		require.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), "s3cret")
		folder := t.TempDir()
		_, err = client.DownloadFile(t.Context(), id, filepath.Join(folder, "report"), cdn.WithLink(link))
		require.ErrorIs(t, err, cdn.ErrInvalidParameter, link)
		assert.Empty(t, filesIn(t, folder))
	}
	_, err := client.Download(t.Context(), "", io.Discard, cdn.WithLink(srv.URL+"/x"))
	require.ErrorIs(t, err, cdn.ErrInvalidParameter, "the id is needed for a new link")
	assert.Empty(t, srv.Requests())
}

// A link that is refused is replaced once.
func TestDownload_refused_link_is_replaced_once(t *testing.T) {
	url, paths := linkStore(t, nil, "/report")
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: url + "/report"}, nil).TaskID
	_, err := client.Download(t.Context(), id, io.Discard)
	var response *cdn.APIError
	require.ErrorAs(t, err, &response)
	assert.Equal(t, "AccessDenied", response.ErrorCode)
	assert.Len(t, *paths, 2)
	assert.Len(t, srv.Requests(), 2)
}

// A service on another machine must not make the client call a server that only this machine reaches.
func TestDownload_link_to_this_machine_is_refused(t *testing.T) {
	reached := false
	local := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer local.Close()
	srv := cdntest.NewServer()
	defer srv.Close()
	id := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: local.URL + "/?Signature=s3cret"}, nil).TaskID
	// The service is reached as if it were another machine.
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "cdn.example:80" {
			address = strings.TrimPrefix(srv.URL, "http://")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	client := srv.NewClient(cdn.WithEndpoint("http://cdn.example"), cdn.WithInsecureHTTP(), cdn.WithHTTPClient(&http.Client{Transport: transport}))
	_, err := client.Download(t.Context(), id, io.Discard)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	require.ErrorContains(t, err, "leads to this machine")
	_, err = client.Download(t.Context(), id, io.Discard, cdn.WithLink(local.URL))
	require.ErrorIs(t, err, cdn.ErrInvalidParameter)
	assert.False(t, reached)
	assert.NotContains(t, err.Error(), "s3cret")
}

// A link with https is not redirected to http, not even on this machine.
func TestDownload_no_redirect_from_https_to_http(t *testing.T) {
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
