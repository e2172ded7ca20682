package cdn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	secretKey     = "0sEcReTkEy0123456789"
	securityToken = "0sEcUrItYtOkEn0123456789=="
	idToken       = "0iDtOkEn0123456789"
)

// emptyEnvironment leaves no place with credentials.
func emptyEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range environment {
		if !strings.Contains(name, "REGION") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// instance is what answers on the two link-local addresses of a machine in the cloud: the metadata
// service and the pod identity's. It is a loopback server, to which all of http.DefaultTransport's
// connections lead while the test runs.
type instance struct {
	mu sync.Mutex
	// metadata and pod are the answers; a nil one is a 404.
	metadata, pod http.HandlerFunc
	requests      []string
}

const (
	metadataKeyPath = "/openstack/latest/securitykey"
	podPath         = "/v1/credentials"
)

func newInstance(t *testing.T) *instance {
	t.Helper()
	i := &instance{}
	server := httptest.NewServer(i)
	before := http.DefaultTransport
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	http.DefaultTransport = transport
	t.Cleanup(func() {
		http.DefaultTransport = before
		transport.CloseIdleConnections()
		server.Close()
	})
	return i
}

func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests = append(i.requests, r.Method+" "+r.Host+r.URL.Path)
	metadata, pod := i.metadata, i.pod
	i.mu.Unlock()
	switch {
	case r.URL.Path == "/meta-data/latest/api/token" && metadata != nil:
		_, _ = io.WriteString(w, "metadata-token")
	case r.URL.Path == metadataKeyPath && metadata != nil && r.Header.Get("X-Metadata-Token") == "metadata-token":
		metadata(w, r)
	case r.URL.Path == podPath && pod != nil && r.Header.Get("Authorization") == idToken:
		pod(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *instance) seen() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// setPod has the environment say where the pod identity is.
func setPod(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(idToken+"\n"), 0o600))
	t.Setenv("HC_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23"+podPath)
	t.Setenv("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
}

func replying(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func metadataJSON(accessKey string, expires time.Time) string {
	return fmt.Sprintf(`{"credential":{"access":%q,"secret":%q,"securitytoken":%q,"expires_at":%q}}`,
		accessKey, secretKey, securityToken, expires.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

func podJSON(accessKey string, expires time.Time) string {
	return fmt.Sprintf(`{"credentials":{"accessKeyId":%q,"secretAccessKey":%q,"securityToken":%q,"expiration":%q}}`,
		accessKey, secretKey, securityToken, expires.UTC().Format(time.RFC3339))
}

func writeCredentialsFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// testPlaces fills each of the default places, in their order, with credentials of its own.
func testPlaces(i *instance) []struct {
	name string
	fill func(t *testing.T)
	want credentials
} {
	soon := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	return []struct {
		name string
		fill func(t *testing.T)
		want credentials
	}{
		{
			name: "environment CLOUD_SDK_AK, CLOUD_SDK_SK",
			fill: func(t *testing.T) {
				t.Setenv("CLOUD_SDK_AK", "AKCLOUD")
				t.Setenv("CLOUD_SDK_SK", secretKey)
				t.Setenv("CLOUD_SDK_SECURITY_TOKEN", securityToken)
			},
			want: credentials{signer: Signer{"AKCLOUD", secretKey, securityToken}},
		},
		{
			name: "environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK",
			fill: func(t *testing.T) {
				t.Setenv("HUAWEICLOUD_SDK_AK", "AKOFFICIAL")
				t.Setenv("HUAWEICLOUD_SDK_SK", secretKey)
				t.Setenv("HUAWEICLOUD_SDK_SECURITY_TOKEN", securityToken)
				t.Setenv("HUAWEICLOUD_SDK_DOMAIN_ID", "domain")
			},
			want: credentials{signer: Signer{"AKOFFICIAL", secretKey, securityToken}, domainID: "domain"},
		},
		{
			name: "file",
			fill: func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "my credentials")
				t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", path)
				writeCredentialsFile(t, path, "[basic]\nak = other\nsk = other\n[global]\nak = AKFILE\nsk = "+secretKey+"\nsecurity_token = "+securityToken+"\ndomain_id = domain\n")
			},
			want: credentials{signer: Signer{"AKFILE", secretKey, securityToken}, domainID: "domain"},
		},
		{
			name: "instance metadata",
			fill: func(t *testing.T) { i.metadata = replying(metadataJSON("AKMETADATA", soon)) },
			want: credentials{signer: Signer{"AKMETADATA", secretKey, securityToken}, expires: soon},
		},
		{
			name: "pod identity",
			fill: func(t *testing.T) {
				setPod(t)
				i.pod = replying(podJSON("AKPOD", soon))
			},
			want: credentials{signer: Signer{"AKPOD", secretKey, securityToken}, expires: soon},
		},
	}
}

func newDefaultSource() *credentialSource {
	return defaultSource(defaultPlaces(), http.DefaultTransport, slog.New(slog.DiscardHandler))
}

func assertCredentials(t *testing.T, want, got credentials) {
	t.Helper()
	// Not compared as a whole, lest a failure print the secrets of a real place.
	assert.Equal(t, want.signer.AccessKey, got.signer.AccessKey)
	assert.True(t, want.signer == got.signer, "the secrets differ")
	assert.Equal(t, want.domainID, got.domainID)
	assert.True(t, want.expires.Equal(got.expires), "%v, not %v", got.expires, want.expires)
}

func TestCredentialsComeFromTheFirstPlaceThatHasSome(t *testing.T) {
	for n := range testPlaces(nil) {
		t.Run(testPlaces(nil)[n].name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			places := testPlaces(i)
			// All places after it have credentials too, and none before it.
			for _, place := range places[n:] {
				place.fill(t)
			}
			source := newDefaultSource()
			for range 2 {
				got, err := source.get(t.Context())
				require.NoError(t, err)
				assertCredentials(t, places[n].want, got)
			}
			for _, request := range i.seen() {
				assert.False(t, n < 3 && strings.Contains(request, "169.254"), "a place was asked that comes later: %s", request)
				assert.False(t, n < 4 && strings.Contains(request, podPath), "a place was asked that comes later: %s", request)
			}
		})
	}
}

func TestCredentialsFileIsFoundInTheHomeDirectory(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	writeCredentialsFile(t, filepath.Join(os.Getenv("HOME"), ".huaweicloud", "credentials"), "[global]\nak = AKHOME\nsk = "+secretKey+"\n")
	got, err := newDefaultSource().get(t.Context())
	require.NoError(t, err)
	assertCredentials(t, credentials{signer: Signer{AccessKey: "AKHOME", SecretKey: secretKey}}, got)
}

func TestTokenIsOptionalInTheEnvironment(t *testing.T) {
	for _, prefix := range []string{"CLOUD_SDK", "HUAWEICLOUD_SDK"} {
		t.Run(prefix, func(t *testing.T) {
			emptyEnvironment(t)
			t.Setenv(prefix+"_AK", "AK")
			t.Setenv(prefix+"_SK", secretKey)
			got, err := newDefaultSource().get(t.Context())
			require.NoError(t, err)
			assertCredentials(t, credentials{signer: Signer{AccessKey: "AK", SecretKey: secretKey}}, got)
		})
	}
}

func TestHalfAPairIsAnErrorThatNoOtherPlaceHides(t *testing.T) {
	tests := map[string]struct {
		set, missing string
		// also is set too, to no avail.
		also string
	}{
		"CLOUD_SDK_AK only":       {set: "CLOUD_SDK_AK", missing: "CLOUD_SDK_SK is not set"},
		"CLOUD_SDK_SK only":       {set: "CLOUD_SDK_SK", missing: "CLOUD_SDK_AK is not set"},
		"HUAWEICLOUD_SDK_AK only": {set: "HUAWEICLOUD_SDK_AK", missing: "HUAWEICLOUD_SDK_SK is not set"},
		"HUAWEICLOUD_SDK_SK only": {set: "HUAWEICLOUD_SDK_SK", missing: "HUAWEICLOUD_SDK_AK is not set"},
		"half of an id token's pair beside": {
			set: "HUAWEICLOUD_SDK_AK", missing: "HUAWEICLOUD_SDK_SK is not set", also: "HUAWEICLOUD_SDK_IDP_ID",
		},
		"the other half beside": {
			set: "HUAWEICLOUD_SDK_SK", missing: "HUAWEICLOUD_SDK_AK is not set", also: "HUAWEICLOUD_SDK_ID_TOKEN_FILE",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			for _, place := range testPlaces(i)[2:] {
				place.fill(t)
			}
			t.Setenv(test.set, secretKey)
			if test.also != "" {
				t.Setenv(test.also, "something")
			}
			_, err := newDefaultSource().get(t.Context())
			require.ErrorIs(t, err, ErrNoCredentials)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), test.missing)
			assert.NotContains(t, err.Error(), secretKey)
			assert.Empty(t, i.seen())
		})
	}
}

