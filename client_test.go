package cdn_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestOptions_invalid_is_an_error(t *testing.T) {
	tests := []struct {
		name   string
		option cdn.Option
		want   string
	}{
		{"nil option", nil, "option 1 is nil"},
		{"blank AK", cdn.WithAKSK("", "sk"), "AccessKey is empty"},
		{"blank SK", cdn.WithAKSK("ak", ""), "SecretKey is empty"},
		{"SK with a line break", cdn.WithAKSK("ak", "s3cret\n"), "SecretKey has a character that no key has"},
		{"AK with a comma", cdn.WithAKSK("a,k", "s3cret"), "AccessKey has a character that no key has"},
		{"nil credentials", cdn.WithCredentials(nil), "Credentials"},
		{"empty credentials", cdn.WithCredentials(&global.Credentials{}), "AccessKey is empty"},
		{"empty region", cdn.WithRegion(""), "ap-southeast-1, cn-north-1, eu-west-101"},
		{"unknown region", cdn.WithRegion("moon-1"), `Region "moon-1": is not one of ap-southeast-1, cn-north-1, eu-west-101`},
		{"empty endpoint", cdn.WithEndpoint(""), "Endpoint"},
		{"insecure endpoint", cdn.WithEndpoint("http://cdn.example.com"), "WithInsecureHTTP"},
		{"nil HTTP client", cdn.WithHTTPClient(nil), "HTTPClient"},
		{"nil rate limiter", cdn.WithRateLimiter(nil), "RateLimiter"},
		{"empty user agent", cdn.WithUserAgent(""), "UserAgent"},
		{"user agent with a line break", cdn.WithUserAgent("a\r\nX-Evil: b"), "UserAgent"},
		{"negative attempts", cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: -1}), "RetryPolicy.MaxAttempts"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := cdn.NewCdnClient(cdn.WithLogger(nil), test.option)
			require.ErrorIs(t, err, cdn.ErrInvalidParameter)
			assert.Nil(t, client)
			assert.True(t, strings.HasPrefix(err.Error(), "cdn: NewCdnClient: invalid parameter: "), err)
			assert.Contains(t, err.Error(), test.want)
			assert.NotContains(t, err.Error(), "s3cret")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestOptions_the_later_one_counts(t *testing.T) {
	srv, _ := newServer(t)
	client, err := cdn.NewCdnClient(
		cdn.WithAKSK("wrong", "wrong"), cdn.WithAKSK(srv.AK, srv.SK),
		cdn.WithEndpoint("https://cdn.example.com"), cdn.WithEndpoint(srv.URL),
	)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	official := &global.Credentials{}
	official.AK, official.SK = srv.AK, "wrong"
	client = srv.NewClient(cdn.WithCredentials(official))
	defer client.CloseIdleConnections()
	_, err = client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
}

// Every verb of fmt, both handlers of slog and encoding/json are tried.
func TestSecrets_not_printed_logged_or_marshalled(t *testing.T) {
	const sk, token = "s3cret-key", "s3cret-token"
	official := &global.Credentials{}
	official.AK, official.SK, official.SecurityToken = "ak", sk, token
	srv, _ := newServer(t)
	client := srv.NewClient(cdn.WithCredentials(official))
	defer client.CloseIdleConnections()
	_, refused := client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, refused, cdn.ErrUnauthorized)
	unreachable, err := cdn.NewCdnClient(cdn.WithCredentials(official), cdn.WithEndpoint("http://127.0.0.1:1"), cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))
	require.NoError(t, err)
	_, failed := unreachable.ListExportTasks(t.Context(), nil)
	require.Error(t, failed)
	signer := cdn.Signer{AccessKey: "ak", SecretKey: sk, SecurityToken: token}

	values := map[string]any{
		"client": client, "client by value": *client, "signer": signer, "pointer to signer": &signer,
		"API error": refused, "connection error": failed,
		"struct": struct {
			Client *cdn.CdnClient
			Signer cdn.Signer
		}{client, signer},
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			var shown strings.Builder
			for verb := 'A'; verb <= 'z'; verb++ {
				// For a struct, fmt treats these two as mistakes and prints the fields without calling a
				// method. The keys of a signer are fields; those of a client are not.
				if (verb == 'p' || verb == 'w') && !strings.HasPrefix(name, "client") {
					continue
				}
				for _, flag := range []string{"", "+", "#"} {
					fmt.Fprintf(&shown, "%"+flag+string(verb)+"\n", value)
				}
			}
			for _, handler := range []func(*bytes.Buffer) slog.Handler{
				func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var log bytes.Buffer
				slog.New(handler(&log)).Info("x", "value", value)
				shown.WriteString(log.String())
			}
			text, err := json.Marshal(value)
			require.NoError(t, err)
			shown.Write(text)
			assert.NotContains(t, shown.String(), "s3cret")
			assert.NotContains(t, shown.String(), fmt.Sprintf("%x", "s3cret"), "in hexadecimal")
			assert.NotContains(t, shown.String(), fmt.Sprintf("%X", "s3cret"), "in hexadecimal")
			assert.NotContains(t, shown.String(), "115 51 99", "as bytes")
		})
	}
}

