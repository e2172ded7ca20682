package cdn

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIDToken_in_the_environment_needs_no_keys(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	setIDToken(t, iam)
	t.Setenv("HUAWEICLOUD_SDK_AK", "half a pair, not used beside an id token")
	requireAccessKey(t, newSource(t, WithHTTPClient(iam.Client())), "AKFEDERAL1")
}

// An identity service that is down must not make a program sign as another identity.
func TestIDToken_failed_exchange_ends_the_search(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	iam.token = replyingStatus(http.StatusServiceUnavailable, "")
	setIDToken(t, iam)
	setProfile(t, "[global]\nak = OTHER\nsk = sk\n")
	s := newSource(t, WithHTTPClient(iam.Client()))
	_, err := s.get(t.Context())
	require.EqualError(t, err, "credentials: environment HUAWEICLOUD_SDK_IDP_ID, HUAWEICLOUD_SDK_ID_TOKEN_FILE: "+
		"exchange the id token at "+iam.URL+": status 503 Service Unavailable (4 attempts)")
	assert.NotErrorIs(t, err, ErrNoCredentials)

	iam.token = nil // the identity service works again
	requireAccessKey(t, s, "AKFEDERAL1")
}

func TestIDToken_hiccups_are_retried(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"503":     replyingStatus(http.StatusServiceUnavailable, ""),
		"429":     replyingStatus(http.StatusTooManyRequests, ""),
		"cut off": cuttingOff,
	} {
		t.Run(name, func(t *testing.T) {
			iam := newIAMWithHiccups(t, fault)
			requireAccessKey(t, newSource(t, WithHTTPClient(iam.Client())), "AK")
		})
	}
}

func TestIDToken_hanging_requests_are_retried(t *testing.T) {
	iam := newIAMWithHiccups(t, hanging)
	inProcess := roundTripper(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		iam.Config.Handler.ServeHTTP(recorder, r)
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return recorder.Result(), nil
	})
	synctest.Test(t, func(t *testing.T) {
		requireAccessKey(t, newSource(t, WithHTTPClient(&http.Client{Transport: inProcess})), "AK")
	})
}

// newIAMWithHiccups returns an identity service that serves the first of each request with fault.
func newIAMWithHiccups(t *testing.T, fault http.HandlerFunc) *iam {
	t.Helper()
	emptyEnvironment(t)
	iam := newIAM(t)
	setIDToken(t, iam)
	iam.token = inTurn(fault, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", subjectToken)
		w.WriteHeader(http.StatusCreated)
	})
	iam.keys = inTurn(fault, replyingStatus(http.StatusCreated, metadataJSON("AK", time.Now().Add(time.Hour))))
	return iam
}

func TestIDToken_identity_service_of_the_site(t *testing.T) {
	const usual, europe = "https://iam.myhuaweicloud.com", "https://iam.eu-west-101.myhuaweicloud.eu"
	tests := map[string]struct {
		opts     []Option
		variable string
		want     string
	}{
		"default":                   {nil, "", usual},
		"ap-southeast-1":            {[]Option{WithRegion("ap-southeast-1")}, "", usual},
		"eu-west-101":               {[]Option{WithRegion("eu-west-101")}, "", europe},
		"European endpoint":         {[]Option{WithEndpoint("cdn.myhuaweicloud.eu")}, "", europe},
		"endpoint before region":    {[]Option{WithRegion("eu-west-101"), WithEndpoint("https://cdn.myhuaweicloud.com")}, "", usual},
		"European, dot at the end":  {[]Option{WithEndpoint("cdn.MyHuaweiCloud.eu.")}, "", europe},
		"European, by a proxy":      {[]Option{WithRegion("eu-west-101"), WithEndpoint("https://proxy.example.com")}, "", europe},
		"usual, by a proxy":         {[]Option{WithEndpoint("https://proxy.example.com")}, "", usual},
		"override":                  {[]Option{WithRegion("my-europe")}, "", europe},
		"variable":                  {nil, "https://iam.example.com", "https://iam.example.com"},
		"variable without a scheme": {[]Option{WithRegion("eu-west-101")}, "iam.example.com", "https://iam.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			t.Setenv("HUAWEICLOUD_SDK_IDP_ID", "provider")
			t.Setenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE", writeIDToken(t))
			t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", test.variable)
			t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_MY_EUROPE", "https://cdn.my-europe.myhuaweicloud.eu")
			hosts := map[string]bool{}
			fake := roundTripper(func(r *http.Request) (*http.Response, error) {
				hosts[r.URL.Scheme+"://"+r.URL.Host] = true
				recorder := httptest.NewRecorder()
				recorder.Header().Set("X-Subject-Token", subjectToken)
				_, _ = io.WriteString(recorder, metadataJSON("AK", time.Now().Add(time.Hour)))
				return recorder.Result(), nil
			})
			opts := append(test.opts, WithHTTPClient(&http.Client{Transport: fake}))
			requireAccessKey(t, newSource(t, opts...), "AK")
			assert.Equal(t, map[string]bool{test.want: true}, hosts)

			clear(hosts)
			official := buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
				return b.WithIdpId("provider").WithIdTokenFile(os.Getenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE"))
			})
			requireAccessKey(t, newSource(t, append(opts, WithCredentials(official))...), "AK")
			assert.Equal(t, map[string]bool{test.want: true}, hosts)
		})
	}
}

