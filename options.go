package cdn

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"

	"example.com/huaweicloud/cdn/internal/retry"
)

// Option sets up a client of [NewCdnClient]. Where two options contradict each other, the later one
// counts.
type Option func(*options) error

// options is what the options of one client add up to.
type options struct {
	keys         *Signer
	official     *global.Credentials
	region       string
	endpoint     string
	insecureHTTP bool
	httpClient   *http.Client
	logger       *slog.Logger
	userAgent    string
	retryPolicy  RetryPolicy
	rateLimiter  RateLimiter
	observer     Observer
	minPoll      time.Duration
	maxPoll      time.Duration
	listLag      time.Duration
	journal      Journal
	// lostCreateExpiry is how long the service may accept a create whose response was lost.
	lostCreateExpiry time.Duration
}

// WithAKSK signs with a permanent access key (AK) and its secret key (SK).
func WithAKSK(ak, sk string) Option {
	return func(o *options) error {
		keys := Signer{AccessKey: ak, SecretKey: sk}
		if err := keys.validate(); err != nil {
			return err
		}
		o.keys, o.official = &keys, nil
		return nil
	}
}

// WithCredentials signs with credentials that the official SDK's core package has built: an AK/SK, with or without a
// security token and an account id, or temporary credentials of the instance metadata, an id token or a pod
// identity. The client fetches and refreshes temporary credentials by itself, and never changes what it is given.
// An accessor of another type is an error that wraps [ErrInvalidParameter].
func WithCredentials(official *global.Credentials) Option {
	return func(o *options) error {
		if err := validateOfficial(official); err != nil {
			return err
		}
		private := *official
		o.keys, o.official = nil, &private
		return nil
	}
}

// WithRegion picks the site that answers, by region id: one of [Regions], or one for which the
// official SDK's overrides name an endpoint: the variable HUAWEICLOUD_SDK_REGION_CDN_<REGION> (in
// capitals, with _ for -), or the file ~/.huaweicloud/regions.yaml or whichever
// HUAWEICLOUD_SDK_REGIONS_FILE names; of several endpoints the first counts. Overrides of the built-in
// regions are looked up at the first call, of other regions by [NewCdnClient]. [WithEndpoint] goes
// before a region.
func WithRegion(id string) Option {
	return func(o *options) error {
		if id == "" {
			return invalid("Region", id, "must be one of "+strings.Join(Regions(), ", "))
		}
		o.region = id
		return nil
	}
}

// WithEndpoint sends all calls to another address, such as https://cdn.example.com:8443. Without a
// scheme it is https; http is for loopback addresses only, unless [WithInsecureHTTP] is given.
func WithEndpoint(endpoint string) Option {
	return func(o *options) error {
		if endpoint == "" {
			return invalid("Endpoint", endpoint, "must not be empty")
		}
		o.endpoint = endpoint
		return nil
	}
}

// WithInsecureHTTP allows endpoints that are reached without encryption. Whoever is on the way can
// read the answers and change them, and with temporary credentials read the security token.
func WithInsecureHTTP() Option {
	return func(o *options) error {
		o.insecureHTTP = true
		return nil
	}
}

// WithHTTPClient sends each request with client: its transport, its cookies, and its timeout, which bounds one
// attempt. The client is copied, not changed. Redirects are not followed whatever it says of them. Cookies are
// added after signing, so they are not signed. Downloads use the transport and the timeout only.
//
// The transport takes the place of the default one with all its settings: 10 s to connect, 10 s for TLS,
// 30 s to the first byte of an answer, 256 KiB of headers, 256 idle connections to a host.
func WithHTTPClient(client *http.Client) Option {
	return func(o *options) error {
		if client == nil {
			return invalid("HTTPClient", nil, "must not be nil")
		}
		o.httpClient = client
		return nil
	}
}

// WithLogger has the client log to logger: a record per request at debug level, those of downloads to
// the object store included (operation Download), the id of a task that
// [CdnClient.Export] has created and, once, the source of credentials that was found at info level, and at warning level a record per retry, per failed
// poll, and where the local clock is off or credentials could not be refreshed. Nothing secret is
// logged. By default nothing is logged at all, and nothing with a nil logger.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) error {
		o.logger = logger
		return nil
	}
}

