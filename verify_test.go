package cdn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
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

// authorize signs the named headers of req and no others, as signers in other languages do.
func authorize(t testing.TB, s Signer, req *http.Request, names ...string) {
	t.Helper()
	headers, err := signedHeaders(req, names)
	require.NoError(t, err)
	payload, err := hashedPayload(req, headers)
	require.NoError(t, err)
	canonical, err := appendCanonicalRequest(nil, req, headers, payload)
	require.NoError(t, err)
	req.Header.Set("Authorization", s.authorization(headers, s.signature(appendStringToSign(nil, req.Header.Get("X-Sdk-Date"), canonical))))
}

func TestVerify_SignedHeaders_counts(t *testing.T) {
	all := http.Header{
		"X-Sdk-Date": {"20240229T235958Z"}, "Content-Type": {"application/json"}, "User-Agent": {"java"}, "X_under": {"a"}, "X-Other": {"b"},
	}
	tests := map[string][]string{
		"date only":                  {"x-sdk-date"},
		"host and date":              {"host", "x-sdk-date"},
		"as other official SDKs":     {"content-type", "host", "x-sdk-date"},
		"names that Sign leaves out": {"user-agent", "x-sdk-date", "x_under"},
		"in another order":           {"x-sdk-date", "x-other", "host"},
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

func TestVerify_date_within_15_minutes(t *testing.T) {
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

func TestVerify_changed_request_is_unauthorized(t *testing.T) {
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
			assert.True(t, strings.HasPrefix(err.Error(), "cdn: Verify: "), err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			requireNoSecret(t, err.Error(), testTemporary)
		})
	}
}

func setBody(r *http.Request, body string) {
	r.Body, r.GetBody = io.NopCloser(strings.NewReader(body)), nil
}

func TestVerify_unsigned_hash_is_ignored(t *testing.T) {
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

func TestVerify_wrong_signed_hash_is_unauthorized(t *testing.T) {
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

func TestVerify_unsigned_date_or_token_is_unauthorized(t *testing.T) {
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
		"no token for temporary keys": {
			signer: testTemporary, header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}}, names: []string{"host", "x-sdk-date"},
			says: "X-Security-Token is missing or not signed",
		},
		"a token for permanent keys": {
			signer: testSigner, names: []string{"host", "x-sdk-date", "x-security-token"}, says: "X-Security-Token does not belong",
			header: http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "X-Security-Token": {"other"}},
		},
		"an empty token for permanent keys": {
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

func TestVerify_other_keys_are_unauthorized(t *testing.T) {
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

func TestVerify_refuses_before_reading_the_body(t *testing.T) {
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

func FuzzVerify(f *testing.F) {
	f.Add("GET", "/v1?a=b", "host;x-sdk-date", "20240229T235958Z", "", "", strings.Repeat("0", 64), "")
	f.Add("POST", "/v1", "host;x-sdk-date;x-security-token", "20240229T235958Z", "token", "", "b", "content")
	f.Add("POST", "/v1?%zz", "x-sdk-content-sha256;x-sdk-date", "20240229T235958Z", "", "UNSIGNED-PAYLOAD", "c", "content")
	f.Add("", "", "x-sdk-date", "", "", "", "", "")
	// The corpus cannot contain a signature of a random key.
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
