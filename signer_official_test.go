package cdn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSign_vector_of_the_signing_guide(t *testing.T) {
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
	assert.Equal(t, signature, string(s.signature(appendStringToSign(nil, date, canonical))))

	authorization := "SDK-HMAC-SHA256 Access=" + accessKey + ", SignedHeaders=content-type;host;x-sdk-date, Signature=" + signature
	assert.Equal(t, authorization, s.authorization(headers, []byte(signature)))
	req.Header.Set("Authorization", authorization)
	assert.NoError(t, s.Verify(req, time.Date(2019, time.November, 15, 3, 36, 55, 0, time.UTC)))
}

func TestVerify_vectors_of_the_official_signer(t *testing.T) {
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

// judged is a request that both signers sign.
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

// chooser makes the decisions for a random request.
type chooser interface {
	// number returns a number from 0 to n-1.
	number(n int) int
	// text returns any bytes.
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

// trickyText returns any bytes, or characters that signers often get wrong.
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

// headerText returns a valid header value.
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
	// The order of the parameters is not signed.
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

// ours returns the request for our signer.
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
			// The official signer sets the header by itself.
			req.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")
		}
	}
	if j.body != "" {
		req.Body = io.NopCloser(strings.NewReader(j.body))
	}
	return req
}

// officials returns the request for the official signer.
func (j judged) officials() *request.DefaultHttpRequest {
	builder := request.NewHttpRequestBuilder().WithEndpoint("https://"+j.host).WithPath(j.path).WithMethod(j.method).
		// The official signer signs the host only if it is among the headers.
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

// requireOfficialSignature checks that both signers return the same signature and that Verify accepts it.
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

func TestSign_random_requests_equal_the_official_signature(t *testing.T) {
	// A failure prints its seed; a fail file would be left in the source tree.
	for name, value := range map[string]string{"rapid.checks": "10000", "rapid.nofailfile": "true"} {
		option := flag.Lookup(name).Value
		before := option.String()
		require.NoError(t, option.Set(value))
		t.Cleanup(func() { require.NoError(t, option.Set(before)) })
	}
	rapid.Check(t, func(t *rapid.T) { requireOfficialSignature(t, randomRequest(rapidChooser{t})) })
}

func FuzzSignAgainstOfficial(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("2\x011\x05\x03\x02\x01 +%;&=\xff中文\x00"))
	f.Add(bytes.Repeat([]byte{7, 5, 3, 2, 1, 0x25, 0x2b, 0xff}, 64))
	f.Add([]byte(strings.Repeat("the same request, again and again ", 16)))
	f.Fuzz(func(t *testing.T, data []byte) { requireOfficialSignature(t, randomRequest(&fuzzChooser{data})) })
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
