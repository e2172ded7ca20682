package cdn

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	testSigner    = Signer{AccessKey: "TESTACCESSKEY", SecretKey: "testSecretKey0123456789"}
	testTemporary = Signer{AccessKey: "TESTTEMPORARYKEY", SecretKey: "testSecretKey0123456789", SecurityToken: "testSecurityToken=="}
	testTime      = time.Date(2024, time.February, 29, 23, 59, 58, 0, time.UTC)
)

// newTestRequest is a request as a client builds it, its body of unknown kind, if it has one.
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

func TestPublishedVectorsOfTheSigningGuide(t *testing.T) {
	const (
		accessKey = "QTWAOYTTINDUT2QVKYUC"
		secretKey = "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"
		target    = "https://service.region.example.com/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?limit=2&marker=13551d6b-755d-4757-b956-536f674975c0"
		date      = "20191115T033655Z"
		signature = "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
	)
	s := Signer{AccessKey: accessKey, SecretKey: secretKey}
	req := newTestRequest(t, http.MethodGet, target, "")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Sdk-Date", date)

	headers, err := signedHeaders(req, []string{"content-type", "host", "x-sdk-date"})
	require.NoError(t, err)
	payload, err := hashedPayload(req, headers)
	require.NoError(t, err)
	canonical, err := appendCanonicalRequest(nil, req, headers, payload)
	require.NoError(t, err)
	hash := sha256.Sum256(canonical)
	assert.Equal(t, "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a", hex.EncodeToString(hash[:]))
	assert.Equal(t, signature, string(s.signature(date, canonical)))

	authorization := "SDK-HMAC-SHA256 Access=" + accessKey + ", SignedHeaders=content-type;host;x-sdk-date, Signature=" + signature
	assert.Equal(t, authorization, s.authorization(headers, []byte(signature)))
	req.Header.Set("Authorization", authorization)
	assert.NoError(t, s.Verify(req, time.Date(2019, time.November, 15, 3, 36, 55, 0, time.UTC)))
}

func TestVectorsOfTheOfficialSignerAreVerified(t *testing.T) {
	s := Signer{AccessKey: "AccessKey", SecretKey: "SecretKey"}
	tests := map[string]struct {
		method, target, body, signature string
		header                          http.Header
	}{
		"GET": {
			method: http.MethodGet, target: "https://example.huaweicloud.com/path?limit=1",
			signature: "5a2ce64c865e0e6046321c6f3d5a77ba8413eeaf355c3166c03d58d02ac79624",
			header:    http.Header{"Test_underscore": {"TEST_VALUE"}},
		},
		"POST": {
			method: http.MethodPost, target: "https://example.huaweicloud.com/path?key=value", body: `{"Name":"test","Id":1}` + "\n",
			signature: "cecc2af119b18ab70b4d094c0750f3b42c02f254903179a0fc2cc72fc9db4f59",
			header:    http.Header{"Test_underscore": {"TEST_VALUE"}, "Content-Type": {"application/json"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, test.method, test.target, test.body)
			req.Header = test.header
			req.Header.Set("X-Sdk-Date", "20060102T150405Z")
			req.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=AccessKey, SignedHeaders=x-sdk-date, Signature="+test.signature)
			assert.NoError(t, s.Verify(req, time.Date(2006, time.January, 2, 15, 4, 5, 0, time.UTC)))
		})
	}
}

// judged is a request that both signers can be given.
type judged struct {
	signer      Signer
	time        time.Time
	method      string
	host        string
	path        string
	query       map[string][]string
	rawQuery    string
	headers     map[string]string
	unsigned    map[string]string
	contentType string
	body        string
}

// A chooser makes the decisions that a random request consists of.
type chooser interface {
	// number is at least 0 and less than n.
	number(n int) int
	// text is any bytes at all.
	text() string
}

type rapidChooser struct{ t *rapid.T }

func (c rapidChooser) number(n int) int { return rapid.IntRange(0, n-1).Draw(c.t, "number") }

func (c rapidChooser) text() string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(c.t, "text"))
}

// fuzzChooser decides by the bytes of a fuzz input, and by zeros after its end.
type fuzzChooser struct{ data []byte }

func (c *fuzzChooser) number(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	first := c.data[0]
	c.data = c.data[1:]
	return int(first) % n
}

func (c *fuzzChooser) text() string {
	length := min(c.number(64), len(c.data))
	text := string(c.data[:length])
	c.data = c.data[length:]
	return text
}

func oneOf[T any](c chooser, values ...T) T { return values[c.number(len(values))] }