// An identity service may echo the tokens of the request, in any form. No error and no log has one.
func TestIDToken_echoed_tokens_are_redacted(t *testing.T) {
	const token, subject = "eyJhbGciOi/JSUzI1NiIsImtpZCI6+abc==", "MIIaBwYJKo/ZIhvcNAQcCo+IIZ=="
	escaped := func(s string) string {
		return strings.NewReplacer("/", `\/`, "+", `\u002b`, "=", `\u003D`).Replace(s)
	}
	echoes := map[string]func(secret string) string{
		"error object": func(s string) string { return `{"error":{"code":400,"message":"bad token ` + s + `"}}` },
		"escaped":      func(s string) string { return `{"error_msg":"bad token ` + escaped(s) + `","error_code":"IAM.1"}` },
		"JSON within JSON": func(s string) string {
			q, _ := json.Marshal(`{"id":"` + escaped(s) + `"}`)
			return `{"error_msg":` + string(q) + `}`
		},
		"unknown shape": func(s string) string { return `{"request":{"id":"` + escaped(s) + `"}}` },
		"cut short":     func(s string) string { return `{"request":{"id":"` + escaped(s[:len(s)-3]) },
		"text":          func(s string) string { return "bad token: " + s },
	}
	for name, echo := range echoes {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			iam := newIAM(t)
			setIDToken(t, iam)
			require.NoError(t, os.WriteFile(os.Getenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE"), []byte(token), 0o600))
			check := func(status int) {
				var log lockedBuffer
				_, err := newSource(t, logTo(&log), WithHTTPClient(iam.Client())).get(t.Context())
				require.ErrorContains(t, err, "status")
				for _, secret := range []string{token, subject, escaped(token), escaped(subject)} {
					for _, part := range []string{secret[:16], secret[len(secret)/2:]} {
						assert.NotContains(t, err.Error(), part, "status %d", status)
						assert.NotContains(t, log.String(), part)
					}
				}
			}
			for _, status := range []int{400, 503} {
				iam.token = replyingStatus(status, echo(token))
				check(status)
				iam.token = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Subject-Token", subject) }
				iam.keys = replyingStatus(status, echo(subject))
				check(status)
			}
		})
	}
}

func TestIDToken_transport_errors(t *testing.T) {
	tests := map[string]struct {
		err  error
		says string
	}{
		"proxy":             {errors.New("Service Unavailable"), "the proxy responded to CONNECT with 503 Service Unavailable (4 attempts)"},
		"proxy refuses":     {&retry.ProxyError{Proxy: "p:1", StatusCode: 407}, "the proxy p:1 responded to CONNECT with 407 Proxy Authentication Required"},
		"token in an error": {errors.New("cannot send " + idToken), "cannot send [redacted]"},
		"connection reset":  {io.ErrUnexpectedEOF, "unexpected EOF (4 attempts)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			setIDToken(t, newIAM(t))
			t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", "https://iam.example.com")
			failing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, test.err })
			_, err := newSource(t, WithHTTPClient(&http.Client{Transport: failing})).get(t.Context())
			assert.EqualError(t, err, "credentials: environment HUAWEICLOUD_SDK_IDP_ID, HUAWEICLOUD_SDK_ID_TOKEN_FILE: "+
				"exchange the id token at https://iam.example.com: "+test.says)
		})
	}
}

