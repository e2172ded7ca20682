package main

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestPage(t *testing.T) {
	s := startSandbox(t, "-no-auth", "-fail", "create=503:1")
	defer s.end()
	assert.Contains(t, get(t, s.url+"/"), "No requests yet")
	get(t, s.url+tasksPath+"?limit=5&task_name=%3Cb%3E")
	assert.Equal(t, 503, outcome(http.MethodPost, s.url+tasksPath))

	text := get(t, s.url+"/")
	for _, want := range []string{
		"<title>CDN sandbox: 6 tasks</title>", s.url, "flux_www.example.com_", ">success<", ">processing<", ">fail<", `download>download</a>`,
		"GET " + tasksPath + "?limit=5&amp;task_name=%3Cb%3E", "POST " + tasksPath, ">200<", ">503<",
		"<b>-fail</b>create=503:1", "export CLOUD_SDK_SK=&#39;" + defaultSK + "&#39;", `http-equiv="refresh" content="3"`,
	} {
		assert.Contains(t, text, want)
	}
	assert.Equal(t, 1, strings.Count(text, ">200<"), "the page does not list itself")
	wellFormed(t, text)

	paused := get(t, s.url+"/?pause")
	assert.NotContains(t, paused, `http-equiv="refresh"`)
	assert.Contains(t, paused, `<a href="/">resume</a>`)
	wellFormed(t, paused)
}

// wellFormed checks that every element is closed.
func wellFormed(t *testing.T, html string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(html))
	decoder.Strict = false
	decoder.AutoClose = xml.HTMLAutoClose
	decoder.Entity = xml.HTMLEntity
	open := 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch token.(type) {
		case xml.StartElement:
			open++
		case xml.EndElement:
			open--
		}
	}
	assert.Zero(t, open)
}

// The page is for browsers: a signed request, another method and another path reach the API.
func TestPageIsAtTheRootOnly(t *testing.T) {
	s := startSandbox(t)
	defer s.end()
	for _, c := range []struct {
		method, path, authorization string
		status                      int
	}{
		{http.MethodGet, "/", "", 200},
		{http.MethodHead, "/", "", 200},
		{http.MethodGet, "/?a=b", "", 200},
		{http.MethodGet, "/", "SDK-HMAC-SHA256 Access=a", 404},
		{http.MethodPost, "/", "", 404},
		{http.MethodGet, "/index.html", "", 404},
		{http.MethodGet, tasksPath, "", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.url+c.path, http.NoBody)
		require.NoError(t, err)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, c.status, response.StatusCode, "%s %s", c.method, c.path)
		if c.status == 200 {
			assert.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
			assert.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'")
			assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		}
	}
}

func TestPageKeepsAGivenKeySecret(t *testing.T) {
	s := startSandbox(t, "-sk", "a-key-of-mine")
	defer s.end()
	text := get(t, s.url+"/")
	assert.NotContains(t, text, "a-key-of-mine")
	assert.Contains(t, text, "which is not shown")
}

// showPage returns the page of a server with these tasks.
func showPage(t *testing.T, requests *requestLog, tasks ...cdn.ExportTask) string {
	t.Helper()
	srv := cdntest.NewServer()
	defer srv.Close()
	for _, task := range tasks {
		srv.AddTask(task, nil)
	}
	w := httptest.NewRecorder()
	newPage(requests, serveFlags{ak: defaultAK, sk: defaultSK}).show(w, srv, false)
	wellFormed(t, w.Body.String())
	return w.Body.String()
}

func TestPageEscapesNames(t *testing.T) {
	text := showPage(t, new(requestLog), cdn.ExportTask{
		TaskID:       `"><img src=x>`,
		TaskName:     "<script>alert(1)</script>\u202etxt.exe\u009b31m\u2066\x00\xff",
		Status:       "<i>odd</i>",
		DownloadLink: "javascript:alert(1)",
	})
	for _, bad := range []string{"<script", "<img", "<i>", "\u202e", "\u009b", "\u2066", "\x00", `href="javascript`} {
		assert.NotContains(t, text, bad)
	}
	assert.Contains(t, text, `\u202etxt.exe\u009b31m\u2066\u0000`)
}