// trickyText is a text of any bytes, or one that is likely to be mistaken.
func trickyText(c chooser) string {
	if c.number(3) == 0 {
		return c.text()
	}
	var b strings.Builder
	for range c.number(6) {
		b.WriteString(oneOf(c, "a", "Z", "0", "-", "_", ".", "~", "+", "%", "%2B", ";", "&", "=", "?", "#", "/", "//", "..", " ", "  ",
			"\t", "\x00", "\xff", "é", "中文", "🎈", "\u2028", ":", "@", "!", "$", "'", "(", ")", "*", ",", `"`, `\`, "{a}", "|", "^", "`"))
	}
	return b.String()
}

// headerText is a value that can stand in a header.
func headerText(c chooser) string {
	value := trickyText(c)
	value = strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, value)
	return oneOf(c, "", " ", "\t ", "   ") + value + oneOf(c, "", " ", " \t", "  b  c ")
}

func randomRequest(c chooser) judged {
	j := judged{
		signer: Signer{
			AccessKey:     oneOf(c, "AK", "HOSTACCESSKEY1234567", "a=b"),
			SecretKey:     oneOf(c, "SK", strings.Repeat("k", 40), strings.Repeat("longer than a block of the hash ", 3)[:70]),
			SecurityToken: oneOf(c, "", "", "token", "gQ9jbi1ub3J0aC00/+=="),
		},
		time:        time.Unix(int64(c.number(1<<31-1)), int64(c.number(1e9))).In(oneOf(c, time.UTC, time.FixedZone("east", 8*3600))),
		method:      oneOf(c, "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get"),
		host:        oneOf(c, "cdn.myhuaweicloud.com", "localhost:8443", "[::1]:80", "EXAMPLE.com"),
		path:        "/" + trickyText(c),
		query:       make(map[string][]string),
		headers:     make(map[string]string),
		unsigned:    make(map[string]string),
		contentType: oneOf(c, "", "application/json", "application/json;charset=UTF-8", "text/plain", "application/octet-stream"),
		body:        oneOf(c, "", trickyText(c)),
	}
	j.signer.SecretKey = strings.ReplaceAll(j.signer.SecretKey, " ", "_")
	var pairs []string
	for range c.number(5) {
		key := trickyText(c)
		for range 1 + c.number(3) {
			value := trickyText(c)
			j.query[key] = append(j.query[key], value)
			pairs = append(pairs, randomPair(c, key, value))
		}
	}
	// The order on the wire must not count.
	for i := range pairs {
		k := i + c.number(len(pairs)-i)
		pairs[i], pairs[k] = pairs[k], pairs[i]
	}
	j.rawQuery = strings.Join(pairs, oneOf(c, "&", "&&")) + oneOf(c, "", "&")
	for i := range c.number(5) {
		name := fmt.Sprintf("%s%d", oneOf(c, "X-Custom-", "x-lower", "A", "X-CAPS-", "Zz.!#$%&'*+^`|~", "X-Domain-Id", "Cookie"), i)
		j.headers[name] = headerText(c)
	}
	if c.number(4) == 0 {
		j.headers["X_With_Underscore"] = headerText(c)
	}
	if c.number(8) == 0 {
		j.headers["X-Sdk-Content-Sha256"] = oneOf(c, "UNSIGNED-PAYLOAD", emptyBodySha256)
	}
	for range c.number(3) {
		name := oneOf(c, "User-Agent", "Accept", "Accept-Encoding", "Connection", "Content-Length")
		j.unsigned[name] = headerText(c)
	}
	return j
}

// randomPair encodes one parameter of a query in one of the ways that clients do.
func randomPair(c chooser, key, value string) string {
	encode := oneOf(c, url.QueryEscape,
		func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") },
		func(s string) string { return percentEncodeAll(s) },
		func(s string) string { return percentEncodeLeast(s) },
	)
	if value == "" && key != "" && c.number(2) == 0 {
		return encode(key)
	}
	return encode(key) + "=" + encode(value)
}

// percentEncodeAll encodes every byte, in lower case.
func percentEncodeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// percentEncodeLeast encodes only what would change the meaning.
func percentEncodeLeast(s string) string {
	return strings.NewReplacer("%", "%25", "&", "%26", "=", "%3D", "+", "%2B").Replace(s)
}

// ours is the request for our signer.
func (j judged) ours() *http.Request {
	req := &http.Request{
		Method: j.method,
		URL:    &url.URL{Scheme: "https", Host: j.host, Path: j.path, RawQuery: j.rawQuery},
		Header: make(http.Header),
	}
	for name, value := range j.headers {
		req.Header[name] = []string{value}
	}
	for name, value := range j.unsigned {
		req.Header.Set(name, value)
	}
	if j.contentType != "" {
		req.Header.Set("Content-Type", j.contentType)
		if !strings.Contains(j.contentType, "json") {
			// The official signer does so by itself.
			req.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")
		}
	}
	if j.body != "" {
		req.Body = io.NopCloser(strings.NewReader(j.body))
	}
	return req
}

// officials is the request for the official signer.
func (j judged) officials() *request.DefaultHttpRequest {
	builder := request.NewHttpRequestBuilder().WithEndpoint("https://"+j.host).WithPath(j.path).WithMethod(j.method).
		// The official signer signs the host only where it finds it among the headers, and as it is there.
		AddHeaderParam("Host", j.host).
		AddHeaderParam("X-Sdk-Date", j.time.UTC().Format("20060102T150405Z"))
	for key, values := range j.query {
		if len(values) == 1 {
			builder.AddQueryParam(key, reflect.ValueOf(values[0]))
			continue
		}
		builder.AddQueryParam(key, reflect.ValueOf(values))
	}
	for name, value := range j.headers {
		builder.AddHeaderParam(name, value)
	}
	if j.signer.SecurityToken != "" {
		builder.AddHeaderParam("X-Security-Token", j.signer.SecurityToken)
	}
	if j.contentType != "" {
		builder.AddHeaderParam("Content-Type", j.contentType)
	}
	if j.body != "" {
		builder.WithBody("body", j.body)
	}
	return builder.Build()
}

// requireOfficialSignature checks that both signers say the same of a request, and that the verifier
// agrees with them.
func requireOfficialSignature(t require.TestingT, j judged) {
	want, err := signer.Sign(j.officials(), j.signer.AccessKey, j.signer.SecretKey)
	require.NoError(t, err)
	req := j.ours()
	require.NoError(t, j.signer.Sign(req, j.time))
	require.Equal(t, want["Authorization"], req.Header.Get("Authorization"), "%+v", j)
	require.Equal(t, want["X-Sdk-Date"], req.Header.Get("X-Sdk-Date"))

	if req.Header.Get("X-Sdk-Content-Sha256") == emptyBodySha256 && j.body != "" {
		return
	}
	received := req.Clone(req.Context())
	received.Header = make(http.Header)
	for name, values := range req.Header {
		received.Header[http.CanonicalHeaderKey(name)] = values
	}
	require.NoError(t, j.signer.Verify(received, j.time), "%+v", j)
}

func TestSignatureIsTheOfficialOneForRandomRequests(t *testing.T) {
	// What fails is told by its seed; a file of it would be left in the source tree.
	for name, value := range map[string]string{"rapid.checks": "10000", "rapid.nofailfile": "true"} {
		option := flag.Lookup(name).Value
		before := option.String()
		require.NoError(t, option.Set(value))
		t.Cleanup(func() { require.NoError(t, option.Set(before)) })
	}
	rapid.Check(t, func(t *rapid.T) { requireOfficialSignature(t, randomRequest(rapidChooser{t})) })
}

func TestHMACIsThatOfTheStandardLibrary(t *testing.T) {
	for size := range 3 * sha256.BlockSize {
		key, message := strings.Repeat("k", size), bytes.Repeat([]byte("m"), size)
		want := hmac.New(sha256.New, []byte(key))
		want.Write(message)
		got := hmacSha256(key, message)
		assert.Equal(t, want.Sum(nil), got[:], size)
	}
}

func FuzzSignAgainstOfficial(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("2\x011\x05\x03\x02\x01 +%;&=\xff中文\x00"))
	f.Add(bytes.Repeat([]byte{7, 5, 3, 2, 1, 0x25, 0x2b, 0xff}, 64))
	f.Add([]byte(strings.Repeat("the same request, whatever it is ", 16)))
	f.Fuzz(func(t *testing.T, data []byte) { requireOfficialSignature(t, randomRequest(&fuzzChooser{data})) })
}

