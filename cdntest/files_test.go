package cdntest_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// download asks for a link with the headers given as name, value, name, value.
func (f *fixture) download(method, link string, header ...string) answer {
	f.t.Helper()
	r := f.request(method, link, "")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return f.send(r)
}

func assertStore(t *testing.T, a answer, status int, code string) {
	t.Helper()
	assert.Equal(t, status, a.StatusCode)
	assert.Equal(t, "application/xml", a.Header.Get("Content-Type"))
	var got struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
		RequestID     string `xml:"RequestId"`
	}
	require.NoError(t, xml.Unmarshal([]byte(a.body), &got), a.body)
	assert.Equal(t, code, got.Code)
	assert.NotEmpty(t, got.Message)
	assert.Equal(t, a.Header.Get("X-Request-Id"), got.RequestID)
}

func TestFile(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("0123456789")).DownloadLink
	whole := f.download(http.MethodGet, link)
	assert.Equal(t, http.StatusOK, whole.StatusCode)
	assert.Equal(t, "0123456789", whole.body)
	assert.Equal(t, "bytes", whole.Header.Get("Accept-Ranges"))
	assert.Equal(t, "application/octet-stream", whole.Header.Get("Content-Type"))
	assert.Equal(t, "Wed, 04 Mar 2026 05:06:07 GMT", whole.Header.Get("Last-Modified"))
	assert.Empty(t, whole.Header.Get("Content-MD5"))
	etag := whole.Header.Get("ETag")
	assert.Regexp(t, `^"[0-9a-f]{32}"$`, etag)

	for _, c := range []struct {
		name   string
		method string
		header []string
		status int
		body   string
		length int64
	}{
		{"head", http.MethodHead, nil, 200, "", 10},
		{"the end", http.MethodGet, []string{"Range", "bytes=7-"}, 206, "789", 3},
		{"the middle", http.MethodGet, []string{"Range", "bytes=2-4"}, 206, "234", 3},
		{"the last bytes", http.MethodGet, []string{"Range", "bytes=-1"}, 206, "9", 1},
		{"the end of the same file", http.MethodGet, []string{"Range", "bytes=7-", "If-Range", etag}, 206, "789", 3},
		{"the end of another file", http.MethodGet, []string{"Range", "bytes=7-", "If-Range", `"other"`}, 200, "0123456789", 10},
		{"the end of an older file", http.MethodGet, []string{"Range", "bytes=7-", "If-Range", "Wed, 04 Mar 2026 05:06:06 GMT"}, 200, "0123456789", 10},
		{"nothing new", http.MethodGet, []string{"If-None-Match", etag}, 304, "", -1},
		{"another file only", http.MethodGet, []string{"If-Match", `"other"`}, 412, "", 0},
		{"past the end", http.MethodGet, []string{"Range", "bytes=10-"}, 416, "invalid range: failed to overlap\n", 33},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.download(c.method, link, c.header...)
			assert.Equal(t, c.status, a.StatusCode)
			assert.Equal(t, c.body, a.body)
			if c.length >= 0 {
				assert.Equal(t, c.length, a.ContentLength)
			}
		})
	}
}

func TestEmptyFile(t *testing.T) {
	f := newFixture(t)
	a := f.download(http.MethodGet, f.AddTask(cdn.ExportTask{}, []byte{}).DownloadLink)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.EqualValues(t, 0, a.ContentLength)
}

func TestLinkOfAnOddID(t *testing.T) {
	f := newFixture(t)
	for _, id := range []string{"a/b", "a b", "..", "a%2fb", "ä?#&", "/", "a\nb"} {
		task := f.AddTask(cdn.ExportTask{TaskID: id}, []byte("content of "+id))
		assert.Equal(t, "content of "+id, f.download(http.MethodGet, task.DownloadLink).body)
	}
}

func TestLinkExpires(t *testing.T) {
	f := newFixture(t, cdntest.WithLinkExpiry(time.Minute))
	f.clock.Advance(500 * time.Millisecond)
	old := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	f.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, old).StatusCode, "good for all of its minute")
	f.clock.Advance(time.Second)
	assertStore(t, f.download(http.MethodGet, old), http.StatusForbidden, "AccessDenied")

	fresh := f.list("task_id&task_name").Data[0]["download_link"].(string)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, fresh).StatusCode)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, f.Tasks()[0].DownloadLink).StatusCode)
}

