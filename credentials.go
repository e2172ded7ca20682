package cdn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	"golang.org/x/sync/singleflight"
)

const (
	// refreshWindow is how long before their end temporary credentials are fetched anew, while calls
	// go on with the ones at hand.
	refreshWindow = 10 * time.Minute
	// refreshPause is the least time between two tries to do so.
	refreshPause = time.Minute
	// federationTimeout bounds each of the two calls to the identity service that turn an id token
	// into credentials.
	federationTimeout = 30 * time.Second
)

// credentials are what one request is signed with.
type credentials struct {
	signer   Signer
	domainID string
	// expires is when temporary credentials end; zero for permanent ones.
	expires time.Time
}

// goodAt reports whether the credentials have not ended.
func (c *credentials) goodAt(now time.Time) bool { return c.expires.IsZero() || now.Before(c.expires) }

// credentialSource hands out credentials. Whoever needs ones that are not at hand waits for the same
// fetch as all others, and leaves it to them when its own context ends.
type credentialSource struct {
	fetch   func() (credentials, error)
	now     func() time.Time
	logger  *slog.Logger
	current atomic.Pointer[credentials]
	lastTry atomic.Int64 // Unix seconds of the last refresh ahead of time
	flight  singleflight.Group
}

func (s *credentialSource) get(ctx context.Context) (credentials, error) {
	now := s.now()
	current := s.current.Load()
	switch {
	case current == nil, !current.goodAt(now):
		return s.wait(ctx)
	case !current.expires.IsZero() && current.expires.Sub(now) < refreshWindow:
		s.refreshAhead(now)
	}
	return *current, nil
}

// wait fetches credentials, or joins a fetch that is under way.
func (s *credentialSource) wait(ctx context.Context) (credentials, error) {
	select {
	case result := <-s.flight.DoChan("", s.fetchMissing):
		if result.Err != nil {
			return credentials{}, result.Err
		}
		return result.Val.(credentials), nil
	case <-ctx.Done():
		return credentials{}, fmt.Errorf("wait for credentials: %w", endOf(ctx))
	}
}

// refreshAhead fetches new credentials while the ones at hand are still good, and lets nobody wait.
func (s *credentialSource) refreshAhead(now time.Time) {
	last := s.lastTry.Load()
	if now.Unix()-last < int64(refreshPause/time.Second) || !s.lastTry.CompareAndSwap(last, now.Unix()) {
		return
	}
	s.flight.DoChan("", func() (any, error) {
		fetched, err := s.refresh()
		if err != nil {
			s.logger.Warn("cdn: temporary credentials could not be refreshed ahead of their end", "error", err)
		}
		return fetched, err
	})
}

// fetchMissing fetches credentials unless another caller's fetch has just ended with good ones.
func (s *credentialSource) fetchMissing() (any, error) {
	if current := s.current.Load(); current != nil && current.goodAt(s.now()) {
		return *current, nil
	}
	return s.refresh()
}

func (s *credentialSource) refresh() (any, error) {
	fetched, err := s.fetch()
	if err != nil {
		return nil, err
	}
	s.current.Store(&fetched)
	return fetched, nil
}

// staticSource hands out the same credentials for ever.
func staticSource(c credentials) *credentialSource {
	s := &credentialSource{now: time.Now}
	s.current.Store(&c)
	return s
}

// officialSource hands out the credentials that the user built with the official SDK, or those that
// they give access to. official is the source's own copy.
func officialSource(official *global.Credentials, transport http.RoundTripper, logger *slog.Logger) *credentialSource {
	if official.StsAccessor == nil {
		return staticSource(permanent(official))
	}
	return &credentialSource{fetch: fetcherOf(official, transport), now: time.Now, logger: logger}
}

// validateOfficial refuses credentials that can never sign a request of this service.
func validateOfficial(official *global.Credentials) error {
	switch {
	case official == nil:
		return invalid("Credentials", nil, "must not be nil")
	case official.DerivedPredicate != nil:
		return fmt.Errorf("%w: Credentials: derived signing (DerivedPredicate) is not of this service", ErrInvalidParameter)
	case official.StsAccessor != nil:
		return nil
	}
	return permanent(official).signer.validate()
}

func permanent(official *global.Credentials) credentials {
	return credentials{
		signer:   Signer{AccessKey: official.AK, SecretKey: official.SK, SecurityToken: official.SecurityToken},
		domainID: official.DomainId,
	}
}

