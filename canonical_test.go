package cdn

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSign_host_as_it_is_sent(t *testing.T) {
	request := func(urlHost, host string, header http.Header) string {
		req := &http.Request{URL: &url.URL{Scheme: "https", Host: urlHost, Path: "/"}, Host: host, Header: header}
		require.NoError(t, testSigner.Sign(req, testTime))
		return req.Header.Get("Authorization")
	}
	want := request("cdn.example.com", "", nil)
	tests := map[string]struct {
		urlHost, host string
		header        http.Header
		same          bool
	}{
		"Host set":                       {urlHost: "192.0.2.1", host: "cdn.example.com", same: true},
		"Host header, which is not sent": {urlHost: "cdn.example.com", header: http.Header{"Host": {"other.example.com"}}, same: true},
		"port":                           {urlHost: "cdn.example.com:8443"},
		"dot at the end":                 {urlHost: "cdn.example.com."},
		"capitals":                       {urlHost: "CDN.example.com"},
		"IPv6 address":                   {urlHost: "[::1]:443"},
		"another Host":                   {urlHost: "cdn.example.com", host: "other.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := request(test.urlHost, test.host, test.header)
			assert.Equal(t, test.same, got == want)
		})
	}
}

func TestSign_host_in_punycode(t *testing.T) {
	server := verifyServer(t, testSigner, func() time.Time { return testTime })
	req := newTestRequest(t, http.MethodGet, server.URL+"/v1", "")
	req.Host = "xn--fiq228c.example.com"
	require.NoError(t, testSigner.Sign(req, testTime))
	requireVerified(t, server, req, "")
}

// net/http sends an empty host instead of one with a character that no host has.
func TestSign_host_that_net_http_changes_is_invalid(t *testing.T) {
	for c := range rune(0x80) {
		if c == '%' { // it begins a zone, which net/http removes only within brackets
			continue
		}
		req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
		req.Host = "a" + string(c) + "b"
		var wire strings.Builder
		require.NoError(t, req.Write(&wire))
		sent := strings.Contains(wire.String(), "\r\nHost: "+req.Host+"\r\n")
		assert.Equal(t, sent, testSigner.Sign(req, testTime) == nil, "%q", c)
	}
}

func TestSign_depends_only_on_what_is_sent(t *testing.T) {
	tests := map[string]struct {
		a, b   func(*http.Request)
		differ bool
	}{
		"no method is GET":              {a: func(r *http.Request) { r.Method = "" }, b: func(r *http.Request) { r.Method = "GET" }},
		"method":                        {a: func(r *http.Request) { r.Method = "PUT" }, b: func(r *http.Request) { r.Method = "POST" }, differ: true},
		"no path is the root":           {a: func(r *http.Request) { r.URL.Path = "" }, b: func(r *http.Request) { r.URL.Path = "/" }},
		"slash at the end of the path":  {a: func(r *http.Request) { r.URL.Path = "/a" }, b: func(r *http.Request) { r.URL.Path = "/a/" }},
		"two slashes":                   {a: func(r *http.Request) { r.URL.Path = "/a//b" }, b: func(r *http.Request) { r.URL.Path = "/a/b" }, differ: true},
		"order of parameters":           {a: query("a=1&b=2"), b: query("b=2&a=1")},
		"order of values":               {a: query("a=1&a=2"), b: query("a=2&a=1")},
		"number of values":              {a: query("a=1&a=1"), b: query("a=1"), differ: true},
		"key without value":             {a: query("a"), b: query("a=")},
		"nothing between ampersands":    {a: query("&a=1&&b=2&"), b: query("a=1&b=2")},
		"plus is a space":               {a: query("a=x+y"), b: query("a=x%20y")},
		"encoded plus is none":          {a: query("a=x%2By"), b: query("a=x+y"), differ: true},
		"needless encoding":             {a: query("%61=%62"), b: query("a=b")},
		"case of the encoding":          {a: query("a=%2f"), b: query("a=%2F")},
		"equals sign within a value":    {a: query("a=b=c"), b: query("a=b%3Dc")},
		"semicolon is a character":      {a: query("a=1;b=2"), b: query("a=1%3Bb%3D2")},
		"semicolon separates nothing":   {a: query("a=1;b=2"), b: query("a=1&b=2"), differ: true},
		"value moved to another key":    {a: query("a=1&b=2"), b: query("a=2&b=1"), differ: true},
		"order of a header's values":    {a: header("X-A", "1", "2"), b: header("X-A", "2", "1")},
		"order that is of spaces only":  {a: header("X-A", " 2", "1"), b: header("X-A", "1", "2")},
		"space around a header's value": {a: header("X-A", " 1\t"), b: header("X-A", "1")},
		"space within a header's value": {a: header("X-A", "1  2"), b: header("X-A", "1 2"), differ: true},
		"a header in two spellings": {
			a: func(r *http.Request) { r.Header["X-A"], r.Header["x-a"] = []string{"1"}, []string{"2", "3"} },
			b: header("X-A", "3", "1", "2"),
		},
		"fragment": {a: func(r *http.Request) { r.URL.Fragment = "top" }, b: func(*http.Request) {}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			authorization := func(change func(*http.Request)) string {
				req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
				change(req)
				require.NoError(t, testSigner.Sign(req, testTime))
				return req.Header.Get("Authorization")
			}
			assert.Equal(t, test.differ, authorization(test.a) != authorization(test.b))
		})
	}
}

