package cdntest_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
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
func (f *fixture) download(method, link string, header ...string) response {
	f.t.Helper()
	r := f.request(method, link, "")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return f.send(r)
}

func assertStore(t *testing.T, a response, status int, code string) {
	t.Helper()
	assert.Equal(t, status, a.StatusCode)
	assert.Equal(t, "application/xml", a.Header.Get("Content-Type"))
	var got struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
		RequestID     string `xml:"RequestId"`
		HostID        string `xml:"HostId"`
	}
	require.NoError(t, xml.Unmarshal([]byte(a.body), &got), a.body)
	assert.Equal(t, code, got.Code)
	assert.NotEmpty(t, got.Message)
	assert.Equal(t, a.Header.Get("x-obs-request-id"), got.RequestID)
	assert.Equal(t, a.Header.Get("x-obs-id-2"), got.HostID)
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

	assert.Regexp(t, `^[0-9A-F]{32}$`, whole.Header.Get("x-obs-request-id"))
	assert.Len(t, whole.Header.Get("x-obs-id-2"), 32)
	assert.Empty(t, whole.Header.Get("X-Request-Id"), "that is the gateway's")
	sum := md5.Sum([]byte("0123456789"))
	assert.Equal(t, `"`+hex.EncodeToString(sum[:])+`"`, etag)

	const modified, older, newer = "Wed, 04 Mar 2026 05:06:07 GMT", "Wed, 04 Mar 2026 05:06:06 GMT", "Wed, 04 Mar 2026 05:06:08 GMT"
	for _, c := range []struct {
		name   string
		header []string
		status int
		body   string // of a 200 or 206
	}{
		{"the end", []string{"Range", "bytes=7-"}, 206, "789"},
		{"the middle", []string{"Range", "bytes=2-4"}, 206, "234"},
		{"one byte", []string{"Range", "bytes=0-0"}, 206, "0"},
		{"past the end", []string{"Range", "bytes=8-99"}, 206, "89"},
		{"the last byte", []string{"Range", "bytes=-1"}, 206, "9"},
		{"more last bytes than there are", []string{"Range", "bytes=-99"}, 206, "0123456789"},
		{"from the end", []string{"Range", "bytes=10-"}, 416, ""},
		{"no last bytes", []string{"Range", "bytes=-0"}, 416, ""},
		{"a range of another unit is ignored", []string{"Range", "lines=1-"}, 200, "0123456789"},
		{"a reversed range is ignored", []string{"Range", "bytes=4-2"}, 200, "0123456789"},
		{"a range of words is ignored", []string{"Range", "bytes=a-b"}, 200, "0123456789"},
		{"a range with a sign is ignored", []string{"Range", "bytes=+1-2"}, 200, "0123456789"},
		{"a range without a dash is ignored", []string{"Range", "bytes=7"}, 200, "0123456789"},
		{"an empty range is ignored", []string{"Range", "bytes=-"}, 200, "0123456789"},
		{"a range beyond int64 is ignored", []string{"Range", "bytes=9223372036854775808-"}, 200, "0123456789"},
		{"two ranges are ignored", []string{"Range", "bytes=0-1,3-4"}, 200, "0123456789"},
		{"If-Range of another file is ignored", []string{"Range", "bytes=7-", "If-Range", `"other"`}, 206, "789"},
		{"If-Range of an older file is ignored", []string{"Range", "bytes=7-", "If-Range", older}, 206, "789"},
		{"If-Match", []string{"If-Match", etag}, 200, "0123456789"},
		{"If-Match with a range", []string{"If-Match", `"other", ` + etag, "Range", "bytes=7-"}, 206, "789"},
		{"If-Match of any file", []string{"If-Match", "*"}, 200, "0123456789"},
		{"If-Match of another file", []string{"If-Match", `"other"`, "Range", "bytes=7-"}, 412, ""},
		{"If-Match of a weak tag", []string{"If-Match", "W/" + etag}, 412, ""},
		{"If-Unmodified-Since", []string{"If-Unmodified-Since", modified}, 200, "0123456789"},
		{"If-Unmodified-Since of an older file", []string{"If-Unmodified-Since", older}, 412, ""},
		{"If-Match counts before If-Unmodified-Since", []string{"If-Match", etag, "If-Unmodified-Since", older}, 200, "0123456789"},
		{"a date that cannot be read is ignored", []string{"If-Unmodified-Since", "yesterday"}, 200, "0123456789"},
		{"If-None-Match", []string{"If-None-Match", etag}, 304, ""},
		{"If-None-Match of another file", []string{"If-None-Match", `"other"`, "If-Modified-Since", newer}, 200, "0123456789"},
		{"If-Modified-Since", []string{"If-Modified-Since", modified}, 304, ""},
		{"If-Modified-Since of an older file", []string{"If-Modified-Since", older}, 200, "0123456789"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.download(http.MethodGet, link, c.header...)
			assert.Equal(t, c.status, a.StatusCode)
			switch c.status {
			case http.StatusPreconditionFailed:
				assertStore(t, a, c.status, "PreconditionFailed")
			case http.StatusRequestedRangeNotSatisfiable:
				assertStore(t, a, c.status, "InvalidRange")
				assert.Empty(t, a.Header.Get("Content-Range"))
			case http.StatusNotModified:
				assert.Empty(t, a.body)
			default:
				assert.Equal(t, c.body, a.body)
				assert.EqualValues(t, len(c.body), a.ContentLength)
				assert.Equal(t, etag, a.Header.Get("ETag"), "that of the whole, also with a part")
			}
		})
	}
	assert.Equal(t, "bytes 2-4/10", f.download(http.MethodGet, link, "Range", "bytes=2-4").Header.Get("Content-Range"))
}

