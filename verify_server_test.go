package cdn

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// verifyServer returns a server that sends 204 for a verified request, and 401 with the reason otherwise.
func verifyServer(t *testing.T, s Signer, now func() time.Time) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(verifyHandler(s, now))
	t.Cleanup(server.Close)
	return server
}

func verifyHandler(s Signer, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.Verify(r, now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Body", fmt.Sprintf("%q %v", body, err))
		w.WriteHeader(http.StatusNoContent)
	})
}

// requireVerified sends req and checks that the server verified it and could read its body.
func requireVerified(t *testing.T, server *httptest.Server, req *http.Request, body string) {
	t.Helper()
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	reason := readAll(t, resp.Body)
	require.Equal(t, http.StatusNoContent, resp.StatusCode, reason)
	assert.Equal(t, fmt.Sprintf("%q <nil>", body), resp.Header.Get("X-Body"))
}

func TestVerify_request_over_HTTP(t *testing.T) {
	now := func() time.Time { return testTime }
	server := verifyServer(t, testTemporary, now)
	tests := map[string]struct {
		method, target, body string
		header               http.Header
	}{
		"GET":                        {method: http.MethodGet, target: "/v1/cdn/statistics/export-tasks?task_id&task_name&limit=10"},
		"root":                       {method: http.MethodGet, target: ""},
		"odd path":                   {method: http.MethodGet, target: "/a%20b/%E4%B8%AD/c%2Fd//e/;f=g"},
		"odd query":                  {method: http.MethodGet, target: "/v1?b=2&a=x+y&a=%2B&&%ff=%00&c;d=e&=f"},
		"POST":                       {method: http.MethodPost, target: "/v1?a=b", body: `{"a":"b"}`},
		"DELETE":                     {method: http.MethodDelete, target: "/v1"},
		"headers of several values":  {method: http.MethodGet, target: "/v1", header: http.Header{"X-A": {"b", "a", "c"}}},
		"spaces that the wire drops": {method: http.MethodGet, target: "/v1", header: http.Header{"X-A": {"  b\t", "a"}, "X-B": {" x  y "}}},
		"names in lower case":        {method: http.MethodGet, target: "/v1", header: http.Header{"x-a": {"b"}}},
		"empty value":                {method: http.MethodGet, target: "/v1", header: http.Header{"X-A": {""}}},
		"any bytes in a value":       {method: http.MethodGet, target: "/v1", header: http.Header{"X-A": {"中文\xff\t\u00a0"}}},
		"a list of content types":    {method: http.MethodPost, target: "/v1", body: "a", header: http.Header{"Content-Type": {"text/plain"}}},
		"payload not signed":         {method: http.MethodPost, target: "/v1", body: "a", header: http.Header{"X-Sdk-Content-Sha256": {"UNSIGNED-PAYLOAD"}}},
		"payload, in lower case":     {method: http.MethodPost, target: "/v1", body: "a", header: http.Header{"x-sdk-content-sha256": {"UNSIGNED-PAYLOAD"}}},
		"name in two spellings":      {method: http.MethodGet, target: "/v1", header: http.Header{"x-a": {"b"}, "X-A": {"a"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, test.method, server.URL+test.target, test.body)
			for name, values := range test.header {
				req.Header[name] = values
			}
			require.NoError(t, testTemporary.Sign(req, testTime))
			requireVerified(t, server, req, test.body)
		})
	}
}

func TestVerify_host_over_HTTP(t *testing.T) {
	server := verifyServer(t, testSigner, func() time.Time { return testTime })
	for _, host := range []string{"cdn.example.com", "cdn.example.com:443", "CDN.Example.COM", "cdn.example.com.", "[2001:DB8::1]:80", "a_b", "a;b=(c)"} {
		req := newTestRequest(t, http.MethodGet, server.URL+"/v1", "")
		req.Host = host
		require.NoError(t, testSigner.Sign(req, testTime))
		requireVerified(t, server, req, "")
	}
}