func TestIdTokenInTheEnvironmentNeedsNoKeys(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	iam := newIAM(t)
	t.Setenv("HUAWEICLOUD_SDK_IDP_ID", "provider")
	t.Setenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE", writeIDToken(t))
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", iam.URL)
	t.Setenv("HUAWEICLOUD_SDK_AK", "half a pair, not used beside an id token")
	source := defaultSource(defaultPlaces(), iam.Client().Transport, slog.New(slog.DiscardHandler))
	got, err := source.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "AKFEDERAL1", got.signer.AccessKey)
}

// An identity service that is down must not have a program go on as somebody else.
func TestIDTokenThatCannotBeExchangedIsAnErrorThatNoOtherPlaceHides(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	iam := newIAM(t)
	iam.token = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	t.Setenv("HUAWEICLOUD_SDK_IDP_ID", "provider")
	t.Setenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE", writeIDToken(t))
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", iam.URL)
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[global]\nak = SOMEBODYELSE\nsk = sk\n"), 0o600))
	t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", file)
	source := defaultSource(defaultPlaces(), iam.Client().Transport, slog.New(slog.DiscardHandler))
	_, err := source.get(t.Context())
	require.ErrorContains(t, err, "environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: exchange the id token for credentials: status 503")
	assert.NotErrorIs(t, err, ErrNoCredentials)

	iam.token = nil // it is back
	got, err := source.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "AKFEDERAL1", got.signer.AccessKey)
}