func TestIDToken_redirect_is_not_followed(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	setIDToken(t, iam)
	iam.token = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, iam.URL+identityKeys, http.StatusTemporaryRedirect)
	}
	iam.keys = func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }
	_, err := newSource(t, WithHTTPClient(iam.Client())).get(t.Context())
	assert.ErrorContains(t, err, "which is not followed")
}

// The body of a 101 is the connection itself, and no context ends a Read of it.
func TestIDToken_101_is_an_error_at_once(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	setIDToken(t, iam)
	release := make(chan struct{})
	iam.token = func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		go func() { <-release; _ = conn.Close() }()
	}
	_, err := newSource(t, WithHTTPClient(iam.Client())).get(t.Context())
	close(release)
	assert.ErrorContains(t, err, "status 101 Switching Protocols")
}

func TestIDToken_exchanged_once_for_all_calls(t *testing.T) {
	i := newIAM(t)
	official := federalCredentials(t, i, writeIDToken(t))
	before := *official
	client, err := NewCdnClient(WithCredentials(official), WithEndpoint(i.URL), WithHTTPClient(i.Client()))
	require.NoError(t, err)
	assert.Zero(t, i.exchanges.Load(), "nothing is exchanged before the first call")
	for range 3 {
		_, err = client.ListExportTasks(t.Context(), nil)
		require.NoError(t, err)
	}
	assert.EqualValues(t, 1, i.exchanges.Load())
	require.Len(t, i.seen(), 3)
	for _, call := range i.seen() {
		assert.Equal(t, "domain", call.Header.Get("X-Domain-Id"))
		assert.NoError(t, Signer{"AKFEDERAL1", secretKey, securityToken}.Verify(call, time.Now()))
	}
	assert.Equal(t, before.AK, official.AK, "the user's credentials must stay as they are")
	assert.True(t, before.BaseCredentials.SK == official.SK && before.SecurityToken == official.SecurityToken)
	assert.Equal(t, "", official.AK)
}

func TestIDToken_keys_expire_as_the_response_says(t *testing.T) {
	for _, life := range []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			i := newIAM(t)
			end := time.Now().Add(life).Truncate(time.Second)
			i.keys = replying(metadataJSON("AK", end))
			s := newSource(t, WithCredentials(federalCredentials(t, i, writeIDToken(t))), WithHTTPClient(i.Client()))
			got, err := s.get(t.Context())
			require.NoError(t, err)
			assert.True(t, got.expires.Equal(end), "%v, not %v", got.expires, end)
		})
	}
}

func TestIDToken_failed_exchange_is_explained(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, i *iam, official *global.Credentials, client *http.Client)
		says  string
		check func(t *testing.T, err error)
		// ends is whether the fault is the identity service's, so that the next call succeeds.
		ends bool
	}{
		"refused": {
			ends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) {
				i.token = replyingStatus(http.StatusUnauthorized, `{"error_code":"IAM.0001","error_msg":"unknown provider"}`)
			},
			says:  "status 401 Unauthorized: IAM.0001: unknown provider",
			check: func(t *testing.T, err error) { assert.NotErrorIs(t, err, ErrUnauthorized, "the CDN refused nothing") },
		},
		"token file missing": {
			spoil: func(_ *testing.T, _ *iam, official *global.Credentials, _ *http.Client) {
				official.IdTokenFile = "/nowhere/id-token"
			},
			says:  "/nowhere/id-token",
			check: func(t *testing.T, err error) { assert.ErrorIs(t, err, fs.ErrNotExist) },
		},
		"token file empty": {
			spoil: func(t *testing.T, _ *iam, official *global.Credentials, _ *http.Client) {
				require.NoError(t, os.WriteFile(official.IdTokenFile, []byte("\n"), 0o600))
			},
			says: "is empty",
		},
		"certificate not trusted": {
			spoil: func(_ *testing.T, _ *iam, _ *global.Credentials, client *http.Client) {
				client.Transport = &http.Transport{DisableKeepAlives: true}
			},
			says: "certificate",
		},
		"keys cut short": {
			ends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) {
				body := metadataJSON("AK", time.Now())
				i.keys = replying(body[:strings.Index(body, secretKey)+10])
			},
			says: "cannot be read as credentials",
		},
		"keys of an empty object": {
			ends:  true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) { i.keys = replying(`{}`) },
			says:  "cannot be read as credentials",
		},
		"no subject token": {
			ends:  true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) { i.token = replying(`{}`) },
			says:  "X-Subject-Token is missing",
		},
		"keys with a line break": {
			ends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) {
				i.keys = replying(strings.Replace(metadataJSON("AK", time.Now()), secretKey, secretKey+`\n`, 1))
			},
			says:  "SecretKey",
			check: func(t *testing.T, err error) { assert.ErrorIs(t, err, ErrInvalidParameter) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := newIAM(t)
			official, httpClient := federalCredentials(t, i, writeIDToken(t)), *i.Client()
			test.spoil(t, i, official, &httpClient)
			client, err := NewCdnClient(WithCredentials(official), WithEndpoint(i.URL), WithHTTPClient(&httpClient))
			require.NoError(t, err)
			_, err = client.ListExportTasks(t.Context(), nil)
			require.ErrorContains(t, err, "cdn: ListExportTasks: credentials: WithCredentials, id token: ")
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "export-tasks", "nothing was sent to the service")
			assertNoPartOfASecret(t, err.Error())
			if test.check != nil {
				test.check(t, err)
			}
			assert.Empty(t, i.seen(), "nothing may be sent to the service without credentials")

			i.token, i.keys = nil, nil
			_, err = client.ListExportTasks(t.Context(), nil)
			assert.Equal(t, test.ends, err == nil, "only a fault of the identity service has ended: %v", err)
		})
	}
}