func query(raw string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = raw } }

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func TestSign_invalid_request(t *testing.T) {
	tests := map[string]struct {
		change func(*http.Request)
		says   string
	}{
		"no URL":                           {func(r *http.Request) { r.URL = nil }, "URL"},
		"opaque URL":                       {func(r *http.Request) { r.URL = &url.URL{Opaque: "a:b"} }, "URL"},
		"malformed escape in a value":      {query("a=%zz"), "query"},
		"malformed escape in a key":        {query("%=1"), "query"},
		"escape cut short":                 {query("a=%2"), "query"},
		"line feed in a header":            {header("X-A", "b\nX-C: d"), "x-a"},
		"carriage return in a header":      {header("X-A", "b\rc"), "x-a"},
		"line feed at the end of a header": {header("X-A", "b\n"), "x-a"},
		"zero byte in a header":            {header("X-A", "b\x00c"), "x-a"},
		"line feed in the second value":    {header("X-A", "b", "c\nd"), "x-a"},
		"line feed in the host":            {func(r *http.Request) { r.Host = "a\nb" }, `Host "a\nb": must have no character`},
		"space in the host":                {func(r *http.Request) { r.Host = "a b" }, `Host "a b": must have no character`},
		"path of a socket as the host":     {func(r *http.Request) { r.Host = "/run/cdn.sock" }, `Host "/run/cdn.sock": must have no character`},
		"line feed in a declared hash":     {header("X-Sdk-Content-Sha256", "a\nb"), "x-sdk-content-sha256"},
		"host that is not ASCII":           {func(r *http.Request) { r.Host = "中文.example.com:8443" }, `Host "中文.example.com:8443": must be in ASCII: give it in punycode`},
		"URL's host that is not ASCII":     {func(r *http.Request) { r.URL.Host, r.Host = "bücher.example.com", "" }, `Host "bücher.example.com": must be in ASCII: give it in punycode`},
		"host that is no text":             {func(r *http.Request) { r.Host = "a\xff.example.com" }, `Host "a\xff.example.com": must be in ASCII: give it in punycode`},
		"host with a zone":                 {func(r *http.Request) { r.Host = "[fe80::1%eth0]:443" }, `Host "[fe80::1%eth0]:443": must have no zone`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			test.change(req)
			err := testSigner.Sign(req, testTime)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.True(t, strings.HasPrefix(err.Error(), "cdn: Sign: "), err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			assert.NotContains(t, req.Header, "Authorization")
		})
	}
}