func TestErrNoCredentialsNamesEveryPlace(t *testing.T) {
	tests := map[string]struct {
		file string
		want string
	}{
		"default file":         {"", "file ~/.huaweicloud/credentials: "},
		"file of the variable": {"/nowhere/my-credentials", "file /nowhere/my-credentials: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			newInstance(t)
			t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", test.file)
			service, requests := emptyListServer(t)
			client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
			require.NoError(t, err, "credentials are looked for at the first call")

			_, err = client.ListExportTasks(t.Context(), nil)
			require.ErrorIs(t, err, ErrNoCredentials)
			assert.NotErrorIs(t, err, ErrInvalidParameter)
			for _, place := range []string{
				"ListExportTasks",
				"environment CLOUD_SDK_AK, CLOUD_SDK_SK: not set",
				"environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: not set",
				test.want, "no such file or directory",
				"instance metadata 169.254.169.254: fetch temporary credentials: status 404",
				"pod identity HC_CONTAINER_CREDENTIALS_FULL_URI: not set",
			} {
				assert.Contains(t, err.Error(), place)
			}
			assert.NotContains(t, err.Error(), "\n")
			assert.Empty(t, requests())
		})
	}
}

func TestNothingIsLookedForBeforeTheFirstCall(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	service, requests := emptyListServer(t)
	client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
	require.NoError(t, err)
	require.Empty(t, i.seen())

	// What the environment holds at the first call counts.
	t.Setenv("CLOUD_SDK_AK", "AKLATE")
	t.Setenv("CLOUD_SDK_SK", secretKey)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	// And is kept from then on.
	t.Setenv("CLOUD_SDK_AK", "AKLATER")
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, requests(), 2)
	for _, request := range requests() {
		assert.NoError(t, Signer{AccessKey: "AKLATE", SecretKey: secretKey}.Verify(request, time.Now()))
	}
}

func TestASearchThatFailedIsDoneAgainAtTheNextCall(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	source := newDefaultSource()
	_, err := source.get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	t.Setenv("CLOUD_SDK_AK", "AK")
	t.Setenv("CLOUD_SDK_SK", secretKey)
	_, err = source.get(t.Context())
	require.NoError(t, err)
}

func TestKeysWithALineBreakNameThePlaceTheyAreFrom(t *testing.T) {
	later := time.Now().Add(24 * time.Hour)
	tests := map[string]struct {
		fill         func(t *testing.T, i *instance)
		place, field string
	}{
		"CLOUD_SDK_SK": {
			func(t *testing.T, _ *instance) {
				t.Setenv("CLOUD_SDK_AK", "AK")
				t.Setenv("CLOUD_SDK_SK", secretKey+"\n")
			},
			"environment CLOUD_SDK_AK", "SecretKey",
		},
		"CLOUD_SDK_AK": {
			func(t *testing.T, _ *instance) { t.Setenv("CLOUD_SDK_AK", "AK\n"); t.Setenv("CLOUD_SDK_SK", secretKey) },
			"environment CLOUD_SDK_AK", "AccessKey",
		},
		"CLOUD_SDK_SECURITY_TOKEN": {
			func(t *testing.T, _ *instance) {
				t.Setenv("CLOUD_SDK_AK", "AK")
				t.Setenv("CLOUD_SDK_SK", secretKey)
				t.Setenv("CLOUD_SDK_SECURITY_TOKEN", securityToken+"\r\n")
			},
			"environment CLOUD_SDK_AK", "SecurityToken",
		},
		"HUAWEICLOUD_SDK_SK": {
			func(t *testing.T, _ *instance) {
				t.Setenv("HUAWEICLOUD_SDK_AK", "AK")
				t.Setenv("HUAWEICLOUD_SDK_SK", secretKey+"\n")
			},
			"environment HUAWEICLOUD_SDK_AK", "SecretKey",
		},
		"file": {
			func(t *testing.T, _ *instance) {
				path := filepath.Join(t.TempDir(), "credentials")
				t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", path)
				writeCredentialsFile(t, path, "[global]\nak = AK\nsk = \"\"\""+secretKey+"\n\"\"\"\n")
			},
			"file ", "SecretKey",
		},
		"metadata": {
			func(t *testing.T, i *instance) {
				i.metadata = replying(strings.Replace(metadataJSON("AK", later), secretKey, secretKey+`\n`, 1))
			},
			"instance metadata", "SecretKey",
		},
		"pod identity": {
			func(t *testing.T, i *instance) {
				setPod(t)
				i.pod = replying(strings.Replace(podJSON("AK", later), securityToken, securityToken+`\n`, 1))
			},
			"pod identity", "SecurityToken",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			test.fill(t, newInstance(t))
			_, err := newDefaultSource().get(t.Context())
			require.ErrorIs(t, err, ErrNoCredentials)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), test.place)
			assert.Contains(t, err.Error(), test.field)
			assertNoPartOfASecret(t, err.Error())
		})
	}
}

