package cdn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testSource is a source of the default chain that a test configures.
type testSource struct {
	name string
	set  func(t *testing.T)
	want credentials
}

// testSources returns the sources of the default chain in their order, with credentials of their own.
func testSources(i *instance) []testSource {
	soon := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	return []testSource{
		{"environment CLOUD_SDK_AK, CLOUD_SDK_SK", setCloudSDK, credentials{signer: Signer{"AKCLOUD", secretKey, securityToken}}},
		{
			"environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK", setOfficialSDK,
			credentials{signer: Signer{"AKOFFICIAL", secretKey, securityToken}, domainID: "domain"},
		},
		{
			"file ", func(t *testing.T) {
				setProfile(t, "[basic]\nak = other\nsk = other\n[global]\nak = AKFILE\nsk = "+secretKey+"\nsecurity_token = "+securityToken+"\ndomain_id = domain\n")
			},
			credentials{signer: Signer{"AKFILE", secretKey, securityToken}, domainID: "domain"},
		},
		{
			podName, func(t *testing.T) {
				setPod(t)
				i.pod = replying(podJSON("AKPOD", soon))
			},
			credentials{signer: Signer{"AKPOD", secretKey, securityToken}, expires: soon},
		},
		{
			metadataName, func(*testing.T) { i.metadata = replying(metadataJSON("AKMETADATA", soon)) },
			credentials{signer: Signer{"AKMETADATA", secretKey, securityToken}, expires: soon},
		},
	}
}

func setCloudSDK(t *testing.T) {
	t.Helper()
	t.Setenv("CLOUD_SDK_AK", "AKCLOUD")
	t.Setenv("CLOUD_SDK_SK", secretKey)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", securityToken)
}

func setOfficialSDK(t *testing.T) {
	t.Helper()
	t.Setenv("HUAWEICLOUD_SDK_AK", "AKOFFICIAL")
	t.Setenv("HUAWEICLOUD_SDK_SK", secretKey)
	t.Setenv("HUAWEICLOUD_SDK_SECURITY_TOKEN", securityToken)
	t.Setenv("HUAWEICLOUD_SDK_DOMAIN_ID", "domain")
}

func TestChain_first_configured_source_signs(t *testing.T) {
	for n := range testSources(nil) {
		t.Run(testSources(nil)[n].name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			sources := testSources(i)
			// All sources after it are configured too, and none before it.
			for _, source := range sources[n:] {
				source.set(t)
			}
			var log lockedBuffer
			s := newSource(t, logTo(&log))
			for range 2 {
				got, err := s.get(t.Context())
				require.NoError(t, err)
				assertCredentials(t, sources[n].want, got)
			}
			for _, request := range i.seen() {
				assert.False(t, n < 4 && strings.Contains(request, "169.254.169.254"), "a later source got a request: %s", request)
				assert.False(t, n < 3, "a later source got a request: %s", request)
			}
			assert.Equal(t, 1, strings.Count(log.String(), "level=INFO"), log.String())
			assert.Contains(t, log.String(), `source="`+sources[n].name)
			assertNoPartOfASecret(t, log.String())
		})
	}
}

func TestChain_keys_of_an_option_are_not_logged(t *testing.T) {
	official := buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
		return b.WithAk("AK").WithSk(secretKey)
	})
	for _, option := range []Option{WithAKSK("AK", secretKey), WithCredentials(official)} {
		var log lockedBuffer
		requireAccessKey(t, newSource(t, option, logTo(&log)), "AK")
		assert.Empty(t, log.String())
	}
}

func TestChain_id_token_comes_before_the_keys_beside_it(t *testing.T) {
	emptyEnvironment(t)
	iam := newIAM(t)
	setIDToken(t, iam)
	setOfficialSDK(t)
	s := newSource(t, WithHTTPClient(iam.Client()))
	got, err := s.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "AKFEDERAL1", got.signer.AccessKey)
	assert.Equal(t, "domain", got.domainID)
}