func TestCredentials_security_token_and_account_are_sent(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithSecurityToken("token"))
	defer srv.Close()
	official := &global.Credentials{DomainId: "account-1"}
	official.AK, official.SK, official.SecurityToken = srv.AK, srv.SK, "token"
	client := srv.NewClient(cdn.WithCredentials(official))
	defer client.CloseIdleConnections()
	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	sent := srv.Requests()[0].Header
	assert.Equal(t, "token", sent.Get("X-Security-Token"))
	assert.Equal(t, "account-1", sent.Get("X-Domain-Id"))
	assert.Contains(t, sent.Get("Authorization"), "SignedHeaders=host;x-domain-id;x-sdk-date;x-security-token,")
}

func TestCredentials_later_change_is_ignored(t *testing.T) {
	srv, _ := newServer(t)
	official := &global.Credentials{}
	official.AK, official.SK = srv.AK, srv.SK
	client := srv.NewClient(cdn.WithCredentials(official))
	defer client.CloseIdleConnections()
	official.SK = "another"
	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
}

func TestClient_concurrent_calls(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithSampleTasks(30))
	defer srv.Close()
	// The vendor's package keeps an override until the process ends.
	port := srv.URL[strings.LastIndex(srv.URL, ":")+1:]
	region := "test-many-" + port
	t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_TEST_MANY_"+port, srv.URL)
	client, err := cdn.NewCdnClient(cdn.WithAKSK(srv.AK, srv.SK), cdn.WithRegion(region))
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	want, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			own, err := cdn.NewCdnClient(cdn.WithAKSK(srv.AK, srv.SK), cdn.WithRegion(region))
			if !assert.NoError(t, err) {
				return
			}
			defer own.CloseIdleConnections()
			for _, c := range []*cdn.CdnClient{client, own, client} {
				got, err := c.ListExportTasks(t.Context(), nil)
				if assert.NoError(t, err) {
					assert.Equal(t, names(want.Data), names(got.Data))
				}
			}
		})
	}
	wg.Wait()
}

func TestConnection_reused_after_errors(t *testing.T) {
	srv, _ := newServer(t)
	connections := map[string]bool{}
	var mu sync.Mutex
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := srv.NewClient(cdn.WithHTTPClient(&http.Client{Transport: transport}), cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Nanosecond}))
	srv.Inject(cdntest.Fault{
		Match: func(r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			connections[r.RemoteAddr] = true
			return len(connections) > 0
		},
		Times: 3, Status: 503, Body: strings.Repeat("x", 1<<20),
	})
	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, connections, 1, "the bodies of errors are read to their end too")
}

// net/http decodes a response with gzip. The limit counts the decoded bytes.
func TestResponse_compressed(t *testing.T) {
	srv, client := newServer(t)
	srv.Inject(cdntest.Fault{Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: gzipped(t, `{"total":0,"data":[]}`)})
	_, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)

	bomb := gzipped(t, `{"total":0,"data":[]`+strings.Repeat(" ", 40<<20)+`}`)
	require.Less(t, len(bomb), 1<<20)
	srv.Inject(cdntest.Fault{Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: bomb})
	_, err = client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, cdn.ErrMalformedResponse)
	assert.ErrorContains(t, err, "larger than 33554432 bytes")
}

func TestCloseIdleConnections_reaches_the_transport(t *testing.T) {
	transport := &idleTransport{stubTransport: newStubTransport(1)}
	client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	client.CloseIdleConnections()
	assert.Equal(t, 1, transport.closed)
}

// idleTransport counts the calls of CloseIdleConnections.
type idleTransport struct {
	*stubTransport
	closed int
}

func (i *idleTransport) CloseIdleConnections() { i.closed++ }
