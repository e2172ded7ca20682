package cdn

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

func TestAccountIDIsSentOnlyWhereTheCredentialsHaveOne(t *testing.T) {
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

// foreignAccessor returns credentials with an accessor that is none of the official SDK's own.
func foreignAccessor(t *testing.T) (official *global.Credentials, calls *atomic.Int64, use func(func())) {
	t.Helper()
	calls = new(atomic.Int64)
	var hook atomic.Pointer[func()]
	official = buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder { return b.WithDomainId("domain") })
	inner := listenTo(official.StsAccessor.GetCredential)
	official.StsAccessor = wrapAccessor(inner.GetCredential, func() {
		calls.Add(1)
		if f := hook.Load(); f != nil {
			(*f)()
		}
	})
	return official, calls, func(f func()) { hook.Store(&f) }
}

type wrappedAccessor[Option, Credential any] struct {
	get    func(...Option) (Credential, error)
	before func()
}

func wrapAccessor[Option, Credential any](get func(...Option) (Credential, error), before func()) *wrappedAccessor[Option, Credential] {
	return &wrappedAccessor[Option, Credential]{get, before}
}

func (w *wrappedAccessor[Option, Credential]) GetCredential(options ...Option) (Credential, error) {
	w.before()
	return w.get(options...)
}

func TestWithCredentials_foreign_accessor(t *testing.T) {
	later := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	t.Run("signs", func(t *testing.T) {
		i := newInstance(t)
		i.metadata = replying(metadataJSON("AK", later))
		official, calls, _ := foreignAccessor(t)
		got, err := newSource(t, WithCredentials(official)).get(t.Context())
		require.NoError(t, err)
		assertCredentials(t, credentials{signer: Signer{"AK", secretKey, securityToken}, domainID: "domain", expires: later}, got)
		assert.EqualValues(t, 1, calls.Load())
		assert.Empty(t, official.AK, "the user's credentials must stay as they are")
	})
	t.Run("unavailable, retried", func(t *testing.T) {
		i := newInstance(t)
		i.metadata = inTurn(replyingStatus(503, secretKey), replying(metadataJSON("AK", later)))
		official, calls, _ := foreignAccessor(t)
		requireAccessKey(t, newSource(t, WithCredentials(official)), "AK")
		assert.EqualValues(t, 2, calls.Load())
	})
	t.Run("unreadable, not quoted", func(t *testing.T) {
		i := newInstance(t)
		i.metadata = replying(`{"credential":{"access":"AK","secret":"` + secretKey)
		official, calls, _ := foreignAccessor(t)
		_, err := newSource(t, WithCredentials(official)).get(t.Context())
		require.EqualError(t, err, "fetch credentials: WithCredentials: the response cannot be read as credentials")
		assert.EqualValues(t, 1, calls.Load())
	})
	t.Run("refused, not quoted", func(t *testing.T) {
		i := newInstance(t)
		i.metadata = replyingStatus(403, `{"error_code":"X.1","error_msg":"`+secretKey+`"}`)
		official, _, _ := foreignAccessor(t)
		_, err := newSource(t, WithCredentials(official)).get(t.Context())
		require.EqualError(t, err, "fetch credentials: WithCredentials: status 403 Forbidden")
	})
	t.Run("panics", func(t *testing.T) {
		newInstance(t)
		official, _, use := foreignAccessor(t)
		use(func() { panic(secretKey) })
		_, err := newSource(t, WithCredentials(official)).get(t.Context())
		require.EqualError(t, err, "fetch credentials: WithCredentials: the response cannot be read as credentials")
	})
	t.Run("hangs, the attempt ends", func(t *testing.T) {
		i := newInstance(t)
		i.metadata = replying(metadataJSON("AK", later))
		official, calls, use := foreignAccessor(t)
		release := make(chan struct{})
		use(func() { <-release })
		policy := WithRetryPolicy(RetryPolicy{MaxAttempts: 2, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond, AttemptTimeout: 50 * time.Millisecond})
		_, err := newSource(t, WithCredentials(official), policy).get(t.Context())
		require.ErrorContains(t, err, "no response within the 50ms of one attempt")
		assert.EqualValues(t, 1, calls.Load(), "an accessor that hangs is not called beside")
		close(release)
		requireAccessKey(t, newSource(t, WithCredentials(official)), "AK")
	})
}

// An accessor knows no locks, so its calls never overlap; another accessor's calls do not wait for them.
func TestWithCredentials_one_lock_for_each_accessor(t *testing.T) {
	i := newInstance(t)
	i.metadata = replying(metadataJSON("AK", time.Now().Add(24*time.Hour)))
	shared, calls, use := foreignAccessor(t)
	var inside atomic.Int64
	use(func() {
		assert.EqualValues(t, 1, inside.Add(1), "two calls of one accessor overlap")
		defer inside.Add(-1)
		// While this accessor is in use, another one is free.
		other, _, _ := foreignAccessor(t)
		_, err := newSource(t, WithCredentials(other)).get(t.Context())
		assert.NoError(t, err)
	})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			got, err := newSource(t, WithCredentials(shared)).get(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, "AK", got.signer.AccessKey)
		})
	}
	group.Wait()
	assert.EqualValues(t, 20, calls.Load())
	assert.Empty(t, accessors.inUse, "no accessor may be kept")
}

func TestWithCredentials_pod_identity_of_the_official_SDK(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	setPod(t)
	i.pod = replying(podJSON("AKPOD", time.Now().Add(24*time.Hour)))
	built, err := provider.GlobalCredentialPodIdentityProvider().GetCredentials()
	require.NoError(t, err)
	s := newSource(t, WithCredentials(built.(*global.Credentials)))
	requireAccessKey(t, s, "AKPOD")
	requireAccessKey(t, s, "AKPOD")
	assert.Len(t, i.seen(), 2, "one by the provider, one by the client")
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
	require.ErrorContains(t, err, "fetch credentials: WithCredentials, "+metadataName+": status 302")
	assert.NotContains(t, strings.Join(i.seen(), " "), "other.example.com")
}