// fetcherOf fetches what official stands for: itself, or the temporary credentials it gives access to.
func fetcherOf(official *global.Credentials, transport http.RoundTripper) func() (credentials, error) {
	return func() (credentials, error) {
		fetched, err := fetchOnce(official, transport)
		if err != nil {
			return credentials{}, err
		}
		return fetched, fetched.signer.validate()
	}
}

func fetchOnce(official *global.Credentials, transport http.RoundTripper) (credentials, error) {
	switch {
	case official.StsAccessor == nil:
		return permanent(official), nil
	case official.IdpId != "":
		return fetchFederal(official, transport)
	}
	return fetchTemporary(official)
}

// fetchFederal exchanges an id token for temporary credentials. The vendor's package exchanges only
// for credentials that are about to end, so these hold none yet; and it keeps to itself when the new
// ones end, so its accessor is listened to.
func fetchFederal(official *global.Credentials, transport http.RoundTripper) (fetched credentials, err error) {
	listener := listenTo(official.StsAccessor.GetCredential)
	exchanged := &global.Credentials{DomainId: official.DomainId}
	exchanged.IamEndpoint, exchanged.IdpId, exchanged.IdTokenFile = official.IamEndpoint, official.IdpId, official.IdTokenFile
	exchanged.StsAccessor = listener
	err = guardAccessor(func() error {
		client := impl.NewDefaultHttpClient(config.DefaultHttpConfig().
			WithHttpRoundTripper(transport).WithTimeout(federationTimeout))
		return exchanged.ProcessSts(client)
	})
	if err != nil {
		return credentials{}, fmt.Errorf("exchange the id token for credentials: %w", err)
	}
	fetched = permanent(exchanged)
	fetched.expires = time.Unix(listener.heard.ExpireAt, 0)
	return fetched, nil
}

// listener passes calls on to an accessor of the vendor's and keeps what it answers. It is generic
// because the vendor's types, internal ones, can be inferred here but not named.
type listener[Option, Credential any] struct {
	get   func(...Option) (Credential, error)
	heard Credential
}

func listenTo[Option, Credential any](get func(...Option) (Credential, error)) *listener[Option, Credential] {
	return &listener[Option, Credential]{get: get}
}

func (l *listener[Option, Credential]) GetCredential(options ...Option) (credential Credential, err error) {
	l.heard, err = l.get(options...)
	return l.heard, err
}

// fetchTemporary asks an accessor of the vendor's, of the instance metadata or of the pod identity.
func fetchTemporary(official *global.Credentials) (fetched credentials, err error) {
	err = guardAccessor(func() error {
		temporary, err := official.StsAccessor.GetCredential()
		if err != nil {
			return err
		}
		fetched = credentials{
			signer:   Signer{AccessKey: temporary.Access, SecretKey: temporary.Secret, SecurityToken: temporary.SecurityToken},
			domainID: official.DomainId,
			expires:  time.Unix(temporary.ExpireAt, 0),
		}
		return nil
	})
	if err != nil {
		return credentials{}, fmt.Errorf("fetch temporary credentials: %w", err)
	}
	return fetched, nil
}

// A place may hold credentials.
type place struct {
	name string
	open func() (*global.Credentials, error)
}

// defaultPlaces are where credentials come from when the user gives none, in this order: the
// variables that the API reference's examples use, then the providers of the vendor's core package.
func defaultPlaces() []place {
	return []place{
		{"environment CLOUD_SDK_AK, CLOUD_SDK_SK", openEnvironment},
		{"environment HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK", openOfficialEnvironment},
		{"file " + credentialsFile(), openProvider(provider.GlobalCredentialProfileProvider())},
		{"instance metadata 169.254.169.254", openMetadata},
		{"pod identity HC_CONTAINER_CREDENTIALS_FULL_URI", openProvider(provider.GlobalCredentialPodIdentityProvider())},
	}
}

func credentialsFile() string {
	if path := os.Getenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE"); path != "" {
		return path
	}
	return "~/.huaweicloud/credentials"
}

// defaultSource looks for credentials at the first call, and keeps to the place where it found some.
func defaultSource(places []place, transport http.RoundTripper, logger *slog.Logger) *credentialSource {
	s := &credentialSource{now: time.Now, logger: logger}
	s.fetch = func() (credentials, error) {
		fetch, first, err := search(places, transport)
		if err != nil {
			return credentials{}, err
		}
		// Only one fetch is under way at a time.
		s.fetch = fetch
		return first, nil
	}
	return s
}