// assertNoPartOfASecret finds a secret also where only its beginning or end is shown.
func assertNoPartOfASecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{secretKey, securityToken, idToken} {
		for from := 0; from+6 <= len(secret); from++ {
			// The digits alone may be in any text.
			if part := secret[from : from+6]; strings.ContainsAny(part, "sEcReTkYUrItOiD") {
				assert.NotContains(t, text, part)
			}
		}
	}
}

func TestWhatCannotBeReadIsNotQuoted(t *testing.T) {
	later := time.Now().Add(24 * time.Hour)
	file := func(content string) func(*testing.T, *instance) {
		return func(t *testing.T, _ *instance) {
			path := filepath.Join(t.TempDir(), "credentials")
			t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", path)
			writeCredentialsFile(t, path, content)
		}
	}
	metadata := func(body string) func(*testing.T, *instance) {
		return func(_ *testing.T, i *instance) { i.metadata = replying(body) }
	}
	pod := func(body string) func(*testing.T, *instance) {
		return func(t *testing.T, i *instance) {
			setPod(t)
			i.pod = replying(body)
		}
	}
	cut := func(body, after string) string { return body[:strings.Index(body, after)+len(after)/2] }
	tests := map[string]struct {
		fill  func(*testing.T, *instance)
		place string
	}{
		"file without a key's name":            {file("[global]\nak = AK\n" + secretKey + "\n"), "file "},
		"file with a colon for a line break":   {file(secretKey), "file "},
		"file with an open section":            {file("[global " + secretKey + "\n"), "file "},
		"file of JSON":                         {file(`{"ak":"AK","sk":"` + secretKey + `"}`), "file "},
		"file with an open quote":              {file("[global]\nak = AK\nsk = `" + secretKey + "\n"), "file "},
		"file with the secret key only":        {file("[global]\nsk = " + secretKey + "\n"), "file "},
		"metadata cut in the secret key":       {metadata(cut(metadataJSON("AK", later), secretKey)), "instance metadata"},
		"metadata cut in the token":            {metadata(cut(metadataJSON("AK", later), securityToken)), "instance metadata"},
		"metadata with a bad escape":           {metadata(strings.Replace(metadataJSON("AK", later), secretKey, `\q`+secretKey, 1)), "instance metadata"},
		"metadata with a number":               {metadata(strings.Replace(metadataJSON("AK", later), `"AK"`, `1`, 1)), "instance metadata"},
		"metadata with a bad date":             {metadata(strings.Replace(metadataJSON("AK", later), `"expires_at":"`, `"expires_at":"`+secretKey, 1)), "instance metadata"},
		"metadata without a date":              {metadata(strings.Replace(metadataJSON("AK", later), `expires_at`, `expires`, 1)), "instance metadata"},
		"metadata that is empty":               {metadata(``), "instance metadata"},
		"metadata that is an empty object":     {metadata(`{}`), "instance metadata"},
		"metadata of null":                     {metadata(`{"credential":null}`), "instance metadata"},
		"metadata of HTML":                     {metadata(`<html>` + secretKey), "instance metadata"},
		"pod identity cut in the secret key":   {pod(cut(podJSON("AK", later), secretKey)), "pod identity"},
		"pod identity cut in the token":        {pod(cut(podJSON("AK", later), securityToken)), "pod identity"},
		"pod identity that is empty":           {pod(``), "pod identity"},
		"pod identity that is an empty object": {pod(`{}`), "pod identity"},
		"pod identity of null":                 {pod(`{"credentials":null}`), "pod identity"},
		"pod identity of HTML":                 {pod(`<html>` + secretKey), "pod identity"},
		"pod identity refused, with an echo": {
			func(t *testing.T, i *instance) {
				setPod(t)
				i.pod = func(w http.ResponseWriter, r *http.Request) {
					http.Error(w, r.Header.Get("Authorization"), http.StatusForbidden)
				}
			},
			"pod identity",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			test.fill(t, i)
			_, err := newDefaultSource().get(t.Context())
			require.ErrorIs(t, err, ErrNoCredentials)
			assert.Contains(t, err.Error(), test.place)
			assertNoPartOfASecret(t, err.Error())

			// What is broken now and mended later is found later.
			for _, place := range testPlaces(i)[2:] {
				place.fill(t)
			}
			_, err = newDefaultSource().get(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestPlaceThatCannotBeReachedIsNamedWithItsError(t *testing.T) {
	emptyEnvironment(t)
	newInstance(t)
	refusing := errors.New("connection refused")
	http.DefaultTransport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refusing }
	setPod(t)
	_, err := newDefaultSource().get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	assert.Equal(t, 2, strings.Count(err.Error(), "connection refused"), err)

	t.Setenv("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/token")
	_, err = newDefaultSource().get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	assert.Contains(t, err.Error(), "/nowhere/token")

	t.Setenv("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
	_, err = newDefaultSource().get(t.Context())
	require.ErrorIs(t, err, ErrNoCredentials)
	assert.Contains(t, err.Error(), "pod identity HC_CONTAINER_CREDENTIALS_FULL_URI: not set")
}

func TestWithCredentialsRefusesWhatCannotSign(t *testing.T) {
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

func TestWithAKSKRefusesBlankKeys(t *testing.T) {
	for _, keys := range [][2]string{{"", secretKey}, {"AK", ""}, {" ", secretKey}, {"AK", secretKey + "\n"}} {
		_, err := NewCdnClient(WithAKSK(keys[0], keys[1]))
		require.ErrorIs(t, err, ErrInvalidParameter)
		assertNoPartOfASecret(t, err.Error())
	}
}

// buildCredentials is what the official SDK's users build.
func buildCredentials(t *testing.T, build func(*global.CredentialsBuilder) *global.CredentialsBuilder) *global.Credentials {
	t.Helper()
	c, err := build(global.NewCredentialsBuilder()).SafeBuild()
	require.NoError(t, err)
	return c
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

func TestTheLaterOfTwoOptionsWithKeysCounts(t *testing.T) {
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

// iam is an identity service that exchanges an id token for temporary credentials, and the service
// that these are for.
type iam struct {
	*httptest.Server
	exchanges atomic.Int64
	// token and keys answer in place of the good answers where they are set.
	token, keys http.HandlerFunc
	mu          sync.Mutex
	calls       []*http.Request
}

func newIAM(t *testing.T) *iam {
	t.Helper()
	i := &iam{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3.0/OS-AUTH/id-token/tokens", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Auth struct {
				IDToken struct{ ID string } `json:"id_token"`
			}
		}
		err := json.NewDecoder(r.Body).Decode(&body)
		switch {
		case i.token != nil:
			i.token(w, r)
		case err != nil || body.Auth.IDToken.ID != idToken || r.Header.Get("X-Idp-Id") != "provider":
			http.Error(w, "bad request", http.StatusBadRequest)
		default:
			w.Header().Set("X-Request-Id", "request")
			w.Header().Set("X-Subject-Token", "subject-token")
			_, _ = io.WriteString(w, `{"token":{"expires_at":"2030-01-01T00:00:00.000000Z","methods":["mapped"]}}`)
		}
	})
	mux.HandleFunc("POST /v3.0/OS-CREDENTIAL/securitytokens", func(w http.ResponseWriter, r *http.Request) {
		if i.keys != nil {
			i.keys(w, r)
			return
		}
		n := i.exchanges.Add(1)
		_, _ = io.WriteString(w, metadataJSON(fmt.Sprintf("AKFEDERAL%d", n), time.Now().Add(6*time.Hour)))
	})
	mux.HandleFunc("GET /v1/cdn/statistics/export-tasks", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.calls = append(i.calls, r)
		i.mu.Unlock()
		_, _ = io.WriteString(w, `{"total":0,"data":[]}`)
	})
	i.Server = httptest.NewUnstartedServer(mux)
	// A client that does not trust the certificate is expected, and its complaint no news.
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func (i *iam) seen() []*http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

func writeIDToken(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id-token")
	require.NoError(t, os.WriteFile(file, []byte(idToken+"\n"), 0o600))
	return file
}

func federalCredentials(t *testing.T, i *iam, file string) *global.Credentials {
	return buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
		return b.WithIdpId("provider").WithIdTokenFile(file).WithIamEndpointOverride(i.URL).WithDomainId("domain")
	})
}

func TestIDTokenIsExchangedForCredentialsOnceForAllCalls(t *testing.T) {
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

func TestIDTokenThatTheOfficialSDKHasExchangedAlreadyIsOfUse(t *testing.T) {
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

func TestCredentialsOfAnIDTokenEnd(t *testing.T) {
	for _, life := range []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			i := newIAM(t)
			end := time.Now().Add(life).Truncate(time.Second)
			i.keys = replying(metadataJSON("AK", end))
			s := officialSource(federalCredentials(t, i, writeIDToken(t)), i.Client().Transport, slog.New(slog.DiscardHandler))
			got, err := s.get(t.Context())
			require.NoError(t, err)
			assert.True(t, got.expires.After(time.Now()), "%v", got.expires)
			assert.False(t, got.expires.After(end), "%v is after the end, %v", got.expires, end)
		})
	}
}

func TestFailedExchangeOfAnIDTokenIsExplained(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, i *iam, official *global.Credentials, client *http.Client)
		says  string
		check func(t *testing.T, err error)
		// mends is whether the fault is the identity service's and can end.
		mends bool
	}{
		"refused": {
			mends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) {
				i.token = func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusUnauthorized)
					_, _ = io.WriteString(w, `{"error_code":"IAM.0001","error_msg":"unknown provider"}`)
				}
			},
			says: "status 401 IAM.0001: unknown provider",
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
			says: "file content is empty",
		},
		"certificate not trusted": {
			spoil: func(_ *testing.T, _ *iam, _ *global.Credentials, client *http.Client) {
				client.Transport = &http.Transport{DisableKeepAlives: true}
			},
			says: "certificate",
		},
		"keys cut short": {
			mends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) {
				body := metadataJSON("AK", time.Now())
				i.keys = replying(body[:strings.Index(body, secretKey)+10])
			},
			says: "cannot be read as credentials",
		},
		"keys of an empty object": {
			mends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) { i.keys = replying(`{}`) },
			says:  "cannot be read as credentials",
		},
		"token of an empty object": {
			mends: true,
			spoil: func(_ *testing.T, i *iam, _ *global.Credentials, _ *http.Client) { i.token = replying(`{}`) },
			says:  "cannot be read as credentials",
		},
		"keys with a line break": {
			mends: true,
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
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.says)
			assertNoPartOfASecret(t, err.Error())
			if test.check != nil {
				test.check(t, err)
			}
			assert.Empty(t, i.seen(), "nothing may be sent to the service without credentials")

			i.token, i.keys = nil, nil
			_, err = client.ListExportTasks(t.Context(), nil)
			assert.Equal(t, test.mends, err == nil, "a fault that is gone is forgotten, another one stays: %v", err)
		})
	}
}