func TestDefaultLinkExpiry(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	f.clock.Advance(time.Hour)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link).StatusCode)
	f.clock.Advance(time.Millisecond)
	assert.Equal(t, http.StatusForbidden, f.download(http.MethodGet, link).StatusCode)
}

func TestForgedLinks(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{TaskID: "one"}, []byte("content"))
	f.AddTask(cdn.ExportTask{TaskID: "two"}, []byte("content"))
	change := func(key, value string) string {
		link, err := url.Parse(task.DownloadLink)
		require.NoError(t, err)
		query := link.Query()
		query.Set(key, value)
		link.RawQuery = query.Encode()
		return link.String()
	}
	another, err := url.Parse(newFixture(t).AddTask(cdn.ExportTask{TaskID: "one"}, []byte("content")).DownloadLink)
	require.NoError(t, err)
	for name, link := range map[string]string{
		"another task":      strings.Replace(task.DownloadLink, "/files/one", "/files/two", 1),
		"another expiry":    change("Expires", "99999999999"),
		"an odd expiry":     change("Expires", "never"),
		"another signature": change("Signature", strings.Repeat("0", 64)),
		"no signature":      change("Signature", ""),
		"no query":          f.URL + "/files/one",
		"no task":           f.URL + "/files/",
		"another server's":  f.URL + another.RequestURI(),
	} {
		t.Run(name, func(t *testing.T) {
			assertStore(t, f.download(http.MethodGet, link), http.StatusForbidden, "SignatureDoesNotMatch")
		})
	}
}

func TestNoAccountHeaderGoesToTheStore(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	for _, name := range []string{"Authorization", "X-Sdk-Date", "X-Security-Token", "X-Domain-Id", "X-Project-Id", "X-Sdk-Content-Sha256"} {
		a := f.download(http.MethodGet, link, name, "the value")
		assertStore(t, a, http.StatusBadRequest, "InvalidArgument")
		assert.Contains(t, a.body, name)
		assert.NotContains(t, a.body, "the value")
	}
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link, "X-Other", "is welcome").StatusCode)
}

func TestLinksAreForReading(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	a := f.download(http.MethodPut, link)
	assertStore(t, a, http.StatusMethodNotAllowed, "MethodNotAllowed")
	assert.Equal(t, "GET, HEAD", a.Header.Get("Allow"))
}

func TestSetContent(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, []byte("one"))
	before := f.download(http.MethodGet, task.DownloadLink)
	f.clock.Advance(time.Minute)

	assert.True(t, f.SetContent(task.TaskID, []byte("two")))
	after := f.download(http.MethodGet, task.DownloadLink, "Range", "bytes=1-", "If-Range", before.Header.Get("ETag"))
	assert.Equal(t, http.StatusOK, after.StatusCode, "it is another file now")
	assert.Equal(t, "two", after.body)
	assert.NotEqual(t, before.Header.Get("ETag"), after.Header.Get("ETag"))
	assert.NotEqual(t, before.Header.Get("Last-Modified"), after.Header.Get("Last-Modified"))
	assert.Equal(t, task.UpdateTime, f.Tasks()[0].UpdateTime)

	assert.True(t, f.SetContent(task.TaskID, nil))
	assertStore(t, f.download(http.MethodGet, task.DownloadLink), http.StatusNotFound, "NoSuchKey")
	assert.Empty(t, f.Tasks()[0].DownloadLink)
	assert.False(t, f.SetContent("unknown", []byte("three")))
}

func TestWithContentMD5(t *testing.T) {
	f := newFixture(t, cdntest.WithContentMD5())
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	sum := md5.Sum([]byte("content"))
	assert.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), f.download(http.MethodGet, link).Header.Get("Content-MD5"))
	assert.Empty(t, f.download(http.MethodGet, link, "Range", "bytes=1-").Header.Get("Content-MD5"))
}

// Behind a proxy, links lead through the proxy too.
func TestLinksLeadWhereTheClientCameFrom(t *testing.T) {
	f := newFixture(t)
	f.AddTask(cdn.ExportTask{}, []byte("content"))
	r := f.request(http.MethodGet, allTasks, "")
	r.Host = "sandbox.example.com:8080"
	require.NoError(t, f.signer.Sign(r, f.clock.Now()))
	assert.Contains(t, f.send(r).body, `"http://sandbox.example.com:8080/files/`)
}