// search is the first place's fetcher that has credentials, and these. Where an id token is set up and
// cannot be exchanged, the search ends: the keys of another place would be somebody else's.
func search(places []place, transport http.RoundTripper) (func() (credentials, error), credentials, error) {
	var misses []string
	for _, place := range places {
		official, err := place.open()
		if err == nil {
			fetch := fetcherOf(official, transport)
			fetched, fetchErr := fetch()
			if fetchErr == nil {
				return fetch, fetched, nil
			}
			if official.IdpId != "" {
				return nil, credentials{}, fmt.Errorf("%s: %w", place.name, fetchErr)
			}
			err = fetchErr
		}
		if errors.Is(err, ErrInvalidParameter) {
			return nil, credentials{}, fmt.Errorf("%w: %s: %w", ErrNoCredentials, place.name, err)
		}
		misses = append(misses, place.name+": "+redact.Excerpt(err.Error(), redact.Short))
	}
	return nil, credentials{}, fmt.Errorf("%w: %s", ErrNoCredentials, strings.Join(misses, "; "))
}

var errNotSet = errors.New("not set")

// openEnvironment reads the variables of the API reference's examples.
func openEnvironment() (*global.Credentials, error) {
	if err := checkPair("CLOUD_SDK_AK", "CLOUD_SDK_SK"); err != nil {
		return nil, err
	}
	official := &global.Credentials{}
	official.AK, official.SK = os.Getenv("CLOUD_SDK_AK"), os.Getenv("CLOUD_SDK_SK")
	official.SecurityToken = os.Getenv("CLOUD_SDK_SECURITY_TOKEN")
	return official, nil
}

// openOfficialEnvironment reads the official SDK's variables: an id token's where there are both,
// else a pair of keys.
func openOfficialEnvironment() (*global.Credentials, error) {
	if os.Getenv("HUAWEICLOUD_SDK_IDP_ID") == "" || os.Getenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE") == "" {
		if err := checkPair("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"); err != nil {
			return nil, err
		}
	}
	return openProvider(provider.GlobalCredentialEnvProvider())()
}

// checkPair tells a pair of variables from half of one, an oversight that no other place should hide.
func checkPair(ak, sk string) error {
	switch hasAK, hasSK := os.Getenv(ak) != "", os.Getenv(sk) != ""; {
	case hasAK && hasSK:
		return nil
	case hasAK:
		return fmt.Errorf("%w: %s is not set while %s is", ErrInvalidParameter, sk, ak)
	case hasSK:
		return fmt.Errorf("%w: %s is not set while %s is", ErrInvalidParameter, ak, sk)
	}
	return errNotSet
}

// openMetadata stands for the instance metadata, which are asked when the credentials are fetched. The
// vendor's provider of the same would ask them twice.
func openMetadata() (*global.Credentials, error) {
	return global.NewCredentialsBuilder().SafeBuild()
}

// openProvider asks one of the vendor's providers.
func openProvider(p provider.ICredentialProvider) func() (*global.Credentials, error) {
	return func() (official *global.Credentials, err error) {
		err = guardVendor(func() error {
			found, err := p.GetCredentials()
			if err != nil {
				return err
			}
			official = found.(*auth.GlobalCredentials)
			return nil
		})
		return official, err
	}
}

// accessorMu guards the vendor's accessors of temporary credentials: they change as they are used,
// are not locked, and two clients may have been given the same one.
var accessorMu sync.Mutex

// guardAccessor runs code of the vendor's that uses an accessor.
func guardAccessor(run func() error) error {
	accessorMu.Lock()
	defer accessorMu.Unlock()
	return guardVendor(run)
}

// guardVendor runs code of the vendor's, which may panic on odd answers, and whose errors may quote
// the secrets that it failed to read.
func guardVendor(run func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errUnreadable
		}
	}()
	return withoutSecrets(run())
}

var errUnreadable = errors.New("what is there cannot be read as credentials")

// withoutSecrets keeps the errors that are known to hold no part of what was read. The vendor's
// parsers put the text around a mistake into their errors, and that text may be a key.
func withoutSecrets(err error) error {
	var answer *sdkerr.ServiceResponseError
	var credentialsType *sdkerr.CredentialsTypeError
	var call *url.Error
	var file *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return fmt.Errorf("status %s: %s", strings.TrimSpace(strconv.Itoa(answer.StatusCode)+" "+answer.ErrorCode), redact.Excerpt(answer.ErrorMessage, redact.Short))
	case errors.As(err, &credentialsType):
		return errors.New(credentialsType.ErrorMessage)
	case errors.As(err, &call):
		return call
	case errors.As(err, &file):
		return file
	case strings.Contains(err.Error(), "must be set when using pod identity"):
		return errNotSet
	}
	return errUnreadable
}
