package cdn

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseEndpoint_valid(t *testing.T) {
	tests := map[string]struct {
		endpoint string
		insecure bool
		want     string
	}{
		"https":                        {endpoint: "https://cdn.example.com", want: "https://cdn.example.com"},
		"no scheme":                    {endpoint: "cdn.example.com", want: "https://cdn.example.com"},
		"no scheme, port":              {endpoint: "cdn.example.com:8443", want: "https://cdn.example.com:8443"},
		"port":                         {endpoint: "https://cdn.example.com:8443", want: "https://cdn.example.com:8443"},
		"slash at the end":             {endpoint: "https://cdn.example.com/", want: "https://cdn.example.com"},
		"scheme in capitals":           {endpoint: "HTTPS://cdn.example.com", want: "https://cdn.example.com"},
		"IPv4":                         {endpoint: "https://192.0.2.1", want: "https://192.0.2.1"},
		"IPv6":                         {endpoint: "https://[2001:db8::1]:443", want: "https://[2001:db8::1]:443"},
		"punycode":                     {endpoint: "https://xn--fiqs8s.example", want: "https://xn--fiqs8s.example"},
		"tilde in the host":            {endpoint: "https://a~b.example", want: "https://a~b.example"},
		"http to localhost":            {endpoint: "http://localhost:8080", want: "http://localhost:8080"},
		"http to 127.0.0.1":            {endpoint: "http://127.0.0.1:8080", want: "http://127.0.0.1:8080"},
		"http to another loopback":     {endpoint: "http://127.8.9.1", want: "http://127.8.9.1"},
		"http to IPv6 loopback":        {endpoint: "http://[::1]:8080", want: "http://[::1]:8080"},
		"http to anywhere, if allowed": {endpoint: "http://cdn.example.com", insecure: true, want: "http://cdn.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseEndpoint(test.endpoint, test.insecure)
			require.NoError(t, err)
			assert.Equal(t, test.want, got.String())

			options := []Option{WithEndpoint(test.endpoint)}
			if test.insecure {
				options = append(options, WithInsecureHTTP())
			}
			_, err = NewCdnClient(options...)
			assert.NoError(t, err)
		})
	}
}

func TestParseEndpoint_invalid(t *testing.T) {
	tests := map[string]struct {
		endpoint string
		insecure bool
		why      string
	}{
		"user and password":                     {endpoint: "https://user:pa55word@cdn.example.com", why: "no user"},
		"user and password without scheme":      {endpoint: "user:pa55word@cdn.example.com", why: "no user"},
		"user only":                             {endpoint: "https://pa55word@cdn.example.com", why: "no user"},
		"password and a bad port":               {endpoint: "https://user:pa55word@cdn.example.com:port", why: "not a URL"},
		"password with a malformed escape":      {endpoint: "https://user:pa55word%zz@cdn.example.com", why: "not a URL"},
		"password with a space in the host":     {endpoint: "https://user:pa55word@cdn example.com", why: "not a URL"},
		"password and a bad scheme":             {endpoint: "ftp://user:pa55word@cdn.example.com", why: "https://"},
		"password with a slash":                 {endpoint: "https://user:pa55word/@cdn.example.com", why: ""},
		"IPv6 zone":                             {endpoint: "https://[fe80::1%25eth0]:8443", why: "no zone"},
		"path":                                  {endpoint: "https://cdn.example.com/v1", why: "no path"},
		"query":                                 {endpoint: "https://cdn.example.com?a=b", why: "no path, query"},
		"empty query":                           {endpoint: "https://cdn.example.com?", why: "no path, query"},
		"fragment":                              {endpoint: "https://cdn.example.com#top", why: "fragment"},
		"ftp":                                   {endpoint: "ftp://cdn.example.com", why: "https://"},
		"file":                                  {endpoint: "file:///etc/passwd", why: "https://"},
		"no host":                               {endpoint: "https://", why: "name a host"},
		"port without host":                     {endpoint: "https://:8443", why: "name a host"},
		"colon without port":                    {endpoint: "https://cdn.example.com:", why: "port after a colon"},
		"port that is no number":                {endpoint: "https://cdn.example.com:https", why: "not a URL"},
		"IPv6 without brackets":                 {endpoint: "https://2001:db8::1", why: ""},
		"unicode host":                          {endpoint: "https://中国.example", why: "punycode"},
		"unicode host, percent-encoded":         {endpoint: "https://%E4%B8%AD.example", why: "punycode"},
		"space":                                 {endpoint: "https://cdn.example.com ", why: "not a URL"},
		"control character":                     {endpoint: "https://cdn.example.com\n", why: "not a URL"},
		"http to a name":                        {endpoint: "http://cdn.example.com", why: "WithInsecureHTTP"},
		"http to an address":                    {endpoint: "http://192.0.2.1", why: "WithInsecureHTTP"},
		"http to a name that begins as one":     {endpoint: "http://localhost.example.com", why: "WithInsecureHTTP"},
		"http to a name that looks as loopback": {endpoint: "http://127.0.0.1.example.com", why: "WithInsecureHTTP"},
		"path, even if http is allowed":         {endpoint: "http://cdn.example.com/v1", insecure: true, why: "no path"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseEndpoint(test.endpoint, test.insecure)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), "Endpoint")
			assert.Contains(t, err.Error(), test.why)
			assert.NotContains(t, err.Error(), "pa55word")
			assert.NotContains(t, err.Error(), "\n")

			_, err = NewCdnClient(WithEndpoint(test.endpoint))
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.NotContains(t, err.Error(), "pa55word")
		})
	}
}

