package cdn

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	secretKey     = "0sEcReTkEy0123456789"
	securityToken = "0sEcUrItYtOkEn0123456789=="
	idToken       = "0iDtOkEn0123456789"
	subjectToken  = "0sUbJeCtToKeN0123456789"
)

// emptyEnvironment leaves no source of credentials configured.
func emptyEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range environment {
		if !strings.Contains(name, "REGION") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// instance serves the two link-local addresses of a machine in the cloud: the metadata service's and the pod
// agent's. All connections of http.DefaultTransport to other hosts than loopback ones lead to it while the test runs.
// They are pipes, so that a test can run in fake time.
type instance struct {
	mu sync.Mutex
	// metadata and pod serve requests for credentials; nil responds with 404.
	metadata, pod http.HandlerFunc
	// token serves requests for a metadata token; nil responds with one.
	token    http.HandlerFunc
	requests []string
}

const (
	metadataKeyPath = "/openstack/latest/securitykey"
	podPath         = "/v1/credentials"
)

func newInstance(t *testing.T) *instance {
	t.Helper()
	i := &instance{}
	listener, server := newPipeListener(), &http.Server{Handler: i}
	go func() { _ = server.Serve(listener) }()
	before := http.DefaultTransport
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, err := net.SplitHostPort(address); err != nil || !isLoopback(host) {
				return listener.dial(ctx)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	http.DefaultTransport = transport
	t.Cleanup(func() {
		http.DefaultTransport = before
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return i
}

func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.requests = append(i.requests, r.Method+" "+r.Host+r.URL.Path)
	metadata, pod, token := i.metadata, i.pod, i.token
	i.mu.Unlock()
	switch {
	case r.URL.Path == metadataToken && r.Method == http.MethodPut && token != nil:
		token(w, r)
	case r.URL.Path == metadataToken && r.Method == http.MethodPut && metadata != nil && r.Header.Get("X-Metadata-Token-Ttl-Seconds") == "21600":
		_, _ = io.WriteString(w, "metadata-token")
	case r.URL.Path == metadataKeyPath && metadata != nil && (token != nil || r.Header.Get("X-Metadata-Token") == "metadata-token"):
		metadata(w, r)
	case r.URL.Path == podPath && pod != nil && r.Method == http.MethodPost && r.Header.Get("Authorization") == idToken:
		pod(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *instance) seen() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.requests...)
}

// setPod configures the pod identity.
func setPod(t *testing.T) {
	t.Helper()
	t.Setenv(podURL, "http://169.254.170.23"+podPath)
	t.Setenv(podTokenFile, writeIDToken(t))
}

func writeIDToken(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id-token")
	require.NoError(t, os.WriteFile(file, []byte(idToken+"\n"), 0o600))
	return file
}

func replying(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func replyingStatus(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hanging does not respond until the client has closed the connection.
func hanging(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// inTurn serves requests with one handler after the other, and all later ones with the last.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var next atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the client's leaving only after the body
		handlers[min(int(next.Add(1)), len(handlers))-1](w, r)
	}
}

func metadataJSON(accessKey string, expires time.Time) string {
	return fmt.Sprintf(`{"credential":{"access":%q,"secret":%q,"securitytoken":%q,"expires_at":%q}}`,
		accessKey, secretKey, securityToken, expires.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

func podJSON(accessKey string, expires time.Time) string {
	return fmt.Sprintf(`{"credentials":{"accessKeyId":%q,"secretAccessKey":%q,"securityToken":%q,"expiration":%q}}`,
		accessKey, secretKey, securityToken, expires.UTC().Format(time.RFC3339))
}

// setProfile writes a profile file and names it in the environment.
func setProfile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "my credentials")
	t.Setenv(profileVariable, path)
	writeProfile(t, path, content)
	return path
}

func writeProfile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// quickRetries are the default attempts with short delays.
var quickRetries = WithRetryPolicy(RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})

// newSource returns the source of credentials of a client with these options.
func newSource(t *testing.T, opts ...Option) *credentialSource {
	t.Helper()
	o, err := newOptions(append([]Option{quickRetries}, opts...))
	require.NoError(t, err)
	return o.credentialSource(time.Now)
}

// lockedBuffer is a log that goroutines may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func logTo(log io.Writer) Option { return WithLogger(slog.New(slog.NewTextHandler(log, nil))) }

func assertCredentials(t *testing.T, want, got credentials) {
	t.Helper()
	// Not compared as a whole, or a failure would print the secrets of a real source.
	assert.Equal(t, want.signer.AccessKey, got.signer.AccessKey)
	assert.True(t, want.signer == got.signer, "the secrets differ")
	assert.Equal(t, want.domainID, got.domainID)
	assert.True(t, want.expires.Equal(got.expires), "%v, not %v", got.expires, want.expires)
}

// requireAccessKey gets credentials and checks their access key, which tells the fetches apart.
func requireAccessKey(t *testing.T, s *credentialSource, want string) {
	t.Helper()
	got, err := s.get(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got.signer.AccessKey)
}

// assertNoPartOfASecret checks that text has no six bytes of a secret in a row.
func assertNoPartOfASecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{secretKey, securityToken, idToken, subjectToken} {
		for from := 0; from+6 <= len(secret); from++ {
			// Digits may be in any text.
			if part := secret[from : from+6]; strings.ContainsAny(part, "sEcReTkEyUrItYtOiDUbJ") {
				assert.NotContains(t, text, part)
			}
		}
	}
}

// iam is an identity service that exchanges an id token for temporary keys. It is the CDN too, and keeps its calls.
type iam struct {
	*httptest.Server
	exchanges atomic.Int64
	// token and keys serve the two requests of an exchange; nil responds with success.
	token, keys http.HandlerFunc
	mu          sync.Mutex
	calls       []*http.Request
}

func newIAM(t *testing.T) *iam {
	t.Helper()
	i := &iam{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+identityTokens, i.serveToken)
	mux.HandleFunc("POST "+identityKeys, i.serveKeys)
	mux.HandleFunc("GET "+exportTasksPath, func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.calls = append(i.calls, r)
		i.mu.Unlock()
		_, _ = io.WriteString(w, `{"total":0,"data":[]}`)
	})
	i.Server = httptest.NewUnstartedServer(mux)
	// A client that does not trust the certificate is expected.
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func (i *iam) serveToken(w http.ResponseWriter, r *http.Request) {
	if i.token != nil {
		i.token(w, r)
		return
	}
	var body struct {
		Auth struct {
			IDToken struct{ ID string } `json:"id_token"`
		}
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	if err != nil || body.Auth.IDToken.ID != idToken || r.Header.Get("X-Idp-Id") != "provider" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Request-Id", "request")
	w.Header().Set("X-Subject-Token", subjectToken)
	_, _ = io.WriteString(w, `{"token":{"expires_at":"2030-01-01T00:00:00.000000Z","methods":["mapped"]}}`)
}

func (i *iam) serveKeys(w http.ResponseWriter, r *http.Request) {
	if i.keys != nil {
		i.keys(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if want := `{"auth":{"identity":{"methods":["token"],"token":{"id":"` + subjectToken + `","duration_seconds":21600}}}}`; err != nil || strings.TrimSpace(string(body)) != want {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	n := i.exchanges.Add(1)
	_, _ = io.WriteString(w, metadataJSON(fmt.Sprintf("AKFEDERAL%d", n), time.Now().Add(6*time.Hour)))
}

func (i *iam) seen() []*http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]*http.Request(nil), i.calls...)
}

// setIDToken configures an id token in the environment, exchanged at i.
func setIDToken(t *testing.T, i *iam) {
	t.Helper()
	t.Setenv("HUAWEICLOUD_SDK_IDP_ID", "provider")
	t.Setenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE", writeIDToken(t))
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", i.URL)
}

// buildCredentials builds credentials as the official SDK's users do.
func buildCredentials(t *testing.T, build func(*global.CredentialsBuilder) *global.CredentialsBuilder) *global.Credentials {
	t.Helper()
	c, err := build(global.NewCredentialsBuilder()).SafeBuild()
	require.NoError(t, err)
	return c
}

func federalCredentials(t *testing.T, i *iam, file string) *global.Credentials {
	t.Helper()
	return buildCredentials(t, func(b *global.CredentialsBuilder) *global.CredentialsBuilder {
		return b.WithIdpId("provider").WithIdTokenFile(file).WithIamEndpointOverride(i.URL).WithDomainId("domain")
	})
}