func TestSignSetsDateTokenAndAuthorization(t *testing.T) {
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

func TestSignWorksOnARequestWithoutHeader(t *testing.T) {
	req := &http.Request{URL: &url.URL{Scheme: "https", Host: "cdn.example.com", Path: "/v1"}}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.NoError(t, testSigner.Verify(req, testTime))
}

func TestHeadersThatProxiesChangeAreNotSigned(t *testing.T) {
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
				assert.Equal(t, want, signed != req.Header.Get("Authorization"), "a change of the value must show in the signature, or not")
			})
		}
	}
}

func TestHeaderWithoutValuesIsNotSigned(t *testing.T) {
	req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
	req.Header["X-Empty-List"] = nil
	req.Header["X-Empty-Value"] = []string{""}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Equal(t, []string{"host", "x-empty-value", "x-sdk-date"}, signedNames(t, req), "net/http does not send a header without values")
}

func TestSigningAgainReplacesWhatIsThere(t *testing.T) {
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

func TestHostIsSignedAsItIsSent(t *testing.T) {
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
		"Host set":                        {urlHost: "192.0.2.1", host: "cdn.example.com", same: true},
		"Host header, which no one sends": {urlHost: "cdn.example.com", header: http.Header{"Host": {"other.example.com"}}, same: true},
		"port":                            {urlHost: "cdn.example.com:8443"},
		"another Host":                    {urlHost: "cdn.example.com", host: "other.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := request(test.urlHost, test.host, test.header)
			assert.Equal(t, test.same, got == want)
		})
	}
}

// What Sign refuses of a host would not arrive as it was signed.
func TestHostInPunycodeIsSignedAsItIsSent(t *testing.T) {
	server := verifyServer(t, testSigner, func() time.Time { return testTime })
	req := newTestRequest(t, http.MethodGet, server.URL+"/v1", "")
	req.Host = "xn--fiq228c.example.com"
	require.NoError(t, testSigner.Sign(req, testTime))
	requireVerified(t, server, req, "")
}

func TestWhatDoesNotCountOnTheWireDoesNotCountInTheSignature(t *testing.T) {
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

func TestSignRefusesWhatCannotBeSigned(t *testing.T) {
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
		"line feed in the host":            {func(r *http.Request) { r.Host = "a\nb" }, "host"},
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
			assert.True(t, strings.HasPrefix(err.Error(), "cdn: sign: "), err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			assert.NotContains(t, req.Header, "Authorization")
		})
	}
}

func TestKeysThatNobodyHasAreRefusedAndNotShown(t *testing.T) {
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
		for _, bad := range []string{"", " ", "b4dk3y\n", "b4dk3y\r\n", " b4dk3y", "b4d k3y", "b4d\tk3y", "b4d,k3y", "b4d\x00k3y", "b4d\x7fk3y", "b4dk3yé", "\ufeffb4dk3y"} {
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

// countingBody counts its reads.
type countingBody struct {
	io.Reader
	reads, closes int
	closeErr      error
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.reads++
	return b.Reader.Read(p)
}

func (b *countingBody) Close() error {
	b.closes++
	return b.closeErr
}

func TestKeysMayHoldAllPrintableASCIIButCommas(t *testing.T) {
	for c := byte('!'); c <= '~'; c++ {
		if c == ',' {
			continue
		}
		key := "K" + string(c)
		s := Signer{AccessKey: key, SecretKey: key, SecurityToken: key}
		req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
		require.NoError(t, s.Sign(req, testTime), key)
		require.NoError(t, s.Verify(req, testTime), key)
	}
}

func TestBodyIsReadThroughGetBodyAndStaysUnread(t *testing.T) {
	body := &countingBody{Reader: strings.NewReader("content")}
	var opened []*countingBody
	req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
	req.Body = body
	req.GetBody = func() (io.ReadCloser, error) {
		opened = append(opened, &countingBody{Reader: strings.NewReader("content")})
		return opened[len(opened)-1], nil
	}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Same(t, body, req.Body)
	assert.Zero(t, body.reads)
	assert.Zero(t, body.closes)
	require.Len(t, opened, 1)
	assert.Equal(t, 1, opened[0].closes, "what was opened must be closed")
	assert.NoError(t, testSigner.Verify(req, testTime))
}

func TestBodyWithoutGetBodyIsBufferedAndStaysReadable(t *testing.T) {
	body := &countingBody{Reader: iotest.OneByteReader(strings.NewReader("content"))}
	req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
	req.Body = body
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Equal(t, 1, body.closes, "the body that was read to its end must be closed")

	for range 2 {
		again, err := req.GetBody()
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, again))
	}
	assert.Equal(t, "content", readAll(t, req.Body))

	same := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "content")
	require.NoError(t, testSigner.Sign(same, testTime))
	assert.Equal(t, same.Header.Get("Authorization"), req.Header.Get("Authorization"))
}