// WithRetryPolicy changes how calls are tried again; see [RetryPolicy] for the defaults.
func WithRetryPolicy(policy RetryPolicy) Option {
	return func(o *options) error {
		whole, err := policy.withDefaults()
		o.retryPolicy = whole
		return err
	}
}

// WithRateLimiter has every request to the API wait for limiter, retries included. Requests to the object store do
// not wait. It is hardly needed: a client learns the account's quota from the first refusal and keeps to it. It serves
// to use less than the quota, or to share a limiter with other programs.
func WithRateLimiter(limiter RateLimiter) Option {
	return func(o *options) error {
		if limiter == nil {
			return invalid("RateLimiter", nil, "must not be nil")
		}
		o.rateLimiter = limiter
		return nil
	}
}

// WithPollInterval bounds the pauses between two polls of those who wait and watch: they grow from
// shortest to longest, with jitter, while nothing changes. The default is from 2 s to 30 s.
func WithPollInterval(shortest, longest time.Duration) Option {
	return func(o *options) error {
		if shortest <= 0 || longest < shortest {
			return invalid("PollInterval", fmt.Sprintf("%v to %v", shortest, longest), "must be positive, the longest not less than the shortest")
		}
		o.minPoll, o.maxPoll = shortest, longest
		return nil
	}
}

// WithListLag sets how late the service's list may show a new task, 0 or more; the default is 3 s. A task counts as
// an export's own only when the list has had that long to show it, so each [CdnClient.Export] takes at least the
// lag. With a lag that is too short, Export may return the task of another user who creates one at the same time.
func WithListLag(lag time.Duration) Option {
	return func(o *options) error {
		if lag < 0 {
			return invalid("ListLag", lag, "must not be negative")
		}
		o.listLag = lag
		return nil
	}
}

// WithUserAgent names the program in the User-Agent of every request, before this package's own
// name: "billing-report/1.4" for example.
func WithUserAgent(product string) Option {
	return func(o *options) error {
		if product == "" || strings.ContainsFunc(product, func(r rune) bool { return r < ' ' || r > '~' }) {
			return invalid("UserAgent", product, "must be printable ASCII")
		}
		o.userAgent = product
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	defaults, err := RetryPolicy{}.withDefaults()
	if err != nil {
		return nil, err
	}
	o := &options{region: DefaultRegion, retryPolicy: defaults, minPoll: 2 * time.Second, maxPoll: 30 * time.Second, listLag: 3 * time.Second, lostCreateExpiry: 15 * time.Minute}
	for i, option := range opts {
		if option == nil {
			return nil, fmt.Errorf("%w: option %d is nil", ErrInvalidParameter, i)
		}
		if err := option(o); err != nil {
			return nil, err
		}
	}
	if o.httpClient == nil {
		o.httpClient = &http.Client{Transport: defaultTransport()}
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// transport is what sends the requests in the end, by net/http's rule.
func (o *options) transport() http.RoundTripper {
	if o.httpClient.Transport == nil {
		return http.DefaultTransport
	}
	return o.httpClient.Transport
}

// defaultTransport is tuned for a service that calls one host from many goroutines.
func defaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		// A dead HTTP/2 connection is closed after 15 s, within one attempt.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		OnProxyConnectResponse: retry.OnProxyConnectResponse,
		ResponseHeaderTimeout:  30 * time.Second,
		// Each goroutine keeps its connection between two calls.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// The service's headers are a few hundred bytes; net/http would read 10 MB of them.
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// endpointFinder returns a function that finds where requests go. It checks an endpoint that is given, and a
// region that needs an override. For a built-in region the function reads the file with the overrides when
// it is first called, so that building a client does no I/O.
func (o *options) endpointFinder() (func() (endpoint, error), error) {
	find := sync.OnceValues(func() (endpoint, error) {
		address, source := o.endpoint, "WithEndpoint"
		if address == "" {
			var err error
			if address, source, err = regionEndpoint(o.region); err != nil {
				return endpoint{}, err
			}
		}
		u, err := parseEndpoint(address, o.insecureHTTP)
		if err != nil && o.endpoint == "" {
			err = fmt.Errorf("%w; it comes from %s", err, source)
		}
		return endpoint{url: u, source: source}, err
	})
	if o.endpoint == "" && builtInEndpoint(o.region) != "" {
		return find, nil
	}
	_, err := find()
	return find, err
}