func TestTwoClientsShareTheCredentialsThatTheyWereGiven(t *testing.T) {
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

// fakeFetch is a fetch of credentials that a test controls.
type fakeFetch struct {
	calls atomic.Int64
	// gate holds a fetch until the test lets it go; nil holds none.
	gate chan struct{}
	// life is how long what is fetched is good; 0 is for ever.
	life time.Duration
	err  atomic.Pointer[error]
}

func (f *fakeFetch) fetch() (credentials, error) {
	n := f.calls.Add(1)
	if f.gate != nil {
		<-f.gate
	}
	if err := f.err.Load(); err != nil {
		return credentials{}, *err
	}
	c := credentials{signer: Signer{AccessKey: fmt.Sprintf("AK%d", n), SecretKey: secretKey, SecurityToken: securityToken}}
	if f.life != 0 {
		c.expires = time.Now().Add(f.life)
	}
	return c, nil
}

func (f *fakeFetch) fail(err error) { f.err.Store(&err) }

func newFakeSource(f *fakeFetch, log io.Writer) *credentialSource {
	return &credentialSource{fetch: f.fetch, now: time.Now, logger: slog.New(slog.NewTextHandler(log, nil))}
}

// requireAccessKey checks which fetch the credentials at hand are from.
func requireAccessKey(t *testing.T, s *credentialSource, want string) {
	t.Helper()
	got, err := s.get(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got.signer.AccessKey)
}

func TestOneFetchServesAllCallersThatWait(t *testing.T) {
	for name, life := range map[string]time.Duration{"permanent": 0, "temporary": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetch{gate: make(chan struct{}), life: life}
				s := newFakeSource(f, io.Discard)
				const callers = 64
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						got, err := s.get(t.Context())
						assert.NoError(t, err)
						assert.Equal(t, "AK1", got.signer.AccessKey)
					})
				}
				synctest.Wait()
				assert.EqualValues(t, 1, f.calls.Load())
				close(f.gate)
				group.Wait()
				requireAccessKey(t, s, "AK1")
				assert.EqualValues(t, 1, f.calls.Load())
			})
		})
	}
}

