package cdn

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/redact"
)

const (
	putToken = "PUT 169.254.169.254" + metadataToken
	getKeys  = "GET 169.254.169.254" + metadataKeyPath
)

func TestMetadata_token(t *testing.T) {
	keys := replying(metadataJSON("AK", time.Now().Add(24*time.Hour)))
	withToken := func(want string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Metadata-Token") != want {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			keys(w, r)
		}
	}
	noAgencyBody := `{"code":401,"message":"` + noAgency + `"}`
	tests := map[string]struct {
		token, keys http.HandlerFunc
		want        []string
		says        string // "" for success
	}{
		"token":               {replying("T1"), withToken("T1"), []string{putToken, getKeys}, ""},
		"no tokens, 404":      {replyingStatus(404, "x"), withToken(""), []string{putToken, getKeys}, ""},
		"no tokens, 405":      {replyingStatus(405, "x"), withToken(""), []string{putToken, getKeys}, ""},
		"no tokens, 503":      {replyingStatus(503, "x"), withToken(""), []string{putToken, getKeys}, ""},
		"token refused":       {inTurn(replying("T1"), replying("T2")), withToken("T2"), []string{putToken, getKeys, putToken, getKeys}, ""},
		"token needed later":  {inTurn(replyingStatus(404, "x"), replying("T2")), withToken("T2"), []string{putToken, getKeys, putToken, getKeys}, ""},
		"token refused twice": {replying("T1"), withToken("T2"), []string{putToken, getKeys, putToken, getKeys}, "status 401"},
		"no agency":           {replying("T1"), replyingStatus(401, noAgencyBody), []string{putToken, getKeys}, "status 401 Unauthorized: 401: " + noAgency},
		"token unavailable":   {inTurn(replyingStatus(500, "x"), replying("T1")), withToken("T1"), []string{putToken, putToken, getKeys}, ""},
		"token of two lines":  {replying("T1\nT2"), keys, []string{putToken}, "not a metadata token"},
		"token of HTML":       {replying("<html>\n<body>Log in</body>"), keys, []string{putToken}, "not a metadata token"},
		"empty token":         {replying(""), keys, []string{putToken}, "not a metadata token"},
		"token refused, 403":  {replyingStatus(403, "x"), keys, []string{putToken}, "not there: status 403"},
		"token redirected": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.example.com/", http.StatusTemporaryRedirect)
		}, keys, []string{putToken}, "which is not followed"},
		"token hangs once":  {inTurn(hanging, replying("T1")), withToken("T1"), []string{putToken, putToken, getKeys}, ""},
		"keys unavailable":  {replying("T1"), inTurn(replyingStatus(503, "x"), replyingStatus(429, "x"), keys), []string{putToken, getKeys, getKeys, getKeys}, ""},
		"keys hang once":    {replying("T1"), inTurn(hanging, keys), []string{putToken, getKeys, getKeys}, ""},
		"keys cut off once": {replying("T1"), inTurn(cuttingOff, keys), []string{putToken, getKeys, getKeys}, ""},
		"keys refused":      {replying("T1"), replyingStatus(403, "x"), []string{putToken, getKeys}, "status 403"},
		"redirect not followed": {
			replying("T1"), func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://other.example.com/a?b=c", http.StatusFound)
			},
			[]string{putToken, getKeys}, "redirected to http://other.example.com/a?redacted, which is not followed",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			synctest.Test(t, func(t *testing.T) {
				i := newInstance(t)
				i.token, i.metadata = test.token, test.keys
				got, err := newSource(t).get(t.Context())
				if test.says == "" {
					require.NoError(t, err)
					assert.Equal(t, "AK", got.signer.AccessKey)
				} else {
					require.ErrorContains(t, err, test.says)
				}
				assert.Equal(t, test.want, i.seen())
			})
		})
	}
}