func TestChain_token_is_optional_in_the_environment(t *testing.T) {
	for _, prefix := range []string{"CLOUD_SDK", "HUAWEICLOUD_SDK"} {
		t.Run(prefix, func(t *testing.T) {
			emptyEnvironment(t)
			t.Setenv(prefix+"_AK", "AK")
			t.Setenv(prefix+"_SK", secretKey)
			got, err := newSource(t).get(t.Context())
			require.NoError(t, err)
			assertCredentials(t, credentials{signer: Signer{AccessKey: "AK", SecretKey: secretKey}}, got)
		})
	}
}

// Each row configures a source that cannot be used. All later sources have good credentials, which must not sign.
func TestChain_unusable_source_ends_the_search(t *testing.T) {
	env := func(pairs ...string) func(*testing.T) {
		return func(t *testing.T) {
			for n := 0; n < len(pairs); n += 2 {
				t.Setenv(pairs[n], pairs[n+1])
			}
		}
	}
	file := func(content string) func(*testing.T) { return func(t *testing.T) { setProfile(t, content) } }
	const cloud, official = "environment CLOUD_SDK_AK, CLOUD_SDK_SK: ", "environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: "
	const federal = "environment HUAWEICLOUD_SDK_IDP_ID, HUAWEICLOUD_SDK_ID_TOKEN_FILE: "
	tests := map[string]struct {
		set func(*testing.T)
		// source and says are in the error.
		source, says string
	}{
		"CLOUD_SDK_AK only":             {env("CLOUD_SDK_AK", secretKey), cloud, "CLOUD_SDK_SK is not set while CLOUD_SDK_AK is"},
		"CLOUD_SDK_SK only":             {env("CLOUD_SDK_SK", secretKey), cloud, "CLOUD_SDK_AK is not set while CLOUD_SDK_SK is"},
		"CLOUD_SDK_SECURITY_TOKEN only": {env("CLOUD_SDK_SECURITY_TOKEN", securityToken), cloud, "CLOUD_SDK_AK and CLOUD_SDK_SK are not set while CLOUD_SDK_SECURITY_TOKEN is"},
		"HUAWEICLOUD_SDK_AK only":       {env("HUAWEICLOUD_SDK_AK", secretKey), official, "HUAWEICLOUD_SDK_SK is not set"},
		"HUAWEICLOUD_SDK_SK only":       {env("HUAWEICLOUD_SDK_SK", secretKey), official, "HUAWEICLOUD_SDK_AK is not set"},
		"secret key with a line break":  {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", secretKey+"\n"), cloud, "CLOUD_SDK_SK has a character"},
		"secret key with a space":       {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", secretKey[:9]+" "+secretKey[9:]), cloud, "CLOUD_SDK_SK has a character"},
		"secret key in quotes":          {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", `"`+secretKey+`"`), cloud, "CLOUD_SDK_SK has a character"},
		"secret key in single quotes":   {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", "'"+secretKey+"'"), cloud, "CLOUD_SDK_SK has a character"},
		"secret key after a BOM":        {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", "\ufeff"+secretKey), cloud, "CLOUD_SDK_SK has a character"},
		"access key with a line break":  {env("CLOUD_SDK_AK", "AK\n", "CLOUD_SDK_SK", secretKey), cloud, "CLOUD_SDK_AK has a character"},
		"access key of white space":     {env("CLOUD_SDK_AK", " ", "CLOUD_SDK_SK", secretKey), cloud, "CLOUD_SDK_AK has a character"},
		"token with a line break":       {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", secretKey, "CLOUD_SDK_SECURITY_TOKEN", securityToken+"\r\n"), cloud, "CLOUD_SDK_SECURITY_TOKEN has a character"},
		"token of white space":          {env("CLOUD_SDK_AK", "AK", "CLOUD_SDK_SK", secretKey, "CLOUD_SDK_SECURITY_TOKEN", " "), cloud, "CLOUD_SDK_SECURITY_TOKEN has a character"},
		"secret key of the SDK's":       {env("HUAWEICLOUD_SDK_AK", "AK", "HUAWEICLOUD_SDK_SK", secretKey+"\n"), official, "HUAWEICLOUD_SDK_SK has a character"},
		"account id with a line break":  {env("HUAWEICLOUD_SDK_AK", "AK", "HUAWEICLOUD_SDK_SK", secretKey, "HUAWEICLOUD_SDK_DOMAIN_ID", "a\nb"), official, "HUAWEICLOUD_SDK_DOMAIN_ID"},
		"id token without its file":     {env("HUAWEICLOUD_SDK_IDP_ID", "provider"), federal, "HUAWEICLOUD_SDK_ID_TOKEN_FILE is not set while HUAWEICLOUD_SDK_IDP_ID is"},
		"id token without its provider": {env("HUAWEICLOUD_SDK_ID_TOKEN_FILE", "/f"), federal, "HUAWEICLOUD_SDK_IDP_ID is not set while HUAWEICLOUD_SDK_ID_TOKEN_FILE is"},
		"half an id token beside keys": {
			env("HUAWEICLOUD_SDK_IDP_ID", "provider", "HUAWEICLOUD_SDK_AK", "AK", "HUAWEICLOUD_SDK_SK", secretKey), federal, "HUAWEICLOUD_SDK_ID_TOKEN_FILE is not set",
		},
		"id token file missing": {
			env("HUAWEICLOUD_SDK_IDP_ID", "provider", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", "/nowhere/token"), federal, "stat /nowhere/token: ",
		},
		"identity service not a URL": {
			func(t *testing.T) {
				env("HUAWEICLOUD_SDK_IDP_ID", "provider", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", writeIDToken(t), "HUAWEICLOUD_SDK_IAM_ENDPOINT", "http://iam.example.com")(t)
			},
			federal, "identity service: invalid parameter: Endpoint",
		},
		"file without sk":           {file("[global]\nak = AK\n"), "file ", "sk is not set while ak is"},
		"file without ak":           {file("[global]\nsk = " + secretKey + "\n"), "file ", "ak is not set while sk is"},
		"file without keys":         {file("[global]\n"), "file ", "neither ak and sk nor idp_id and id_token_file"},
		"file without [global]":     {file("[basic]\nak = AK\nsk = sk\n"), "file ", "no section [global]"},
		"file with half a token":    {file("[global]\nidp_id = provider\nak = AK\nsk = sk\n"), "file ", "id_token_file is not set while idp_id is"},
		"file without a key's name": {file("[global]\nak = AK\n" + secretKey + "\n"), "file ", "line 3"},
		"file of one line":          {file("[global] " + secretKey), "file ", "line 1"},
		"file with an open section": {file("[global " + secretKey + "\n"), "file ", "line 1"},
		"file of JSON":              {file(`{"ak":"AK","sk":"` + secretKey + `"}`), "file ", "no section [global]"},
		"file with an open quote":   {file("[global]\nak = AK\nsk = `" + secretKey + "\n"), "file ", "line 3"},
		"file with a long string":   {file("[global]\nak = AK\nsk = \"\"\"" + secretKey + "\n\"\"\"\n"), "file ", "line 3"},
		"file with a split value":   {file("[global]\nak = AK\nsk = " + secretKey + "\\\nmore\n"), "file ", "line 3"},
		"file with a space in sk":   {file("[global]\nak = AK\nsk = " + secretKey + " more\n"), "file ", "sk has a character"},
		"file that is not UTF-8":    {file("[global]\nak = AK\nsk = \xff\n"), "file ", "UTF-8"},
		"file missing":              {env(profileVariable, "/nowhere/credentials"), "file /nowhere/credentials: ", "no such file"},
		"file is a folder":          {func(t *testing.T) { t.Setenv(profileVariable, t.TempDir()) }, "file ", "not a regular file"},
		"file larger than 1 MiB":    {func(t *testing.T) { require.NoError(t, os.Truncate(setProfile(t, ""), 1<<30)) }, "file ", "larger than 1048576 bytes"},
		"file of two lines in path": {env(profileVariable, "/nowhere/credentials\n"), "file /nowhere/credentials: ", `the path "/nowhere/credentials\n" has a control character`},
		"HOME not set":              {env("HOME", ""), "file ~/.huaweicloud/credentials: ", "HOME"},
		"default file without sk": {
			func(t *testing.T) {
				writeProfile(t, filepath.Join(os.Getenv("HOME"), ".huaweicloud", "credentials"), "[global]\nak = AK\n")
			},
			"file ~/.huaweicloud/credentials: ", "sk is not set",
		},
		"pod without its token file": {env(podURL, "http://169.254.170.23/"), podName, podTokenFile + " is not set while " + podURL + " is"},
		"pod without its URI":        {env(podTokenFile, "/f"), podName, podURL + " is not set while " + podTokenFile + " is"},
		"pod token file missing":     {env(podURL, "http://169.254.170.23/", podTokenFile, "/nowhere/token"), podName, "stat /nowhere/token: "},
		"pod token file is a folder": {env(podURL, "http://169.254.170.23/", podTokenFile, "/"), podName, "not a regular file"},
		"pod URI with a password":    {env(podURL, "http://user:"+secretKey+"@169.254.170.23/", podTokenFile, "/f"), podName, "user or password"},
		"pod URI of another host":    {env(podURL, "http://agent.example.com/", podTokenFile, "/f"), podName, "https"},
		"pod URI not a URL":          {env(podURL, "169.254.170.23", podTokenFile, "/f"), podName, "not a URL"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			testSources(i)[4].set(t)
			if !strings.HasPrefix(test.source, podName) {
				testSources(i)[3].set(t)
			}
			test.set(t)
			service, requests := emptyListServer(t)
			client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()), quickRetries)
			require.NoError(t, err)
			_, err = client.ListExportTasks(t.Context(), nil)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.NotErrorIs(t, err, ErrNoCredentials, "a source is configured")
			assert.Contains(t, err.Error(), test.source)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
			assertNoPartOfASecret(t, err.Error())
			assert.Empty(t, i.seen(), "no other source may get a request")
			assert.Empty(t, requests())

			// A correction is found at the next call.
			setCloudSDK(t)
			_, err = client.ListExportTasks(t.Context(), nil)
			assert.NoError(t, err)
		})
	}
}

func TestChain_no_source_configured(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	service, requests := emptyListServer(t)
	client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
	require.NoError(t, err, "credentials are searched for at the first call")

	_, err = client.ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, ErrNoCredentials)
	assert.NotErrorIs(t, err, ErrInvalidParameter)
	for _, text := range []string{
		"cdn: ListExportTasks: no credentials found: ",
		"environment CLOUD_SDK_AK, CLOUD_SDK_SK: not set",
		"environment HUAWEICLOUD_SDK_IDP_ID, HUAWEICLOUD_SDK_ID_TOKEN_FILE: not set",
		"environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: not set",
		"file ~/.huaweicloud/credentials: not set: stat ", "no such file or directory",
		"pod identity HC_CONTAINER_CREDENTIALS_FULL_URI: not set",
		"instance metadata 169.254.169.254: not there: status 404 Not Found",
	} {
		assert.Contains(t, err.Error(), text)
	}
	assert.NotContains(t, err.Error(), "\n")
	assert.Empty(t, requests())
}

func TestChain_default_file_of_other_services_is_not_configured(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	writeProfile(t, filepath.Join(os.Getenv("HOME"), ".huaweicloud", "credentials"), "[basic]\nak = other\nsk = other\n")
	testSources(i)[4].set(t)
	requireAccessKey(t, newSource(t), "AKMETADATA")
}

// The home directory of a system user may be no directory.
func TestChain_default_file_below_a_file_is_not_configured(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	t.Setenv("HOME", writeIDToken(t))
	testSources(i)[4].set(t)
	requireAccessKey(t, newSource(t), "AKMETADATA")
}

// docker and Kubernetes set a variable to nothing if its value is missing.
func TestChain_empty_variables_are_not_set(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	for _, name := range environment {
		if name != "HOME" {
			t.Setenv(name, "")
		}
	}
	testSources(i)[3].set(t)
	requireAccessKey(t, newSource(t), "AKPOD")
}

func TestChain_no_metadata_service(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	http.DefaultTransport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}
	_, err := newSource(t).get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	assert.Contains(t, err.Error(), "instance metadata 169.254.169.254: not there: connection refused")

	// A pod agent that cannot be reached is configured.
	setPod(t)
	_, err = newSource(t).get(t.Context())
	assert.NotErrorIs(t, err, ErrNoCredentials)
	assert.EqualError(t, err, "credentials: pod identity HC_CONTAINER_CREDENTIALS_FULL_URI: connection refused")
}

func TestChain_search_begins_with_the_first_call(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	service, requests := emptyListServer(t)
	client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
	require.NoError(t, err)
	require.Empty(t, i.seen())

	// The environment at the first call counts.
	t.Setenv("CLOUD_SDK_AK", "AKLATE")
	t.Setenv("CLOUD_SDK_SK", secretKey)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	// Later changes are ignored.
	t.Setenv("CLOUD_SDK_AK", "AKLATER")
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, requests(), 2)
	for _, request := range requests() {
		assert.NoError(t, Signer{AccessKey: "AKLATE", SecretKey: secretKey}.Verify(request, time.Now()))
	}
}

func TestChain_failed_search_is_repeated(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	s := newSource(t)
	_, err := s.get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	t.Setenv("CLOUD_SDK_AK", "AK")
	t.Setenv("CLOUD_SDK_SK", secretKey)
	requireAccessKey(t, s, "AK")
}

func TestChain_keeps_to_the_source_that_signed(t *testing.T) {
	var opened []string
	open := func(name string, fetch fetchFunc) place {
		return place{name, func() (fetchFunc, error) {
			opened = append(opened, name)
			if fetch == nil {
				return nil, errNotSet
			}
			return fetch, nil
		}}
	}
	found := fixed(credentials{signer: Signer{AccessKey: "AK", SecretKey: secretKey}})
	fetch := searchOnce(func() []place { return []place{open("first", nil), open("second", found), open("third", found)} })
	assert.Empty(t, opened, "nothing is opened before it is needed")
	for range 2 {
		got, err := fetch(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "second", got.source)
		assert.Equal(t, []string{"first", "second"}, opened)
	}
}

// A pod identity is configured on a node with an agency. If the pod agent fails at first, the agency does not sign.
func TestChain_failure_at_start_never_changes_the_identity(t *testing.T) {
	later := time.Now().Add(24 * time.Hour)
	unavailable := replyingStatus(http.StatusServiceUnavailable, "")
	t.Run("pod agent", func(t *testing.T) {
		emptyEnvironment(t)
		i := newInstance(t)
		setPod(t)
		i.metadata = replying(metadataJSON("AKMETADATA", later))
		i.pod = inTurn(unavailable, unavailable, unavailable, unavailable, replying(podJSON("AKPOD", later)))
		s := newSource(t)
		_, err := s.get(t.Context())
		require.EqualError(t, err, "credentials: "+podName+": status 503 Service Unavailable (4 attempts)")
		requireAccessKey(t, s, "AKPOD")
	})
	t.Run("metadata", func(t *testing.T) {
		emptyEnvironment(t)
		i := newInstance(t)
		i.metadata = inTurn(unavailable, unavailable, unavailable, unavailable, replying(metadataJSON("AKMETADATA", later)))
		s := newSource(t)
		_, err := s.get(t.Context())
		require.EqualError(t, err, "credentials: "+metadataName+": status 503 Service Unavailable (4 attempts)")
		assert.NotErrorIs(t, err, ErrNoCredentials)
		requireAccessKey(t, s, "AKMETADATA")
	})
}

// 20 clients that start together fetch at the same time: no client waits for a lock of another.
func TestChain_20_clients_start_together(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	const clients = 20
	var started sync.WaitGroup
	started.Add(clients)
	i.metadata = func(w http.ResponseWriter, _ *http.Request) {
		started.Done()
		started.Wait() // all clients have their request under way
		_, _ = w.Write([]byte(metadataJSON("AK", time.Now().Add(24*time.Hour))))
	}
	service, requests := emptyListServer(t)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
			if !assert.NoError(t, err) {
				return
			}
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					_, err := client.ListExportTasks(t.Context(), nil)
					assert.NoError(t, err)
				})
			}
			calls.Wait()
		})
	}
	group.Wait()
	assert.Len(t, requests(), clients*4)
	assert.Len(t, i.seen(), clients*2, "a token and the keys for each client")
}