func readAll(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(content)
}

func TestNoBodyIsSignedAsAnEmptyOne(t *testing.T) {
	var want string
	for _, body := range []io.ReadCloser{nil, http.NoBody, io.NopCloser(strings.NewReader(""))} {
		req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
		req.Body = body
		require.NoError(t, testSigner.Sign(req, testTime))
		want = cmp.Or(want, req.Header.Get("Authorization"))
		assert.Equal(t, want, req.Header.Get("Authorization"))
	}
}

func TestBodyIsNotReadWhereItsHashIsDeclared(t *testing.T) {
	hash := sha256.Sum256([]byte("content"))
	for _, declared := range []string{"UNSIGNED-PAYLOAD", hex.EncodeToString(hash[:])} {
		t.Run(declared, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			body := &countingBody{Reader: strings.NewReader("content")}
			req.Body = body
			req.Header.Set("X-Sdk-Content-Sha256", declared)
			require.NoError(t, testSigner.Sign(req, testTime))
			assert.Zero(t, body.reads)
			assert.Same(t, body, req.Body)
			assert.Equal(t, []string{"host", "x-sdk-content-sha256", "x-sdk-date"}, signedNames(t, req))

			require.NoError(t, testSigner.Verify(req, testTime))
			assert.Equal(t, declared == "UNSIGNED-PAYLOAD", body.reads == 0, "only a body that is not signed need not be read")
			assert.Equal(t, "content", readAll(t, req.Body))
		})
	}
}

func TestDeclaredHashIsThePayload(t *testing.T) {
	hash := sha256.Sum256([]byte("content"))
	declared := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "other content")
	declared.Header.Set("X-Sdk-Content-Sha256", hex.EncodeToString(hash[:]))
	require.NoError(t, testSigner.Sign(declared, testTime))
	headers, err := signedHeaders(declared, signedNames(t, declared))
	require.NoError(t, err)
	payload, err := hashedPayload(declared, headers)
	require.NoError(t, err)
	canonical, err := appendCanonicalRequest(nil, declared, headers, payload)
	require.NoError(t, err)
	assert.True(t, bytes.HasSuffix(canonical, []byte("\n"+hex.EncodeToString(hash[:]))))
	require.ErrorIs(t, testSigner.Verify(declared, testTime), ErrUnauthorized, "a verifier reads the body")
}

func TestBodyThatCannotBeReadIsTheReadersError(t *testing.T) {
	broken := errors.New("broken body")
	tests := map[string]func(*http.Request){
		"while reading": func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(broken)) },
		"while closing": func(r *http.Request) { r.Body = &countingBody{Reader: strings.NewReader(""), closeErr: broken} },
		"GetBody": func(r *http.Request) {
			r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), func() (io.ReadCloser, error) { return nil, broken }
		},
		"what GetBody gives": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(""))
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			require.NoError(t, testSigner.Sign(req, testTime))
			change(req)
			err := testSigner.Verify(req, testTime)
			require.ErrorIs(t, err, broken)
			assert.NotErrorIs(t, err, ErrUnauthorized)

			change(req)
			err = testSigner.Sign(req, testTime)
			require.ErrorIs(t, err, broken)
			assert.NotErrorIs(t, err, ErrInvalidParameter)
		})
	}
}