func TestEmptyFile(t *testing.T) {
	f := newFixture(t)
	a := f.download(http.MethodGet, f.AddTask(cdn.ExportTask{}, []byte{}).DownloadLink)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.EqualValues(t, 0, a.ContentLength)
	assertStore(t, f.download(http.MethodGet, f.Tasks()[0].DownloadLink, "Range", "bytes=0-"), 416, "InvalidRange")
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
	for _, c := range []struct{ name, link, code string }{
		{"another task", strings.Replace(task.DownloadLink, "/files/one", "/files/two", 1), "SignatureDoesNotMatch"},
		{"another expiry", change("Expires", "99999999999"), "SignatureDoesNotMatch"},
		{"an odd expiry", change("Expires", "never"), "SignatureDoesNotMatch"},
		{"another signature", change("Signature", strings.Repeat("0", 28)), "SignatureDoesNotMatch"},
		{"an empty signature", change("Signature", ""), "SignatureDoesNotMatch"},
		{"another key", change("AccessKeyId", f.AK), "InvalidAccessKeyId"},
		{"no query", f.URL + "/files/one", "AccessDenied"},
		{"no task", f.URL + "/files/", "AccessDenied"},
		{"another server's", f.URL + another.RequestURI(), "SignatureDoesNotMatch"},
		{"another kind", change("X-Amz-Date", "20260304T050607Z"), "AccessDenied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assertStore(t, f.download(http.MethodGet, c.link), http.StatusForbidden, c.code)
		})
	}
}

func TestLinkIsForGetAndNoSignedHeader(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	for _, header := range []string{"Content-Type", "Content-MD5", "x-obs-meta-a"} {
		assertStore(t, f.download(http.MethodGet, link, header, "a"), http.StatusForbidden, "SignatureDoesNotMatch")
	}
	assertStore(t, f.download(http.MethodPut, link), http.StatusForbidden, "SignatureDoesNotMatch")
	assert.Equal(t, http.StatusForbidden, f.download(http.MethodHead, link).StatusCode)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link, "Accept", "*/*", "X-Other", "is welcome").StatusCode)
}

func TestWithAmzLinks(t *testing.T) {
	f := newFixture(t, cdntest.WithAmzLinks(), cdntest.WithLinkExpiry(time.Minute))
	f.clock.Advance(500 * time.Millisecond)
	link := f.AddTask(cdn.ExportTask{TaskID: "a/b"}, []byte("content")).DownloadLink
	parsed, err := url.Parse(link)
	require.NoError(t, err)
	query := parsed.Query()
	assert.Equal(t, "20260304T050607Z", query.Get("X-Amz-Date"))
	assert.Equal(t, "61", query.Get("X-Amz-Expires"))
	assert.Regexp(t, `^[0-9a-f]{64}$`, query.Get("X-Amz-Signature"))
	assert.False(t, query.Has("Expires"))

	assert.Equal(t, "content", f.download(http.MethodGet, link, "Content-Type", "is not signed").body)
	assertStore(t, f.download(http.MethodGet, strings.Replace(link, "X-Amz-Expires=61", "X-Amz-Expires=62", 1)), 403, "SignatureDoesNotMatch")
	assertStore(t, f.download(http.MethodGet, strings.Replace(link, "cn-north-1", "cn-north-4", 1)), 403, "SignatureDoesNotMatch")
	f.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link).StatusCode)
	f.clock.Advance(time.Second)
	assertStore(t, f.download(http.MethodGet, link), http.StatusForbidden, "AccessDenied")
}

// Last-Modified has whole seconds, and a file is not newer than its own.
func TestConditionsHaveWholeSeconds(t *testing.T) {
	f := newFixture(t)
	f.clock.Advance(500 * time.Millisecond)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	modified := f.download(http.MethodGet, link).Header.Get("Last-Modified")
	assert.Equal(t, http.StatusOK, f.download(http.MethodGet, link, "If-Unmodified-Since", modified).StatusCode)
	assert.Equal(t, http.StatusNotModified, f.download(http.MethodGet, link, "If-Modified-Since", modified).StatusCode)
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

func TestSetContent(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, []byte("one"))
	before := f.download(http.MethodGet, task.DownloadLink)
	f.clock.Advance(time.Minute)

	assert.True(t, f.SetContent(task.TaskID, []byte("two")))
	after := f.download(http.MethodGet, task.DownloadLink, "Range", "bytes=1-", "If-Match", before.Header.Get("ETag"))
	assertStore(t, after, http.StatusPreconditionFailed, "PreconditionFailed")
	after = f.download(http.MethodGet, task.DownloadLink)
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
