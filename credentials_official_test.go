package cdn

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWithCredentials_refuses_what_cannot_sign(t *testing.T) {
	keys := func(ak, sk, token string) *global.Credentials {
		c := &global.Credentials{}
		c.AK, c.SK, c.SecurityToken = ak, sk, token
		return c
	}
	derived := keys("AK", secretKey, "")
	derived.DerivedPredicate = func(*request.DefaultHttpRequest) bool { return false }
	tests := map[string]struct {
		credentials *global.Credentials
		says        string
	}{
		"nil":                         {nil, "Credentials"},
		"no keys":                     {&global.Credentials{}, "AccessKey"},
		"no access key":               {keys("", secretKey, ""), "AccessKey"},
		"no secret key":               {keys("AK", "", ""), "SecretKey"},
		"secret key with line break":  {keys("AK", secretKey+"\n", ""), "SecretKey"},
		"token with line break":       {keys("AK", secretKey, securityToken+"\n"), "SecurityToken"},
		"derived signing":             {derived, "DerivedPredicate"},
		"id token without its source": {&global.Credentials{DomainId: "domain"}, "AccessKey"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := NewCdnClient(WithCredentials(test.credentials))
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Nil(t, client)
			assert.Contains(t, err.Error(), test.says)
			assertNoPartOfASecret(t, err.Error())
		})
	}
}

func TestWithAKSK_refuses_blank_keys(t *testing.T) {
	for _, keys := range [][2]string{{"", secretKey}, {"AK", ""}, {" ", secretKey}, {"AK", secretKey + "\n"}} {
		_, err := NewCdnClient(WithAKSK(keys[0], keys[1]))
		require.ErrorIs(t, err, ErrInvalidParameter)
		assertNoPartOfASecret(t, err.Error())
	}
}

func TestWithCredentials_account_id_is_sent_if_present(t *testing.T) {
	withKeys := func(b *global.CredentialsBuilder) *global.CredentialsBuilder { return b.WithAk("AK").WithSk(secretKey) }
	tests := map[string]struct {
		option func(t *testing.T) Option
		want   []string
		token  []string
	}{
		"AK/SK": {func(*testing.T) Option { return WithAKSK("AK", secretKey) }, nil, nil},
		"official credentials": {
			func(t *testing.T) Option { return WithCredentials(buildCredentials(t, withKeys)) }, nil, nil,
		},
		"official credentials with an account": {
			func(t *testing.T) Option {
				return WithCredentials(buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
					return withKeys(b).WithDomainId("domain")
				}))
			}, []string{"domain"}, nil,
		},
		"official credentials with a token": {
			func(t *testing.T) Option {
				return WithCredentials(buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
					return withKeys(b).WithSecurityToken(securityToken).WithDomainId("domain")
				}))
			}, []string{"domain"}, []string{securityToken},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			service, requests := emptyListServer(t)
			client, err := NewCdnClient(test.option(t), WithEndpoint(service.URL), WithHTTPClient(service.Client()))
			require.NoError(t, err)
			_, err = client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, requests(), 1)
			assert.Equal(t, test.want, requests()[0].Header.Values("X-Domain-Id"))
			assert.Equal(t, test.token, requests()[0].Header.Values("X-Security-Token"))
			s := Signer{AccessKey: "AK", SecretKey: secretKey}
			if test.token != nil {
				s.SecurityToken = test.token[0]
			}
			assert.NoError(t, s.Verify(requests()[0], time.Now()))
			assert.Equal(t, test.want != nil, strings.Contains(requests()[0].Header.Get("Authorization"), "x-domain-id"))
		})
	}
}

func TestWithCredentials_later_option_counts(t *testing.T) {
	official := buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
		return b.WithAk("AKOFFICIAL").WithSk(secretKey)
	})
	tests := map[string]struct {
		options []Option
		want    string
	}{
		"keys, then credentials": {[]Option{WithAKSK("AKPLAIN", secretKey), WithCredentials(official)}, "AKOFFICIAL"},
		"credentials, then keys": {[]Option{WithCredentials(official), WithAKSK("AKPLAIN", secretKey)}, "AKPLAIN"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			service, requests := emptyListServer(t)
			client, err := NewCdnClient(append(test.options, WithEndpoint(service.URL), WithHTTPClient(service.Client()))...)
			require.NoError(t, err)
			_, err = client.ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			assert.Contains(t, requests()[0].Header.Get("Authorization"), "Access="+test.want+",")
		})
	}
}