func TestBodyIsBufferedUpToALimit(t *testing.T) {
	tests := map[string]struct {
		size int64
		fits bool
	}{
		"at the limit":   {size: maxSignedBody, fits: true},
		"over the limit": {size: maxSignedBody + 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			req.Body = io.NopCloser(io.LimitReader(zeros{}, test.size))
			err := testSigner.Sign(req, testTime)
			if test.fits {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), "33554432 bytes")
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// verifyServer answers 204 where a request verifies, and 401 with the reason where not.
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

// requireVerified sends req, expects that the server has verified it and could read its body.
func requireVerified(t *testing.T, server *httptest.Server, req *http.Request, body string) {
	t.Helper()
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	reason := readAll(t, resp.Body)
	require.Equal(t, http.StatusNoContent, resp.StatusCode, reason)
	assert.Equal(t, fmt.Sprintf("%q <nil>", body), resp.Header.Get("X-Body"))
}

func TestServerVerifiesWhatWasSignedAndSent(t *testing.T) {
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

func TestServerVerifiesHopByHopHeaders(t *testing.T) {
	const upgrade = "Upgrade" // of it, net/http's HTTP/2 takes an empty value only
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

func TestServerVerifiesWhatTheOfficialSignerSigned(t *testing.T) {
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

// authorize signs exactly these headers of req, as signers of other languages choose them.
func authorize(t testing.TB, s Signer, req *http.Request, names ...string) {
	t.Helper()
	headers, err := signedHeaders(req, names)
	require.NoError(t, err)
	payload, err := hashedPayload(req, headers)
	require.NoError(t, err)
	canonical, err := appendCanonicalRequest(nil, req, headers, payload)
	require.NoError(t, err)
	req.Header.Set("Authorization", s.authorization(headers, s.signature(req.Header.Get("X-Sdk-Date"), canonical)))
}

func TestVerifyGoesByTheListOfSignedHeaders(t *testing.T) {
	all := http.Header{
		"X-Sdk-Date": {"20240229T235958Z"}, "Content-Type": {"application/json"}, "User-Agent": {"java"}, "X_under": {"a"}, "X-Other": {"b"},
	}
	tests := map[string][]string{
		"date only":              {"x-sdk-date"},
		"host and date":          {"host", "x-sdk-date"},
		"as other official SDKs": {"content-type", "host", "x-sdk-date"},
		"what we would not sign": {"user-agent", "x-sdk-date", "x_under"},
		"in another order":       {"x-sdk-date", "x-other", "host"},
	}
	for name, names := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1?a=b", "content")
			req.Header = all.Clone()
			authorize(t, testSigner, req, names...)
			require.NoError(t, testSigner.Verify(req, testTime))

			for name := range all {
				changed := req.Clone(t.Context())
				changed.Header.Add(name, "c")
				err := testSigner.Verify(changed, testTime)
				if slices.Contains(names, strings.ToLower(name)) {
					assert.ErrorIs(t, err, ErrUnauthorized, name)
				} else {
					assert.NoError(t, err, name)
				}
			}
		})
	}
}

func TestVerifyAcceptsDatesWithinFifteenMinutes(t *testing.T) {
	req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
	require.NoError(t, testSigner.Sign(req, testTime))
	tests := map[string]struct {
		now    time.Time
		accept bool
	}{
		"now":                           {testTime, true},
		"15 minutes later":              {testTime.Add(15 * time.Minute), true},
		"15 minutes earlier":            {testTime.Add(-15 * time.Minute), true},
		"15 minutes later, elsewhere":   {testTime.Add(15 * time.Minute).In(time.FixedZone("west", -7*3600)), true},
		"over 15 minutes later":         {testTime.Add(15*time.Minute + time.Nanosecond), false},
		"over 15 minutes earlier":       {testTime.Add(-15*time.Minute - time.Nanosecond), false},
		"a year later":                  {testTime.AddDate(1, 0, 0), false},
		"longer than a duration can be": {testTime.AddDate(400, 0, 0), false},
		"at the zero time":              {time.Time{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := testSigner.Verify(req, test.now)
			if test.accept {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Contains(t, err.Error(), "X-Sdk-Date")
		})
	}
}

func TestVerifyRefusesWhatWasChangedOnTheWay(t *testing.T) {
	// Each change is of one thing that is signed.
	tests := map[string]struct {
		change func(*http.Request)
		says   string
	}{
		"method":              {func(r *http.Request) { r.Method = http.MethodPut }, "signature"},
		"path":                {func(r *http.Request) { r.URL.Path = "/v1/tasks2" }, "signature"},
		"path, case":          {func(r *http.Request) { r.URL.Path = "/V1/tasks" }, "signature"},
		"path, longer":        {func(r *http.Request) { r.URL.Path = "/v1/tasks/x" }, "signature"},
		"parameter's value":   {query("a=2"), "signature"},
		"parameter's name":    {query("b=1"), "signature"},
		"parameter added":     {query("a=1&b=2"), "signature"},
		"parameter removed":   {query(""), "signature"},
		"query malformed":     {query("a=1&b=%zz"), "query"},
		"host":                {func(r *http.Request) { r.Host = "evil.example.com" }, "signature"},
		"header's value":      {header("X-Domain-Id", "other"), "signature"},
		"header's two values": {header("X-Domain-Id", "id", "id"), "signature"},
		"header with a break": {header("X-Domain-Id", "id\nx-more: 1"), "line break"},
		"header removed":      {func(r *http.Request) { r.Header.Del("X-Domain-Id") }, "x-domain-id is missing"},
		"date, a second":      {header("X-Sdk-Date", "20240229T235959Z"), "signature"},
		"date removed":        {func(r *http.Request) { r.Header.Del("X-Sdk-Date") }, "x-sdk-date is missing"},
		"second date":         {header("X-Sdk-Date", "20240229T235958Z", "20240229T235959Z"), "signature"},
		"date in other words": {header("X-Sdk-Date", "Thu, 29 Feb 2024 23:59:58 GMT"), "YYYYMMDD"},
		"date with fractions": {header("X-Sdk-Date", "20240229T235958.5Z"), "YYYYMMDD"},
		"date without a Z":    {header("X-Sdk-Date", "20240229T235958"), "YYYYMMDD"},
		"date of no day":      {header("X-Sdk-Date", "20230229T235958Z"), "YYYYMMDD"},
		"body":                {func(r *http.Request) { setBody(r, "other") }, "signature"},
		"body removed":        {func(r *http.Request) { r.Body = nil }, "signature"},
		"body longer":         {func(r *http.Request) { setBody(r, "content ") }, "signature"},
		"token removed":       {func(r *http.Request) { r.Header.Del("X-Security-Token") }, "x-security-token is missing"},
		"another token":       {header("X-Security-Token", "other"), "X-Security-Token"},
		"empty token":         {header("X-Security-Token", ""), "X-Security-Token"},
		"two tokens":          {header("X-Security-Token", testTemporary.SecurityToken, "other"), "X-Security-Token"},
		"same token twice":    {header("X-Security-Token", testTemporary.SecurityToken, testTemporary.SecurityToken), "X-Security-Token"},
		"no authorization":    {func(r *http.Request) { r.Header.Del("Authorization") }, "0 Authorization headers"},
		"two authorizations":  {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "2 Authorization headers"},
		"no header at all":    {func(r *http.Request) { r.Header = nil }, "Authorization"},
		"no URL":              {func(r *http.Request) { r.URL = nil }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1/tasks?a=1", "content")
			req.Header.Set("X-Domain-Id", "id")
			require.NoError(t, testTemporary.Sign(req, testTime))
			require.NoError(t, testTemporary.Verify(req, testTime))

			test.change(req)
			err := testTemporary.Verify(req, testTime)
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.NotErrorIs(t, err, ErrInvalidParameter)
			assert.True(t, strings.HasPrefix(err.Error(), "cdn: verify: "), err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			requireNoSecret(t, err.Error(), testTemporary)
		})
	}
}

func setBody(r *http.Request, body string) {
	r.Body, r.GetBody = io.NopCloser(strings.NewReader(body)), nil
}

func TestAHashThatIsNotSignedSaysNothing(t *testing.T) {
	for _, declared := range []string{"UNSIGNED-PAYLOAD", emptyBodySha256} {
		t.Run(declared, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "content")
			require.NoError(t, testSigner.Sign(req, testTime))
			req.Header.Set("X-Sdk-Content-Sha256", declared)
			require.NoError(t, testSigner.Verify(req, testTime))
			setBody(req, "")
			require.ErrorIs(t, testSigner.Verify(req, testTime), ErrUnauthorized)
		})
	}
}

func TestVerifyRefusesAWrongHashThatIsSigned(t *testing.T) {
	hash := sha256.Sum256([]byte("content"))
	right := hex.EncodeToString(hash[:])
	tests := map[string]struct {
		declared []string
		accept   bool
	}{
		"right":                     {[]string{right}, true},
		"right, in capitals":        {[]string{strings.ToUpper(right)}, true},
		"right, with spaces":        {[]string{" " + right + " "}, true},
		"of another body":           {[]string{emptyBodySha256}, false},
		"no hash":                   {[]string{"nonsense"}, false},
		"empty":                     {[]string{""}, false},
		"the first of two is wrong": {[]string{emptyBodySha256, right}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "content")
			req.Header["X-Sdk-Content-Sha256"] = test.declared
			require.NoError(t, testSigner.Sign(req, testTime))
			err := testSigner.Verify(req, testTime)
			if test.accept {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Contains(t, err.Error(), "X-Sdk-Content-Sha256")
		})
	}
}