func TestAFetchThatHasJustEndedServesWhoeverCameTooLateToJoinIt(t *testing.T) {
	for name, life := range map[string]time.Duration{"permanent": 0, "temporary": time.Hour} {
		t.Run(name, func(t *testing.T) {
			f := &fakeFetch{life: life}
			s := newFakeSource(f, io.Discard)
			// Two callers found nothing at hand; the first one's fetch is over when the second one waits.
			for range 2 {
				got, err := s.wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "AK1", got.signer.AccessKey)
			}
			assert.EqualValues(t, 1, f.calls.Load())
		})
	}
}

func TestACallerLeavesWhenItsContextEndsAndTheFetchGoesOn(t *testing.T) {
	why := errors.New("the user has left")
	tests := map[string]struct {
		ctx  func(context.Context) (context.Context, func())
		want error
	}{
		"cancelled": {
			func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) }, context.Canceled,
		},
		"cancelled for a reason": {
			func(ctx context.Context) (context.Context, func()) {
				ctx, cancel := context.WithCancelCause(ctx)
				return ctx, func() { cancel(why) }
			}, why,
		},
		"deadline": {
			func(ctx context.Context) (context.Context, func()) {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				return ctx, func() { time.Sleep(time.Minute + time.Second); cancel() }
			}, context.DeadlineExceeded,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetch{gate: make(chan struct{})}
				s := newFakeSource(f, io.Discard)
				ctx, end := test.ctx(t.Context())
				left, served := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := s.get(ctx)
					left <- err
				}()
				synctest.Wait()
				go func() {
					_, err := s.get(t.Context())
					served <- err
				}()
				synctest.Wait()

				end()
				require.ErrorIs(t, <-left, test.want)
				select {
				case err := <-served:
					require.Fail(t, "the other caller must go on waiting", "%v", err)
				default:
				}
				close(f.gate)
				require.NoError(t, <-served)
				assert.EqualValues(t, 1, f.calls.Load())
				requireAccessKey(t, s, "AK1")
			})
		})
	}
}