func TestWithCredentials_id_token_that_was_exchanged_before(t *testing.T) {
	i := newIAM(t)
	official := federalCredentials(t, i, writeIDToken(t))
	require.NoError(t, official.ProcessSts(impl.NewDefaultHttpClient(config.DefaultHttpConfig().WithHttpRoundTripper(i.Client().Transport))))
	require.Equal(t, "AKFEDERAL1", official.AK)
	client, err := NewCdnClient(WithCredentials(official), WithEndpoint(i.URL), WithHTTPClient(i.Client()))
	require.NoError(t, err)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, i.seen(), 1)
	assert.Contains(t, i.seen()[0].Header.Get("Authorization"), "Access=AKFEDERAL")
	assert.Equal(t, "AKFEDERAL1", official.AK)
}

func TestWithCredentials_two_clients_share_them(t *testing.T) {
	tests := map[string]func(t *testing.T) (official *global.Credentials, endpoint string, client *http.Client){
		"id token": func(t *testing.T) (*global.Credentials, string, *http.Client) {
			i := newIAM(t)
			return federalCredentials(t, i, writeIDToken(t)), i.URL, i.Client()
		},
		"instance metadata": func(t *testing.T) (*global.Credentials, string, *http.Client) {
			i := newInstance(t)
			i.metadata = replying(metadataJSON("AK", time.Now().Add(24*time.Hour)))
			service, _ := emptyListServer(t)
			return buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder { return b }), service.URL, service.Client()
		},
		"permanent keys": func(t *testing.T) (*global.Credentials, string, *http.Client) {
			service, _ := emptyListServer(t)
			return buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
				return b.WithAk("AK").WithSk(secretKey)
			}), service.URL, service.Client()
		},
	}
	for name, setUp := range tests {
		t.Run(name, func(t *testing.T) {
			official, endpoint, httpClient := setUp(t)
			before := *official
			option := WithCredentials(official)
			const clients, calls = 2, 32
			start := make(chan struct{})
			var group sync.WaitGroup
			for range clients {
				client, err := NewCdnClient(option, WithEndpoint(endpoint), WithHTTPClient(httpClient))
				require.NoError(t, err)
				for range calls {
					group.Go(func() {
						<-start
						_, err := client.ListExportTasks(context.Background(), nil)
						assert.NoError(t, err)
					})
				}
			}
			close(start)
			group.Wait()
			assert.True(t, before.AK == official.AK && before.SK == official.SK && before.SecurityToken == official.SecurityToken,
				"the user's credentials must stay as they are")
		})
	}
}

// wrappedAccessor is an accessor of another type than the official SDK's. It is generic because the types of its
// method are internal, so they can be inferred and not named.
type wrappedAccessor[Option, Credential any] struct {
	get func(...Option) (Credential, error)
}

func wrapAccessor[Option, Credential any](get func(...Option) (Credential, error)) *wrappedAccessor[Option, Credential] {
	return &wrappedAccessor[Option, Credential]{get}
}

func (w *wrappedAccessor[Option, Credential]) GetCredential(options ...Option) (Credential, error) {
	return w.get(options...)
}

func TestWithCredentials_refuses_an_accessor_of_another_type(t *testing.T) {
	official := buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder { return b })
	official.StsAccessor = wrapAccessor(official.StsAccessor.GetCredential)
	_, err := NewCdnClient(WithCredentials(official))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.ErrorContains(t, err, "StsAccessor is a *cdn.wrappedAccessor[")
}

func TestWithCredentials_pod_identity_of_the_official_SDK(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	setPod(t)
	i.pod = inTurn(replying(podJSON("AKSDK", time.Now().Add(24*time.Hour))), replyingStatus(503, ""), replying(podJSON("AKPOD", time.Now().Add(24*time.Hour))))
	built, err := provider.GlobalCredentialPodIdentityProvider().GetCredentials()
	require.NoError(t, err)
	official := built.(*global.Credentials)
	official.DomainId = "domain"
	s := newSource(t, WithCredentials(official))
	requireAccessKey(t, s, "AKPOD")
	got := credentialsOf(t, s)
	assert.Equal(t, "domain", got.domainID)
	assert.Equal(t, "WithCredentials, "+podName, got.source)
	assert.Equal(t, "AKSDK", official.AK, "the user's credentials must stay as they are")
	assert.Len(t, i.seen(), 3, "one by the provider, two attempts by the client")

	t.Setenv(podURL, "http://agent.example.com/")
	_, err = newSource(t, WithCredentials(official)).get(t.Context())
	require.ErrorIs(t, err, ErrInvalidParameter, "the token would be sent without encryption")
	assert.Len(t, i.seen(), 3)
}

// The official SDK's accessor of the metadata would follow the redirect with its token.
func TestWithCredentials_metadata_token_stays_on_the_machine(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	i.metadata = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://other.example.com"+podPath, http.StatusFound)
	}
	official := buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder { return b })
	_, err := newSource(t, WithCredentials(official)).get(t.Context())
	require.ErrorContains(t, err, "credentials: WithCredentials, "+metadataName+": status 302")
	assert.NotContains(t, strings.Join(i.seen(), " "), "other.example.com")
}