func TestVerifyRefusesWhatIsNotSigned(t *testing.T) {
	tests := map[string]struct {
		signer Signer
		header http.Header
		names  []string
		says   string
	}{
		"date not signed": {
			signer: testSigner, header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}}, names: []string{"host"}, says: "X-Sdk-Date is not signed",
		},
		"token not signed": {
			signer: testTemporary, names: []string{"host", "x-sdk-date"}, says: "X-Security-Token is missing or not signed",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {testTemporary.SecurityToken}},
		},
		"no token where one is needed": {
			signer: testTemporary, header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}}, names: []string{"host", "x-sdk-date"},
			says: "X-Security-Token is missing or not signed",
		},
		"a token where none is known": {
			signer: testSigner, names: []string{"host", "x-sdk-date", "x-security-token"}, says: "X-Security-Token does not belong",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {"other"}},
		},
		"an empty token where none is known": {
			signer: testSigner, names: []string{"host", "x-sdk-date"}, says: "X-Security-Token is missing or not signed",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {""}},
		},
		"the wrong token": {
			signer: testTemporary, names: []string{"x-sdk-date", "x-security-token"}, says: "X-Security-Token does not belong",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {testTemporary.SecurityToken + "="}},
		},
		"two tokens": {
			signer: testTemporary, names: []string{"x-sdk-date", "x-security-token"}, says: "X-Security-Token does not belong",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {testTemporary.SecurityToken, "z"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			req.Header = test.header
			authorize(t, test.signer, req, test.names...)
			err := test.signer.Verify(req, testTime)
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Contains(t, err.Error(), test.says)
			requireNoSecret(t, err.Error(), test.signer)
		})
	}
}

func TestVerifyRefusesOtherKeys(t *testing.T) {
	tests := map[string]struct {
		signer Signer
		says   string
	}{
		"unknown access key": {Signer{AccessKey: "OTHER", SecretKey: testSigner.SecretKey}, "unknown access key"},
		"longer access key":  {Signer{AccessKey: testSigner.AccessKey + "X", SecretKey: testSigner.SecretKey}, "unknown access key"},
		"wrong secret key":   {Signer{AccessKey: testSigner.AccessKey, SecretKey: "other"}, "signature does not match"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			require.NoError(t, test.signer.Sign(req, testTime))
			err := testSigner.Verify(req, testTime)
			require.ErrorIs(t, err, ErrUnauthorized)
			assert.Contains(t, err.Error(), test.says)
		})
	}
}