func TestAFailedFetchIsTheErrorOfAllWhoWaitedAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no metadata")
		f := &fakeFetch{gate: make(chan struct{}), life: time.Hour}
		f.fail(broken)
		s := newFakeSource(f, io.Discard)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := s.get(t.Context())
				assert.ErrorIs(t, err, broken)
			})
		}
		synctest.Wait()
		close(f.gate)
		group.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
		f.err.Store(nil)
		requireAccessKey(t, s, "AK2")
	})
}

func TestPermanentCredentialsAreFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{}
		s := newFakeSource(f, io.Discard)
		for range 3 {
			requireAccessKey(t, s, "AK1")
			time.Sleep(1000 * time.Hour)
		}
		synctest.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
	})
}

func TestTemporaryCredentialsAreRefreshedAheadOfTheirEndAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")
		f.gate = make(chan struct{})

		time.Sleep(50 * time.Minute)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		assert.EqualValues(t, 1, f.calls.Load(), "ten minutes before the end it is not yet time")

		time.Sleep(time.Second)
		for range 5 {
			requireAccessKey(t, s, "AK1")
			synctest.Wait()
			assert.EqualValues(t, 2, f.calls.Load(), "one refresh goes on in the background")
		}

		close(f.gate)
		synctest.Wait()
		requireAccessKey(t, s, "AK2")
		assert.EqualValues(t, 2, f.calls.Load())
	})
}

func TestARefreshAheadThatFailsIsLoggedAndTriedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		var log bytes.Buffer
		s := newFakeSource(f, &log)
		requireAccessKey(t, s, "AK1")
		f.fail(errors.New("metadata is away"))

		time.Sleep(50*time.Minute + 30*time.Second)
		for range 9 * 60 / 5 {
			requireAccessKey(t, s, "AK1")
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		assert.EqualValues(t, 1+9, f.calls.Load(), "one try in each of nine minutes")
		assert.Equal(t, 9, strings.Count(log.String(), "level=WARN"))
		assert.Contains(t, log.String(), "metadata is away")
		assertNoPartOfASecret(t, log.String())

		f.err.Store(nil)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		requireAccessKey(t, s, "AK11")
		assert.Equal(t, 9, strings.Count(log.String(), "level=WARN"))
	})
}

func TestCredentialsThatHaveEndedAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")

		time.Sleep(time.Hour)
		broken := errors.New("metadata is away")
		f.fail(broken)
		_, err := s.get(t.Context())
		require.ErrorIs(t, err, broken, "what has ended must not be used")

		f.err.Store(nil)
		requireAccessKey(t, s, "AK3")
		requireAccessKey(t, s, "AK3")
		assert.EqualValues(t, 3, f.calls.Load())
	})
}

