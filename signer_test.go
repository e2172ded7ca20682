package cdn

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	testSigner    = Signer{AccessKey: "TESTACCESSKEY", SecretKey: "testSecretKey0123456789"}
	testTemporary = Signer{AccessKey: "TESTTEMPORARYKEY", SecretKey: "testSecretKey0123456789", SecurityToken: "testSecurityToken=="}
	testTime      = time.Date(2024, time.February, 29, 23, 59, 58, 0, time.UTC)
)

// newTestRequest returns a request as a client builds it.
func newTestRequest(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, target, reader)
	require.NoError(t, err)
	return req
}

func signedNames(t *testing.T, req *http.Request) []string {
	t.Helper()
	auth, err := parseAuthorization(req.Header.Values("Authorization"))
	require.NoError(t, err)
	return auth.signedHeaders
}

func TestSign_sets_date_token_and_authorization(t *testing.T) {
	east := time.FixedZone("UTC+8", 8*60*60)
	tests := map[string]struct {
		signer Signer
		time   time.Time
		token  []string
		names  []string
	}{
		"permanent keys": {signer: testSigner, time: testTime, names: []string{"host", "x-sdk-date"}},
		"temporary keys": {
			signer: testTemporary, time: testTime, token: []string{testTemporary.SecurityToken},
			names: []string{"host", "x-sdk-date", "x-security-token"},
		},
		"another time zone":        {signer: testSigner, time: testTime.In(east), names: []string{"host", "x-sdk-date"}},
		"with fractions of second": {signer: testSigner, time: testTime.Add(999 * time.Millisecond), names: []string{"host", "x-sdk-date"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			require.NoError(t, test.signer.Sign(req, test.time))
			assert.Equal(t, []string{"20240229T235958Z"}, req.Header.Values("X-Sdk-Date"))
			assert.Equal(t, test.token, req.Header.Values("X-Security-Token"))
			assert.Equal(t, test.names, signedNames(t, req))
			assert.Regexp(t, "^SDK-HMAC-SHA256 Access="+test.signer.AccessKey+", SignedHeaders=[a-z;-]+, Signature=[0-9a-f]{64}$",
				req.Header.Get("Authorization"))
			assert.NoError(t, test.signer.Verify(req, test.time))
		})
	}
}

func TestSign_request_without_headers(t *testing.T) {
	req := &http.Request{URL: &url.URL{Scheme: "https", Host: "cdn.example.com", Path: "/v1"}}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.NoError(t, testSigner.Verify(req, testTime))
}

func TestSign_headers_that_proxies_change_are_left_out(t *testing.T) {
	tests := map[string]bool{
		"Authorization":     false,
		"User-Agent":        false,
		"Accept":            false,
		"Accept-Encoding":   false,
		"Connection":        false,
		"Content-Length":    false,
		"Content-Type":      false,
		"Transfer-Encoding": false,
		"Trailer":           false,
		"Keep-Alive":        false,
		"Proxy-Connection":  false,
		"Upgrade":           false,
		"Te":                false,
		"Expect":            false,
		"X_Underscore":      false,
		"Accept-Language":   true,
		"Content-Language":  true,
		"Cookie":            true,
		"X-Domain-Id":       true,
		"X-Anything":        true,
	}
	for name, want := range tests {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			t.Run(spelling, func(t *testing.T) {
				req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
				req.Header[spelling] = []string{"value"}
				require.NoError(t, testSigner.Sign(req, testTime))
				lower := strings.ToLower(name)
				assert.Equal(t, want, slices.Contains(signedNames(t, req), lower))

				if lower == "authorization" {
					return
				}
				signed := req.Header.Get("Authorization")
				req.Header[spelling] = []string{"another value"}
				require.NoError(t, testSigner.Sign(req, testTime))
				assert.Equal(t, want, signed != req.Header.Get("Authorization"), "the signature depends on a signed header only")
			})
		}
	}
}

func TestSign_header_without_values_is_left_out(t *testing.T) {
	req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
	req.Header["X-Empty-List"] = nil
	req.Header["X-Empty-Value"] = []string{""}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Equal(t, []string{"host", "x-empty-value", "x-sdk-date"}, signedNames(t, req), "net/http does not send a header without values")
}