func TestVerifyReadsNoBodyOfARequestThatItRefusesAnyway(t *testing.T) {
	tests := map[string]func(*http.Request){
		"unknown access key": func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Access=", "Access=X", 1))
		},
		"no authorization": func(r *http.Request) { r.Header.Del("Authorization") },
		"old date":         header("X-Sdk-Date", "20200101T000000Z"),
		"wrong token":      header("X-Security-Token", "other"),
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "content")
			require.NoError(t, testTemporary.Sign(req, testTime))
			body := &countingBody{Reader: strings.NewReader("content")}
			req.Body, req.GetBody = body, nil
			change(req)
			require.ErrorIs(t, testTemporary.Verify(req, testTime), ErrUnauthorized)
			assert.Zero(t, body.reads)
		})
	}
}

// authorizationsNotToBeRead are headers in which no signature can be found, or two.
var authorizationsNotToBeRead = map[string]string{
	"empty":                   "",
	"algorithm only":          "SDK-HMAC-SHA256",
	"algorithm and space":     "SDK-HMAC-SHA256 ",
	"another algorithm":       "SDK-HMAC-SM3 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"derived algorithm":       "V11-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host;x-sdk-date, Signature=b",
	"algorithm in lower case": "sdk-hmac-sha256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"space before":            " SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"bearer":                  "Bearer token",
	"no access key":           "SDK-HMAC-SHA256 SignedHeaders=host;x-sdk-date, Signature=b",
	"no signed headers":       "SDK-HMAC-SHA256 Access=a, Signature=b",
	"no signature":            "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date",
	"empty access key":        "SDK-HMAC-SHA256 Access=, SignedHeaders=host;x-sdk-date, Signature=b",
	"empty signed headers":    "SDK-HMAC-SHA256 Access=a, SignedHeaders=, Signature=b",
	"empty signature":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=",
	"signature twice":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b, Signature=c",
	"access key twice":        "SDK-HMAC-SHA256 Access=a, Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"one parameter more":      "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b, More=c",
	"another instead":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, More=c",
	"another for access":      "SDK-HMAC-SHA256 More=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"another for the headers": "SDK-HMAC-SHA256 Access=a, More=host;x-sdk-date, Signature=b",
	"names in lower case":     "SDK-HMAC-SHA256 access=a, signedheaders=host;x-sdk-date, signature=b",
	"comma at the end":        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b,",
	"no equals sign, more":    "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature",
	"no equals sign":          "SDK-HMAC-SHA256 Access, SignedHeaders=host;x-sdk-date, Signature=b",
	"no commas":               "SDK-HMAC-SHA256 Access=a SignedHeaders=host;x-sdk-date Signature=b",
	"signed name in capitals": "SDK-HMAC-SHA256 Access=a, SignedHeaders=Host;X-Sdk-Date, Signature=b",
	"signed name twice":       "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date;host, Signature=b",
	"signed name empty":       "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;;x-sdk-date, Signature=b",
	"signed names end open":   "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date;, Signature=b",
	"no text at all":          "\x00\xff",
}

func TestMalformedAuthorizationIsRefused(t *testing.T) {
	s := Signer{AccessKey: "a", SecretKey: "b"}
	for name, value := range authorizationsNotToBeRead {
		t.Run(name, func(t *testing.T) {
			_, err := parseAuthorization([]string{value})
			require.ErrorIs(t, err, ErrUnauthorized)

			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			req.Header = http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "Authorization": {value}}
			require.ErrorIs(t, s.Verify(req, testTime), ErrUnauthorized)
		})
	}
}