// cuttingOff ends the connection in the middle of the response.
func cuttingOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"credential":`))
	panic(http.ErrAbortHandler)
}

func TestMetadata_hanging_service_is_a_timeout(t *testing.T) {
	emptyEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		i := newInstance(t)
		i.metadata = hanging
		_, err := newSource(t, WithRetryPolicy(RetryPolicy{MaxAttempts: 2, AttemptTimeout: 5 * time.Second})).get(t.Context())
		require.ErrorContains(t, err, "credentials: "+metadataName+": no response within the 5s of one attempt: ")
		assert.ErrorContains(t, err, "(2 attempts)")
		assert.NotErrorIs(t, err, ErrNoCredentials)
	})
}

func TestMetadata_retry_after(t *testing.T) {
	for value, attempts := range map[string]int{"0": 2, "61": 1, "99999999999999999999": 1} {
		t.Run(value, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			i.metadata = inTurn(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusServiceUnavailable)
			}, replying(metadataJSON("AK", time.Now().Add(time.Hour))))
			_, err := newSource(t).get(t.Context())
			assert.Equal(t, attempts == 1, err != nil, "%v", err)
			assert.Len(t, i.seen(), 1+attempts)
		})
	}
}

func TestPodIdentity_requests(t *testing.T) {
	keys := replying(podJSON("AK", time.Now().Add(time.Hour)))
	tests := map[string]struct {
		pod  http.HandlerFunc
		want int
		says string
	}{
		"keys":        {keys, 1, ""},
		"unavailable": {inTurn(replyingStatus(503, ""), replyingStatus(502, ""), keys), 3, ""},
		"hangs once":  {inTurn(hanging, keys), 2, ""},
		"cut off":     {inTurn(cuttingOff, keys), 2, ""},
		"down":        {replyingStatus(500, `{"error_code":"CCE.1","error_msg":"down"}`), 4, "status 500 Internal Server Error: CCE.1: down (4 attempts)"},
		"refused with an echo": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "no "+r.Header.Get("Authorization"), http.StatusForbidden)
			},
			1, "status 403 Forbidden: no [redacted]",
		},
		"redirect not followed": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.170.23/other?token="+idToken, http.StatusTemporaryRedirect)
			},
			1, "status 307 Temporary Redirect: redirected to http://169.254.170.23/other?redacted, which is not followed",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			setPod(t)
			synctest.Test(t, func(t *testing.T) {
				i := newInstance(t)
				i.pod = test.pod
				got, err := newSource(t).get(t.Context())
				if test.says == "" {
					require.NoError(t, err)
					assert.Equal(t, "AK", got.signer.AccessKey)
				} else {
					assert.EqualError(t, err, "credentials: "+podName+": "+test.says)
					assert.NotErrorIs(t, err, ErrNoCredentials)
					assertNoPartOfASecret(t, err.Error())
				}
				assert.Len(t, i.seen(), test.want)
			})
		})
	}
}

// A proxy knows its own machine's metadata, not this one's. The test has a process of its own, because net/http
// reads HTTP_PROXY once.
func TestMetadata_and_pod_agent_never_through_a_proxy(t *testing.T) {
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		proxied.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer proxy.Close()
	if inOwnProcess(t, "HTTP_PROXY="+proxy.URL, "http_proxy=", "NO_PROXY=", "no_proxy=") {
		emptyEnvironment(t)
		i := newInstance(t)
		i.metadata = replying(metadataJSON("AKMETADATA", time.Now().Add(24*time.Hour)))
		requireAccessKey(t, newSource(t), "AKMETADATA")
		setPod(t)
		i.pod = replying(podJSON("AKPOD", time.Now().Add(24*time.Hour)))
		requireAccessKey(t, newSource(t), "AKPOD")
		return
	}
	assert.Zero(t, proxied.Load())
}

// The client of link-local addresses has no proxy and keeps no connection, with any http.DefaultTransport.
func TestLinkLocalClient_without_a_standard_transport(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = http.NewFileTransport(http.Dir("."))
	transport := linkLocalClient().Transport.(redact.Transport).Base.(*http.Transport)
	assert.Nil(t, transport.Proxy)
	assert.True(t, transport.DisableKeepAlives)
}

func TestMetadata_fetched_again_when_its_keys_expire(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	i.metadata = replying(metadataJSON("AKOLD", time.Now().Add(time.Hour)))
	s := newSource(t)
	var offset time.Duration
	s.now = func() time.Time { return time.Now().Add(offset) }
	requireAccessKey(t, s, "AKOLD")

	offset = 2 * time.Hour
	i.metadata = replying(metadataJSON("AKNEW", time.Now().Add(24*time.Hour)))
	requireAccessKey(t, s, "AKNEW")
	asked := len(i.seen())
	requireAccessKey(t, s, "AKNEW")
	assert.Len(t, i.seen(), asked)
}

func TestMetadata_that_goes_away_is_an_error(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	i.metadata = replying(metadataJSON("AK", time.Now().Add(time.Hour)))
	s := newSource(t)
	var offset time.Duration
	s.now = func() time.Time { return time.Now().Add(offset) }
	requireAccessKey(t, s, "AK")
	offset = 2 * time.Hour
	i.metadata = nil
	setCloudSDK(t) // another identity, which must not sign
	_, err := s.get(t.Context())
	require.ErrorContains(t, err, "credentials: "+metadataName+": not there: status 404 Not Found")
	assert.NotErrorIs(t, err, ErrNoCredentials)
}

// Responses that cannot be read as credentials are not quoted: a part of them may be a key.
func TestTemporary_unreadable_responses_are_not_quoted(t *testing.T) {
	later := time.Now().Add(24 * time.Hour)
	cut := func(body, after string) string { return body[:strings.Index(body, after)+len(after)/2] }
	swap := func(body, old, new string) string { return strings.Replace(body, old, new, 1) }
	metadata, pod := metadataJSON("AK", later), podJSON("AK", later)
	tests := map[string]struct{ body, says string }{
		"cut in the secret key":     {cut(metadata, secretKey), "cannot be read"},
		"cut in the token":          {cut(metadata, securityToken), "cannot be read"},
		"bad escape":                {swap(metadata, secretKey, `\q`+secretKey), "cannot be read"},
		"number":                    {swap(metadata, `"AK"`, `1`), "cannot be read"},
		"bad date":                  {swap(metadata, `"expires_at":"`, `"expires_at":"`+secretKey), "expires_at is not a time"},
		"first year":                {swap(metadata, later.UTC().Format("2006-01-02T15:04:05.000000Z"), "0001-01-01T00:00:00Z"), "expires_at is not a time"},
		"no date":                   {swap(metadata, `expires_at`, `expires`), "expires_at is missing"},
		"no access key":             {swap(metadata, `"access"`, `"x"`), "access is missing"},
		"no secret key":             {swap(metadata, `"secret"`, `"x"`), "secret is missing"},
		"no token":                  {swap(metadata, `"securitytoken"`, `"x"`), "securitytoken is missing"},
		"empty":                     {``, "cannot be read"},
		"empty object":              {`{}`, "credential is missing"},
		"null":                      {`{"credential":null}`, "credential is missing"},
		"null for the pod":          {`{"credentials":null}`, "credential is missing"},
		"array":                     {`[]`, "cannot be read"},
		"HTML":                      {`<html>` + secretKey, "cannot be read"},
		"trailing garbage":          {metadata + secretKey, "cannot be read"},
		"too large":                 {`{"x":"` + strings.Repeat("x", maxCredentialsResponse) + `"}`, "larger than 1048576 bytes"},
		"pod, cut in the key":       {cut(pod, secretKey), "cannot be read"},
		"pod, cut in the token":     {cut(pod, securityToken), "cannot be read"},
		"secret key, line break":    {swap(metadata, secretKey, secretKey+`\n`), "SecretKey"},
		"pod, token, line break":    {swap(pod, securityToken, securityToken+`\n`), "SecurityToken"},
		"access key with a control": {swap(metadata, `"AK"`, `"A\u0000K"`), "AccessKey"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			i.metadata = replying(test.body)
			s := newSource(t)
			_, err := s.get(t.Context())
			require.ErrorContains(t, err, "credentials: "+metadataName+": ")
			require.ErrorContains(t, err, test.says)
			assert.NotErrorIs(t, err, ErrNoCredentials)
			assertNoPartOfASecret(t, err.Error())

			setPod(t)
			i.pod = replying(test.body)
			_, err = newSource(t).get(t.Context())
			require.ErrorContains(t, err, "credentials: "+podName+": ")
			assertNoPartOfASecret(t, err.Error())

			i.metadata = replying(metadataJSON("AKNEW", later))
			t.Setenv(podURL, "")
			t.Setenv(podTokenFile, "")
			requireAccessKey(t, s, "AKNEW")
		})
	}
}

func TestTemporary_expiry(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		text string
		want time.Time // zero for an error
	}{
		"metadata service":       {`"2026-03-01T12:00:00.000000Z"`, at},
		"pod agent":              {`"2026-03-01T12:00:00Z"`, at},
		"another zone":           {`"2026-03-01T20:00:00+08:00"`, at},
		"far future":             {`"9999-12-31T23:59:59Z"`, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"no zone":                {`"2026-03-01T12:00:00"`, time.Time{}},
		"zone without a colon":   {`"2026-03-01T20:00:00+0800"`, time.Time{}},
		"space for the T":        {`"2026-03-01 12:00:00Z"`, time.Time{}},
		"HTTP date":              {`"Sun, 01 Mar 2026 12:00:00 GMT"`, time.Time{}},
		"seconds since 1970":     {`1772366400`, time.Time{}},
		"seconds, as a string":   {`"1772366400"`, time.Time{}},
		"no such day":            {`"2026-02-30T12:00:00Z"`, time.Time{}},
		"white space at the end": {`"2026-03-01T12:00:00Z "`, time.Time{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseTemporary(`{"credential":{"access":"AK","secret":"sk","securitytoken":"t","expires_at":` + test.text + `}}`)
			if test.want.IsZero() {
				require.ErrorIs(t, err, errUnreadable)
				return
			}
			require.NoError(t, err)
			assert.True(t, got.expires.Equal(test.want), "%v", got.expires)
		})
	}
}

func FuzzParseTemporary(f *testing.F) {
	soon := time.Unix(1700000000, 0)
	f.Add(metadataJSON("AK", soon))
	f.Add(podJSON("AK", soon))
	f.Add(`{"credential":{"access":"AK","secret":"SK","securitytoken":"T","expires_at":"0001-01-01T00:00:00Z"}}`)
	f.Add(`{"credential":null,"credentials":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		got, err := parseTemporary(body)
		if err != nil {
			if !errors.Is(err, errUnreadable) && !errors.Is(err, ErrInvalidParameter) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		assert.True(t, json.Valid([]byte(body)))
		assert.NoError(t, got.signer.validate())
		assert.False(t, got.permanent(), "temporary credentials must expire")
		assert.NotEmpty(t, got.signer.SecurityToken)
	})
}

// A machine outside the cloud may drop the packets. The search must not take the time of four attempts.
func TestMetadata_connection_that_times_out_is_tried_once(t *testing.T) {
	emptyEnvironment(t)
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		http.DefaultTransport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
		}}
		start := time.Now()
		_, err := newSource(t).get(t.Context())
		require.ErrorIs(t, err, ErrNoCredentials)
		assert.EqualValues(t, 1, dials.Load())
		assert.Equal(t, linkLocalDialTime, time.Since(start))
	})
}

func TestMetadata_that_throttles_is_configured(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	i.metadata = replyingStatus(http.StatusTooManyRequests, "")
	_, err := newSource(t).get(t.Context())
	require.EqualError(t, err, "credentials: "+metadataName+": status 429 Too Many Requests (4 attempts)")
	assert.NotErrorIs(t, err, ErrNoCredentials)
}