func TestSign_replaces_an_earlier_signature(t *testing.T) {
	headers := map[string]http.Header{
		"as net/http writes names": {"X-Sdk-Date": {"20200101T000000Z"}, "X-Security-Token": {"old"}, "Authorization": {"old"}},
		"names in lower case":      {"x-sdk-date": {"20200101T000000Z"}, "x-security-token": {"old"}, "authorization": {"old"}},
		"names in capitals":        {"X-SDK-DATE": {"20200101T000000Z"}, "X-SECURITY-TOKEN": {"old"}, "AUTHORIZATION": {"old"}},
		"several of each": {
			"X-Sdk-Date": {"20200101T000000Z", "20200101T000001Z"}, "X-Security-Token": {"old", "older"}, "Authorization": {"old", "older"},
		},
	}
	for name, header := range headers {
		for _, s := range []Signer{testSigner, testTemporary} {
			t.Run(name+", "+s.AccessKey, func(t *testing.T) {
				fresh := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1?a=b", "")
				require.NoError(t, s.Sign(fresh, testTime))

				again := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1?a=b", "")
				again.Header = header.Clone()
				require.NoError(t, s.Sign(again, testTime))
				assert.Equal(t, fresh.Header, again.Header)

				require.NoError(t, s.Sign(again, testTime.Add(time.Minute)))
				assert.Equal(t, "20240301T000058Z", again.Header.Get("X-Sdk-Date"))
				assert.NotEqual(t, fresh.Header.Get("Authorization"), again.Header.Get("Authorization"))
			})
		}
	}
}

func TestSigner_invalid_keys_are_not_shown(t *testing.T) {
	good := Signer{AccessKey: "ACCESS", SecretKey: "SECRET", SecurityToken: "TOKEN"}
	tests := map[string]struct {
		change func(s *Signer, bad string)
		field  string
	}{
		"access key":     {func(s *Signer, bad string) { s.AccessKey = bad }, "AccessKey"},
		"secret key":     {func(s *Signer, bad string) { s.SecretKey = bad }, "SecretKey"},
		"security token": {func(s *Signer, bad string) { s.SecurityToken = bad }, "SecurityToken"},
	}
	for name, test := range tests {
		for _, bad := range []string{"", " ", "b4dk3y\n", "b4dk3y\r\n", " b4dk3y", "b4d k3y", "b4d\tk3y", "b4d,k3y", `"b4dk3y"`, "'b4dk3y'", "b4d\x00k3y", "b4d\x7fk3y", "b4dk3yé", "\ufeffb4dk3y"} {
			if name == "security token" && bad == "" {
				continue
			}
			t.Run(fmt.Sprintf("%s %q", name, bad), func(t *testing.T) {
				s := good
				test.change(&s, bad)
				signErr := s.Sign(newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", ""), testTime)
				received := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
				require.NoError(t, good.Sign(received, testTime))
				for _, err := range []error{signErr, s.Verify(received, testTime)} {
					require.ErrorIs(t, err, ErrInvalidParameter)
					assert.NotErrorIs(t, err, ErrUnauthorized)
					assert.Contains(t, err.Error(), test.field)
					assert.NotContains(t, err.Error(), "b4d")
					assert.NotContains(t, err.Error(), "k3y")
				}
			})
		}
	}
}

func TestSigner_keys_of_printable_ASCII(t *testing.T) {
	for c := byte('!'); c <= '~'; c++ {
		if strings.IndexByte(`,'"`, c) >= 0 {
			continue
		}
		key := "K" + string(c)
		s := Signer{AccessKey: key, SecretKey: key, SecurityToken: key}
		req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
		require.NoError(t, s.Sign(req, testTime), key)
		require.NoError(t, s.Verify(req, testTime), key)
	}
}

// benchmarkQuery has as many parameters as a list request.
var benchmarkQuery = map[string]string{"limit": "10", "offset": "0", "task_id": "", "task_name": "daily export"}

func BenchmarkSign(b *testing.B) {
	values := make(url.Values)
	for key, value := range benchmarkQuery {
		values.Set(key, value)
	}
	req := newTestRequest(b, http.MethodGet, "https://cdn.myhuaweicloud.com/v1/cdn/statistics/export-tasks?"+values.Encode(), "")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "benchmark")
	b.ReportAllocs()
	for b.Loop() {
		if err := testSigner.Sign(req, testTime); err != nil {
			b.Fatal(err)
		}
	}
}