func TestAuthorizationIsReadWhateverTheSpacesAndTheOrder(t *testing.T) {
	want := authorization{accessKey: "a", signedHeaders: []string{"host", "x-sdk-date"}, signature: "b"}
	for _, value := range []string{
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
		"SDK-HMAC-SHA256 Access=a,SignedHeaders=host;x-sdk-date,Signature=b",
		"SDK-HMAC-SHA256   Signature=b ,  SignedHeaders=host;x-sdk-date ,\tAccess=a  ",
	} {
		got, err := parseAuthorization([]string{value})
		require.NoError(t, err, value)
		assert.Equal(t, want, got, value)
	}
	got, err := parseAuthorization([]string{"SDK-HMAC-SHA256 Access=a=b=, SignedHeaders=host, Signature=c="})
	require.NoError(t, err)
	assert.Equal(t, authorization{accessKey: "a=b=", signedHeaders: []string{"host"}, signature: "c="}, got)
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b")
	for _, value := range authorizationsNotToBeRead {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := parseAuthorization([]string{value})
		if err != nil {
			require.ErrorIs(t, err, ErrUnauthorized)
			return
		}
		headers := make([]signedHeader, 0, len(got.signedHeaders))
		for _, name := range got.signedHeaders {
			headers = append(headers, signedHeader{name: name})
		}
		again, err := parseAuthorization([]string{Signer{AccessKey: got.accessKey}.authorization(headers, []byte(got.signature))})
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("GET", "/v1?a=b", "host;x-sdk-date", "20240229T235958Z", "", "", strings.Repeat("0", 64), "")
	f.Add("POST", "/v1", "host;x-sdk-date;x-security-token", "20240229T235958Z", "token", "", "b", "content")
	f.Add("POST", "/v1?%zz", "x-sdk-content-sha256;x-sdk-date", "20240229T235958Z", "", "UNSIGNED-PAYLOAD", "c", "content")
	f.Add("", "", "x-sdk-date", "", "", "", "", "")
	// Nobody has this key, the fuzzer's corpus neither.
	s := Signer{AccessKey: "a", SecretKey: rand.Text(), SecurityToken: ""}
	f.Fuzz(func(t *testing.T, method, target, names, date, token, hash, signature, body string) {
		path, rawQuery, _ := strings.Cut(target, "?")
		req := &http.Request{
			Method: method,
			URL:    &url.URL{Path: path, RawQuery: rawQuery},
			Host:   "cdn.example.com",
			Header: http.Header{
				"Authorization": {"SDK-HMAC-SHA256 Access=a, SignedHeaders=" + names + ", Signature=" + signature},
				"X-Sdk-Date":    {date},
			},
			Body: io.NopCloser(strings.NewReader(body)),
		}
		if token != "" {
			req.Header["X-Security-Token"] = []string{token}
		}
		if hash != "" {
			req.Header["X-Sdk-Content-Sha256"] = []string{hash}
		}
		require.ErrorIs(t, s.Verify(req, testTime), ErrUnauthorized)
	})
}

// requireNoSecret checks that text holds no secret of s, in none of the forms in which fmt and
// encoders write text.
func requireNoSecret(t testing.TB, text string, s Signer) {
	t.Helper()
	for _, secret := range []string{s.SecretKey, s.SecurityToken} {
		if secret == "" {
			continue
		}
		for _, form := range []string{
			secret,
			hex.EncodeToString([]byte(secret)),
			strings.ToUpper(hex.EncodeToString([]byte(secret))),
			fmt.Sprintf("% x", secret),
			strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
			base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			require.NotContains(t, text, form)
		}
	}
}

// holders are the ways in which a value of a user's may hold a signer.
func holders(s Signer) map[string]any {
	type record struct {
		Name   string
		Signer Signer
	}
	type pointers struct{ Signer *Signer }
	type embedding struct{ Signer }
	return map[string]any{
		"value":             s,
		"pointer":           &s,
		"field":             record{"a", s},
		"pointer to struct": &record{"a", s},
		"pointer field":     pointers{&s},
		"embedded":          embedding{s},
		"any field":         struct{ Any any }{s},
		"slice":             []Signer{s},
		"slice of pointers": []*Signer{&s},
		"array":             [1]Signer{s},
		"map value":         map[string]Signer{"a": s},
		"nested":            map[string][]record{"a": {{"b", s}}},
	}
}

func TestNoVerbOfFmtPrintsASecret(t *testing.T) {
	// All letters but p and w: of a struct, fmt prints these two as mistakes, without asking the
	// value how it wants to be printed. go vet, which go test runs, refuses them.
	verbs := "abcdefghijklmnoqrstuvxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	flags := []string{"", "+", "#", "-", " ", "0", "+#", "#+ ", "20", "-20.3", "#x"}
	for name, holder := range holders(testTemporary) {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				for _, flag := range flags {
					requireNoSecret(t, fmt.Sprintf("%"+flag+string(verb), holder), testTemporary)
				}
			}
			requireNoSecret(t, fmt.Sprint(holder)+fmt.Sprintln(holder), testTemporary)
			requireNoSecret(t, fmt.Errorf("with %v", holder).Error(), testTemporary)
		})
	}
	requireNoSecret(t, fmt.Sprintf("%v %+v %#v", map[Signer]int{testTemporary: 1}, map[Signer]int{testTemporary: 1}, map[Signer]int{testTemporary: 1}), testTemporary)
}

func TestSignerIsPrintedByItsAccessKey(t *testing.T) {
	assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", testTemporary.String())
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", fmt.Sprintf(format, testTemporary))
		assert.Equal(t, "cdn.Signer{AccessKey:TESTTEMPORARYKEY}", fmt.Sprintf(format, &testTemporary))
	}
}

func TestEncodersWriteNoSecret(t *testing.T) {
	for name, holder := range holders(testTemporary) {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(holder)
			require.NoError(t, err)
			assert.Contains(t, string(text), testTemporary.AccessKey)
			requireNoSecret(t, string(text), testTemporary)

			text, err = xml.Marshal(holder)
			if reflect.TypeOf(holder).Name() != "" {
				require.NoError(t, err, "encoding/xml refuses maps and types without a name")
			}
			requireNoSecret(t, string(text), testTemporary)
		})
	}
}

func TestNoLogHandlerWritesASecret(t *testing.T) {
	handlers := map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	}
	for handlerName, handler := range handlers {
		for name, holder := range holders(testTemporary) {
			t.Run(handlerName+", "+name, func(t *testing.T) {
				var log bytes.Buffer
				logger := slog.New(handler(&log))
				logger.With("with", holder).WithGroup("group").Info("message", "holder", holder, slog.Any("any", holder), slog.Group("g", "in", holder))
				assert.Contains(t, log.String(), "holder")
				if reflect.TypeOf(holder).Kind() != reflect.Pointer && !strings.Contains(name, "pointer") {
					assert.Contains(t, log.String(), testTemporary.AccessKey)
				}
				requireNoSecret(t, log.String(), testTemporary)
			})
		}
	}
}

func TestNilSignerIsPrintedAsNil(t *testing.T) {
	var missing *Signer
	assert.Equal(t, "<nil> <nil>", fmt.Sprintf("%v %+v", missing, missing))
}

// benchmarkQuery has as many parameters as a list call.
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

func BenchmarkSignOfficial(b *testing.B) {
	builder := request.NewHttpRequestBuilder().WithEndpoint("https://cdn.myhuaweicloud.com").WithPath("/v1/cdn/statistics/export-tasks").
		WithMethod(http.MethodGet).AddHeaderParam("Content-Type", "application/json").AddHeaderParam("Host", "cdn.myhuaweicloud.com")
	for key, value := range benchmarkQuery {
		builder.AddQueryParam(key, reflect.ValueOf(value))
	}
	req := builder.Build()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Sign(req, testSigner.AccessKey, testSigner.SecretKey); err != nil {
			b.Fatal(err)
		}
	}
}