func TestEndpoint_empty_is_invalid(t *testing.T) {
	_, err := NewCdnClient(WithEndpoint(""))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.Contains(t, err.Error(), "Endpoint")
}

func FuzzParseEndpoint(f *testing.F) {
	for _, endpoint := range []string{
		"https://cdn.example.com", "cdn.example.com:8443", "http://localhost", "http://[::1]:80", "http://127.0.0.1",
		"https://[fe80::1%25eth0]", "https://user:password@host", "https://host?", "https://host/#", "http:host", "HTTP://[::ffff:127.0.0.1]",
		"https://a<b>", "//host", "https://host:", "\x00", "https://%41",
	} {
		f.Add(endpoint)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		got, err := parseEndpoint(endpoint, false)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidParameter)
			return
		}
		if got.Scheme != "https" {
			require.Equal(t, "http", got.Scheme)
			require.True(t, isLoopback(got.Hostname()), "%q", endpoint)
		}
		require.NotEmpty(t, got.Hostname())
		again, err := parseEndpoint(got.String(), false)
		require.NoError(t, err, "%q", endpoint)
		require.Equal(t, got, again)
		_, err = http.NewRequest(http.MethodGet, got.String(), nil)
		require.NoError(t, err, "%q", endpoint)
	})
}

// A wrong endpoint is a likely cause of a failed connection.
func TestEndpoint_named_with_its_source_after_a_failed_connection(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	// The vendor's package keeps an override while the process runs, so each run has a region of its own.
	region := "override-closed-" + closed.URL[strings.LastIndexByte(closed.URL, ':')+1:]
	t.Setenv(regionVariable(region), closed.URL)
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(tlsServer.Close)
	tests := []struct {
		name   string
		option Option
		want   string
	}{
		{"option", WithEndpoint(closed.URL), "; the endpoint " + closed.URL + " comes from WithEndpoint"},
		{"variable", WithRegion(region), "; the endpoint " + closed.URL + " comes from " + regionVariable(region)},
		{"certificate", WithEndpoint(tlsServer.URL), "; the endpoint " + tlsServer.URL + " comes from WithEndpoint"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := NewCdnClient(WithAKSK("AK", "SK"), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}), test.option)
			require.NoError(t, err)
			defer client.CloseIdleConnections()
			_, err = client.ListExportTasks(t.Context(), nil)
			require.ErrorContains(t, err, test.want)
			_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{})
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestEndpoint_not_named_after_other_failures(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	u := &url.URL{Scheme: "https", Host: "cdn.example.com"}
	for name, test := range map[string]struct {
		endpoint endpoint
		err      error
	}{
		"built-in region": {endpoint{url: u}, refused},
		"proxy":           {endpoint{u, "WithEndpoint"}, &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}},
		"reset":           {endpoint{u, "WithEndpoint"}, &net.OpError{Op: "read", Err: errors.New("reset")}},
		"response":        {endpoint{u, "WithEndpoint"}, &APIError{StatusCode: 500}},
	} {
		assert.Equal(t, test.err, test.endpoint.withSource(test.err), name)
	}
}