// The same request value is signed and sent again, as a retry does.
func TestVerify_request_sent_twice(t *testing.T) {
	now := testTime
	server := verifyServer(t, testTemporary, func() time.Time { return now })
	for name, body := range map[string]io.Reader{
		"length known": strings.NewReader("content"),
		"chunked":      io.MultiReader(strings.NewReader("con"), strings.NewReader("tent")),
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, server.URL+"/v1?a=b", body)
			require.NoError(t, err)
			for range 2 {
				now = now.Add(time.Hour)
				require.NoError(t, testTemporary.Sign(req, now))
				requireVerified(t, server, req, "content")
				req.Body, err = req.GetBody()
				require.NoError(t, err)
			}
		})
	}
}

func TestVerify_hop_by_hop_headers(t *testing.T) {
	const upgrade = "Upgrade" // net/http's HTTP/2 sends only an empty one
	header := http.Header{
		"Keep-Alive": {"timeout=5"}, "Proxy-Connection": {"keep-alive"}, "Te": {"trailers"}, "Expect": {"100-continue"}, upgrade: {"h2c"},
	}
	verify := verifyHandler(testSigner, func() time.Time { return testTime })
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, http2, r.ProtoMajor == 2)
			verify.ServeHTTP(w, r)
		}))
		server.EnableHTTP2 = http2
		server.StartTLS()
		t.Cleanup(server.Close)
		for name, values := range header {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, http2), func(t *testing.T) {
				if name == upgrade && http2 {
					values = []string{""}
				}
				req := newTestRequest(t, http.MethodPost, server.URL+"/v1", "content")
				req.Header[name] = values
				require.NoError(t, testSigner.Sign(req, testTime))
				requireVerified(t, server, req, "content")
			})
		}
	}
}

func TestVerify_request_of_the_official_signer(t *testing.T) {
	server := verifyServer(t, testTemporary, time.Now)
	tests := map[string]struct {
		method, body string
		header       map[string]string
		sent         string
	}{
		"GET":               {method: http.MethodGet, header: map[string]string{"Content-Type": "application/json"}},
		"GET, host signed":  {method: http.MethodGet, header: map[string]string{"Host": strings.TrimPrefix(server.URL, "http://")}},
		"POST":              {method: http.MethodPost, body: `{"a":"b"}`, header: map[string]string{"Content-Type": "application/json;charset=UTF-8"}},
		"POST without type": {method: http.MethodPost, body: "content"},
		"POST of text":      {method: http.MethodPost, body: "content", header: map[string]string{"Content-Type": "text/plain"}},
		"POST of bytes":     {method: http.MethodPost, body: "\x00\xff", header: map[string]string{"Content-Type": "application/octet-stream"}},
		"headers":           {method: http.MethodGet, header: map[string]string{"X-Domain-Id": " id ", "User-Agent": "sdk", "X_Y": "z", "Accept": "*/*"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			builder := request.NewHttpRequestBuilder().WithEndpoint(server.URL).WithPath("/v1/中 文").WithMethod(test.method).
				AddQueryParam("limit", reflect.ValueOf(10)).
				AddQueryParam("task_id", reflect.ValueOf("")).
				AddQueryParam("many", reflect.ValueOf([]string{"b", "a", "%+ &=;"})).
				AddHeaderParam("X-Security-Token", testTemporary.SecurityToken)
			for name, value := range test.header {
				builder.AddHeaderParam(name, value)
			}
			if test.body != "" {
				builder.WithBody("body", test.body)
			}
			official := builder.Build()
			signed, err := signer.Sign(official, testTemporary.AccessKey, testTemporary.SecretKey)
			require.NoError(t, err)
			for name, value := range signed {
				official.AddHeaderParam(name, value)
			}
			req, err := official.ConvertRequest()
			require.NoError(t, err)
			requireVerified(t, server, req, test.body)
		})
	}
}