func TestWhoeverFindsCredentialsEndedJoinsTheRefreshThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")
		f.gate = make(chan struct{})
		time.Sleep(59 * time.Minute)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		require.EqualValues(t, 2, f.calls.Load())

		time.Sleep(2 * time.Minute)
		served := make(chan credentials)
		go func() {
			got, err := s.get(t.Context())
			assert.NoError(t, err)
			served <- got
		}()
		synctest.Wait()
		close(f.gate)
		assert.Equal(t, "AK2", (<-served).signer.AccessKey)
		assert.EqualValues(t, 2, f.calls.Load())
	})
}

func TestShortLivedCredentialsAreUsedUntilTheyEnd(t *testing.T) {
	// Fetched with less than the refresh window left of their life, as pod identities may be.
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: 5 * time.Minute}
		s := newFakeSource(f, io.Discard)
		for range 4 * 60 {
			_, err := s.get(t.Context())
			require.NoError(t, err)
			synctest.Wait()
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, f.calls.Load(), int64(5), "one fetch, then one a minute at most")
	})
}

func TestTheSourceKeepsToThePlaceWhereItFoundCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened []string
		open := func(name string, official *global.Credentials) place {
			return place{name, func() (*global.Credentials, error) {
				opened = append(opened, name)
				if official == nil {
					return nil, errNotSet
				}
				return official, nil
			}}
		}
		found := &global.Credentials{}
		found.AK, found.SK = "AK", secretKey
		s := defaultSource([]place{open("first", nil), open("second", found), open("third", found)}, nil, slog.New(slog.DiscardHandler))
		assert.Empty(t, opened, "nothing is opened before it is needed")
		requireAccessKey(t, s, "AK")
		assert.Equal(t, []string{"first", "second"}, opened)

		got, err := s.refresh()
		require.NoError(t, err)
		assert.Equal(t, "AK", got.(credentials).signer.AccessKey)
		assert.Equal(t, []string{"first", "second"}, opened, "a refresh asks the place alone, not its reader")
	})
}

func TestInstanceMetadataIsAskedAgainWhenItsCredentialsEnd(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	i.metadata = replying(metadataJSON("AKOLD", time.Now().Add(time.Hour)))
	s := newDefaultSource()
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

func TestARefreshThatFailsLeavesNoSecretBehind(t *testing.T) {
	later := time.Now().Add(24 * time.Hour)
	tests := map[string]struct {
		body, says string
	}{
		"cut short":         {metadataJSON("AK", later)[:len(`{"credential":{"access":"AK","secret":"`)+10], "cannot be read as credentials"},
		"an empty object":   {`{}`, "cannot be read as credentials"},
		"with a line break": {strings.Replace(metadataJSON("AK", later), secretKey, secretKey+`\n`, 1), "SecretKey"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			i.metadata = replying(metadataJSON("AK", time.Now().Add(time.Hour)))
			s := newDefaultSource()
			var offset time.Duration
			s.now = func() time.Time { return time.Now().Add(offset) }
			requireAccessKey(t, s, "AK")

			offset = 2 * time.Hour
			i.metadata = replying(test.body)
			_, err := s.get(t.Context())
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.says)
			assertNoPartOfASecret(t, err.Error())

			i.metadata = replying(metadataJSON("AKNEW", later))
			requireAccessKey(t, s, "AKNEW")
		})
	}
}

func TestACallWaitsForCredentialsNoLongerThanItsContext(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	i.metadata = func(w http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
		_, _ = io.WriteString(w, metadataJSON("AK", time.Now().Add(24*time.Hour)))
	}
	service, requests := emptyListServer(t)
	client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := client.ListExportTasks(ctx, nil)
		left <- err
	}()
	<-asked
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	assert.Empty(t, requests())

	// The fetch that went on without its caller serves the next one.
	close(release)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, requests(), 1)
}

// The vendor's package asks the instance metadata through HTTP_PROXY, unless NO_PROXY has their address:
// the README says so, since a proxy knows nothing of them.
func TestInstanceMetadataAreAskedByWayOfHTTPProxy(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "169.254.169.254" {
			asked.Add(1)
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer proxy.Close()
	ask := func(t *testing.T) {
		client, err := NewCdnClient()
		require.NoError(t, err)
		_, err = client.ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, ErrNoCredentials)
	}
	for name, test := range map[string]struct {
		noProxy string
		want    bool
	}{"HTTP_PROXY": {"", true}, "NO_PROXY": {"169.254.169.254", false}} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			if inOwnProcess(t, "HTTP_PROXY="+proxy.URL, "http_proxy=", "NO_PROXY="+test.noProxy, "no_proxy=") {
				ask(t)
				return
			}
			assert.Equal(t, test.want, asked.Load() > 0)
		})
	}
}
