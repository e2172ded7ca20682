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

// Option configures a client of [NewCdnClient]. If two options contradict each other, the later one counts.
type Option func(*options) error

// options is the sum of the options of one client.
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
	// lostCreateExpiry is how long the service may still accept a create whose response was lost.
	lostCreateExpiry time.Duration
}

// WithAKSK signs requests with a permanent access key (AK) and its secret key (SK). Neither may be empty, or have
// white space, commas, control or non-ASCII characters.
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

// WithRegion selects the site that serves the requests, by the id of a region; the default is [DefaultRegion]. An id is
// one of [Regions], or the official SDK's overrides name an endpoint for it:
//
//   - the variable HUAWEICLOUD_SDK_REGION_CDN_<REGION>, with the id in capitals and _ for -
//   - the file that HUAWEICLOUD_SDK_REGIONS_FILE names, by default ~/.huaweicloud/regions.yaml
//
// The first of several endpoints counts. An override of a built-in region is looked up at the first call, that of
// another region by [NewCdnClient]. A client with [WithEndpoint] ignores its region.
func WithRegion(id string) Option {
	return func(o *options) error {
		if id == "" {
			return invalid("Region", id, "must be one of "+strings.Join(Regions(), ", "))
		}
		o.region = id
		return nil
	}
}

// WithEndpoint sends all calls to another address, such as https://cdn.example.com:8443. The default scheme is https.
// http is for loopback addresses only, unless [WithInsecureHTTP] is given. A path, a query or a user is an error.
func WithEndpoint(endpoint string) Option {
	return func(o *options) error {
		if endpoint == "" {
			return invalid("Endpoint", endpoint, "must not be empty")
		}
		o.endpoint = endpoint
		return nil
	}
}

// WithInsecureHTTP allows endpoints and download links without encryption. Anyone on the network path can read and
// change the responses, and read the security token of temporary credentials.
func WithInsecureHTTP() Option {
	return func(o *options) error {
		o.insecureHTTP = true
		return nil
	}
}

// WithHTTPClient sends each request with client: its transport, its cookies, and its timeout, which bounds one attempt.
// The client is copied, not changed. Its CheckRedirect is ignored, and redirects of calls are not followed. Cookies are
// added after signing, so they are not signed. Downloads use the transport and the timeout only.
//
// The transport replaces the default one with all its settings: 10 s to connect, 10 s for TLS, 30 s to the first byte
// of a response, 256 KiB of headers, 256 idle connections to a host.
//
// A transport should not retry by itself. One on top of [http.Transport] is stopped before it sends a second request,
// so that a create is sent once; the client's own retry follows.
func WithHTTPClient(client *http.Client) Option {
	return func(o *options) error {
		if client == nil {
			return invalid("HTTPClient", nil, "must not be nil")
		}
		o.httpClient = client
		return nil
	}
}

// WithLogger sends log records to logger. None has a secret. By default, and with a nil logger, nothing is logged.
//
//   - Debug: each request. Requests to the object store have the operation Download.
//   - Info: the source of the credentials, once, and the task id of each export, before its wait.
//   - Warn: each retry and each failed poll, a quota that was learnt, a wrong local clock, credentials that could not be
//     refreshed, a spent retry budget, and a journal that could not be completed.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) error {
		o.logger = logger
		return nil
	}
}

// WithRetryPolicy sets how calls are retried; see [RetryPolicy] for the fields and their defaults.
func WithRetryPolicy(policy RetryPolicy) Option {
	return func(o *options) error {
		whole, err := policy.withDefaults()
		o.retryPolicy = whole
		return err
	}
}

// WithRateLimiter makes every request to the API wait for limiter, retries included. Requests to the object store do
// not wait. Few programs need a limiter: a client learns the account's quota from the first refusal and keeps to it. A
// limiter serves to use less than the quota, or to share it with other programs.
func WithRateLimiter(limiter RateLimiter) Option {
	return func(o *options) error {
		if limiter == nil {
			return invalid("RateLimiter", nil, "must not be nil")
		}
		o.rateLimiter = limiter
		return nil
	}
}

// WithPollInterval bounds the delay between two polls of waits and watches. While nothing changes, the delay grows from
// shortest to longest, with jitter. The default is from 2 s to 30 s. shortest must be positive, and longest not less.
func WithPollInterval(shortest, longest time.Duration) Option {
	return func(o *options) error {
		if shortest <= 0 || longest < shortest {
			return invalid("PollInterval", fmt.Sprintf("%v to %v", shortest, longest), "must be positive, the longest not less than the shortest")
		}
		o.minPoll, o.maxPoll = shortest, longest
		return nil
	}
}

// WithListLag sets how late the service's list may show a new task, 0 or more; the default is 3 s. An export takes a
// task for its own only after the list has had that long to show all new ones, so each [CdnClient.Export] takes at
// least the lag. With a lag that is too short, Export may return a task that another user has created meanwhile.
func WithListLag(lag time.Duration) Option {
	return func(o *options) error {
		if lag < 0 {
			return invalid("ListLag", lag, "must not be negative")
		}
		o.listLag = lag
		return nil
	}
}

// WithUserAgent names the program in the User-Agent of each request, before the name of this package. An example is
// "billing-report/1.4". The product must be printable ASCII.
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
	o := &options{
		region:           DefaultRegion,
		retryPolicy:      defaults,
		minPoll:          2 * time.Second,
		maxPoll:          30 * time.Second,
		listLag:          3 * time.Second,
		lostCreateExpiry: 15 * time.Minute,
	}
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

// transport returns the transport of the HTTP client. As in net/http, nil means [http.DefaultTransport].
func (o *options) transport() http.RoundTripper {
	if o.httpClient.Transport == nil {
		return http.DefaultTransport
	}
	return o.httpClient.Transport
}

// defaultTransport returns a transport for calls to one host from many goroutines.
func defaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		// A dead HTTP/2 connection is closed after 15 s, before the timeout of an attempt.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		OnProxyConnectResponse: retry.OnProxyConnectResponse,
		ResponseHeaderTimeout:  30 * time.Second,
		// Up to 256 goroutines keep a connection each between two calls.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// The service's headers are a few hundred bytes; net/http would read 10 MB of them.
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// endpointFinder returns a function that returns the endpoint. It checks a given endpoint, and a region that needs an
// override. The overrides of a built-in region are read when the function is first called, so that building a client
// does no I/O.
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
