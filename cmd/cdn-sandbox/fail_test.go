package main

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const tasksPath = "/v1/cdn/statistics/export-tasks"

// outcome sends a request and returns its status, or what went wrong.
func outcome(method, url string) any {
	body := ""
	if method == http.MethodPost {
		body = "{}"
	}
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "no response"
	}
	defer response.Body.Close()
	start := time.Now()
	switch content, err := io.ReadAll(response.Body); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	case strings.Contains(string(content), "<html>"):
		return "html"
	case time.Since(start) > time.Duration(len(content))*slowPause && len(content) > 0:
		return "slow"
	}
	return response.StatusCode
}

func TestFail(t *testing.T) {
	type request struct {
		method string
		want   any
	}
	const get, post = http.MethodGet, http.MethodPost
	for _, c := range []struct {
		flags    []string
		requests []request
	}{
		{[]string{"-fail", "503"}, []request{{get, 503}, {post, 503}, {get, 503}}},
		{[]string{"-fail", "503:2"}, []request{{get, 503}, {post, 503}, {get, 200}}},
		{[]string{"-fail", "list=503:1"}, []request{{post, 200}, {get, 503}, {get, 200}}},
		{[]string{"-fail", "create=CDN.0004"}, []request{{get, 200}, {post, 403}}},
		{[]string{"-fail", "create=reset"}, []request{{get, 200}, {post, "no response"}}},
		{[]string{"-fail", "list=cut"}, []request{{get, "cut"}, {post, 200}}},
		{[]string{"-fail", "list=html:1"}, []request{{get, "html"}, {get, 200}}},
		{[]string{"-fail", "list=slow:1", "-tasks", "0"}, []request{{get, "slow"}, {get, 200}}},
		{[]string{"-fail", "list=503:100%"}, []request{{get, 503}, {get, 503}, {post, 200}}},
		{[]string{"-fail", "list=500:1", "-fail", "list=501:1"}, []request{{get, 500}, {get, 501}, {get, 200}}},
		{[]string{"-quota", "2/1h"}, []request{{get, 200}, {post, 200}, {get, 429}}},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			s := startSandbox(t, append(c.flags, "-no-auth")...)
			defer s.end()
			for i, r := range c.requests {
				assert.Equal(t, r.want, outcome(r.method, s.url+tasksPath), "request %d", i)
			}
		})
	}
}

func TestFailOfADownload(t *testing.T) {
	s := startSandbox(t, "-no-auth", "-fail", "download=cut:1")
	defer s.end()
	link := regexp.MustCompile(`href="(/files/[^"]+)"`).FindStringSubmatch(get(t, s.url+"/"))[1]
	url := s.url + strings.ReplaceAll(link, "&amp;", "&")
	assert.Equal(t, "cut", outcome(http.MethodGet, url))
	assert.Equal(t, 200, outcome(http.MethodGet, url))
}

// A lost create has made its task.
func TestLostCreate(t *testing.T) {
	for flag, tasks := range map[string]string{"create=lost:1": `{"total":1,`, "create=reset:1": `{"total":0,`} {
		s := startSandbox(t, "-no-auth", "-tasks", "0", "-fail", flag)
		assert.Equal(t, "no response", outcome(http.MethodPost, s.url+tasksPath))
		assert.True(t, strings.HasPrefix(get(t, s.url+tasksPath), tasks), flag)
		s.end()
	}
}

func TestLagAndLock(t *testing.T) {
	s := startSandbox(t, "-no-auth", "-tasks", "0", "-lag", "1h")
	defer s.end()
	assert.Equal(t, 200, outcome(http.MethodPost, s.url+tasksPath))
	assert.Equal(t, `{"total":0,"data":[]}`, strings.TrimSpace(get(t, s.url+tasksPath)))

	locked := startSandbox(t, "-lock")
	defer locked.end()
	var last string
	for range 7 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, locked.url+tasksPath, http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+defaultAK+", SignedHeaders=host;x-sdk-date, Signature=0")
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		last = string(body)
	}
	assert.Contains(t, last, "AK access failed to reach the limit")
}

// get returns the body of a 200.
func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	return string(body)
}