// A client whose identity service hangs does not delay another client.
func TestIDToken_hanging_identity_service_delays_no_other_client(t *testing.T) {
	stuck, fine := newIAM(t), newIAM(t)
	asked := make(chan struct{})
	release := make(chan struct{})
	stuck.token = func(http.ResponseWriter, *http.Request) { close(asked); <-release }
	newClient := func(i *iam) *CdnClient {
		client, err := NewCdnClient(WithCredentials(federalCredentials(t, i, writeIDToken(t))), WithEndpoint(i.URL), WithHTTPClient(i.Client()), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
		require.NoError(t, err)
		return client
	}
	a, b := newClient(stuck), newClient(fine)
	ended := make(chan error)
	go func() {
		_, err := a.ListExportTasks(t.Context(), nil)
		ended <- err
	}()
	<-asked
	_, err := b.ListExportTasks(t.Context(), nil)
	assert.NoError(t, err)
	close(release)
	assert.ErrorContains(t, <-ended, "X-Subject-Token is missing")
}

func FuzzFederation(f *testing.F) {
	f.Add(200, subjectToken, "{}", 200, metadataJSON("AK", time.Unix(4e9, 0)))
	f.Add(401, "", `{"error":{"code":401,"message":"no `+idToken+`"}}`, 200, "")
	f.Add(201, "a\x00b", "", 503, `{"error_msg":"`+subjectToken+`"}`)
	file := f.TempDir() + "/token"
	require.NoError(f, os.WriteFile(file, []byte(idToken), 0o600))
	f.Fuzz(func(t *testing.T, tokenStatus int, token, tokenBody string, keysStatus int, keysBody string) {
		fake := roundTripper(func(r *http.Request) (*http.Response, error) {
			status, body := keysStatus, keysBody
			if r.URL.Path == identityTokens {
				status, body = tokenStatus, tokenBody
			}
			header := http.Header{"X-Subject-Token": {token}}
			return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		o, err := newOptions([]Option{WithHTTPClient(&http.Client{Transport: fake}), WithRetryPolicy(RetryPolicy{MaxAttempts: 1})})
		require.NoError(t, err)
		got, err := federation{fetcher: newFetcher(o), endpoint: "https://iam.example.com", provider: "p", tokenFile: file}.fetch(t.Context())
		switch {
		case err == nil:
			assert.NoError(t, got.signer.validate())
			assert.False(t, got.permanent())
		case errors.Is(err, errUnreadable), errors.Is(err, ErrInvalidParameter):
		default:
			var status *statusError
			assert.ErrorAs(t, err, &status)
			assert.NotContains(t, err.Error(), idToken)
			assert.NotContains(t, err.Error(), "\n")
		}
	})
}