func TestPageShowsTheNewest(t *testing.T) {
	var tasks []cdn.ExportTask
	for range keepTasks + 1 {
		tasks = append(tasks, cdn.ExportTask{TaskName: "task"})
	}
	text := showPage(t, new(requestLog), tasks...)
	assert.Equal(t, keepTasks, strings.Count(text, ">task</td>"))
	assert.Contains(t, text, "<b>51</b>tasks")
	assert.Contains(t, text, "the newest 50")

	assert.Contains(t, showPage(t, new(requestLog)), "No tasks yet")
}

func TestRequestLogKeepsTheLast(t *testing.T) {
	log := new(requestLog)
	handler := log.middleware(http.NotFoundHandler())
	for range keepRequests {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/old", nil))
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/new", nil))
	last := log.newestFirst()
	assert.Len(t, last, keepRequests)
	assert.Equal(t, "/new", last[0].Target)
	assert.Equal(t, 404, last[0].Status)
}

// A business error comes with 200, and so shows its code.
func TestRequestsThatAreRefused(t *testing.T) {
	s := startSandbox(t, "-no-auth", "-fail", "create=CDN.0005", "-fail", "list=APIGW.0308", "-fail", "download=SlowDown")
	defer s.end()
	outcome(http.MethodPost, s.url+tasksPath)
	outcome(http.MethodGet, s.url+tasksPath)
	outcome(http.MethodGet, s.url+"/files/a")
	text := get(t, s.url+"/")
	for _, want := range []string{`"pill bad">200 CDN.0005<`, `"pill open">429 APIGW.0308<`, `"pill bad">503 SlowDown<`} {
		assert.Contains(t, text, want)
	}
}

func TestRequestsWithoutAStatus(t *testing.T) {
	log := new(requestLog)
	handler := log.middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, strings.Repeat("a", keepBody))
		_, _ = io.WriteString(w, `"error_code":"CDN.0001"`)
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, "200", log.newestFirst()[0].Outcome())
}

func TestRequestsWithoutAResponse(t *testing.T) {
	log := new(requestLog)
	handler := log.middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	assert.Panics(t, func() {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/files/a?Signature=b", nil))
	})
	last := log.newestFirst()
	assert.Equal(t, "-", last[0].Outcome())
	assert.Equal(t, "/files/a", last[0].Target, "a link is shown without its signature")
	assert.Contains(t, showPage(t, log), "no response")
}

func TestVerbose(t *testing.T) {
	s := startSandbox(t, "-v", "-no-auth", "-fail", "create=reset")
	defer s.end()
	get(t, s.url+"/")
	get(t, s.url+tasksPath+"?limit=1")
	assert.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} GET `+tasksPath+`\?limit=1 200 \S+\n$`, <-s.stderr)
	outcome(http.MethodPost, s.url+tasksPath)
	assert.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} POST `+tasksPath+` - \S+\n$`, <-s.stderr)
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain: 日报 <b>&": "plain: 日报 <b>&",
		"a\tb\nc":        `a\u0009b\u000ac`,
		"\u009b31m":      `\u009b31m`,
		"\u200e\u061c":   `\u200e\u061c`,
		"\u2028":         `\u2028`,
		"\U000e0001":     `\U000e0001`,
		"\xffa":          `\xffa`,
		"\ufffd":         "\ufffd",
	} {
		assert.Equal(t, want, visible(text))
	}
}

func TestAgoAndDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "in the future", 999 * time.Millisecond: "now", 59900 * time.Millisecond: "59s ago",
		10 * time.Minute: "10m ago", 3*time.Hour + 7*time.Minute + time.Second: "3h7m ago",
	} {
		assert.Equal(t, want, ago(d))
	}
	for d, want := range map[time.Duration]string{
		123456: "123µs", 1234567: "1.2ms", 1234567890: "1.23s",
	} {
		assert.Equal(t, want, duration(d))
	}
}
