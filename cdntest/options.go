package cdntest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"example.com/huaweicloud/cdn"
)

// The defaults of the options.
const (
	defaultAddr       = "127.0.0.1:0"
	defaultAK         = "CDNTESTACCESSKEY"
	defaultSK         = "cdntest-secret-key"
	defaultExportTime = 2 * time.Second
	defaultLinkExpiry = time.Hour
	defaultPageCap    = 100
	defaultRequestLog = 10_000
)

// config is what the options set.
type config struct {
	addr       string
	middleware []func(http.Handler) http.Handler
	clock      func() time.Time
	latency    time.Duration
	requestLog int

	ak, sk, token string
	noAuth        bool
	keyLock       bool
	canonicalEcho bool

	quota       bool // whether there is one
	quotaLimit  int
	quotaPer    time.Duration
	quotaWindow QuotaWindow

	samples     int
	exportTime  time.Duration
	failExports bool
	pageCap     int
	listLag     time.Duration

	linkExpiry time.Duration
	contentMD5 bool
	amzLinks   bool
}

// Option changes one thing about a new [Server].
type Option func(*config)

// WithAddr sets the TCP address to listen on, such as "127.0.0.1:8086". The default is a free port
// of 127.0.0.1.
func WithAddr(addr string) Option {
	return func(c *config) { c.addr = addr }
}

// WithMiddleware wraps the server's handler, to inspect requests, handle some, or change responses. It can be given
// several times: the last one is the outermost. A handler that replaces the [http.ResponseWriter] must return the
// original one from a method Unwrap() http.ResponseWriter. Otherwise no [Fault] can reset a connection. By default
// there is none.
func WithMiddleware(wrap func(http.Handler) http.Handler) Option {
	return func(c *config) { c.middleware = append(slices.Clip(c.middleware), wrap) }
}

// WithClock sets the server's clock, by default [time.Now]. Signatures, quotas, update times, the progress of exports,
// the expiry of links and the header Date use it. [WithLatency], [Fault.Delay] and [Fault.Trickle] are in real time.
// A clock that is off tests how a client copes with a wrong clock of its own. It is called from several goroutines
// at once and must not call the server.
func WithClock(now func() time.Time) Option {
	return func(c *config) { c.clock = now }
}

// WithLatency sets how long each request waits before it is handled, in real time. The default is 0.
func WithLatency(d time.Duration) Option {
	return func(c *config) { c.latency = d }
}

// WithRequestLog sets how many of the latest requests [Server.Requests] returns, by default 10,000. With 0 it returns
// none. The bound limits the memory of a server under load.
func WithRequestLog(n int) Option {
	return func(c *config) { c.requestLog = n }
}

// WithAKSK sets the key pair that the server accepts. Neither key may be empty. The default is a fixed pair, the same
// for each server. [Server] has it in its fields AK and SK.
func WithAKSK(ak, sk string) Option {
	return func(c *config) { c.ak, c.sk = ak, sk }
}

// WithSecurityToken makes the key pair temporary: a request must have the token in X-Security-Token, signed. By
// default the pair is permanent.
func WithSecurityToken(token string) Option {
	return func(c *config) { c.token = token }
}

// WithNoAuth turns the check of signatures off, for clients that cannot sign.
func WithNoAuth() Option {
	return func(c *config) { c.noAuth = true }
}

// WithSampleTasks adds n tasks, the same ones for the same time of the server's clock. The second is unfinished and
// the third has failed. The others are finished and have a file. The default is 0.
func WithSampleTasks(n int) Option {
	return func(c *config) { c.samples = n }
}

// WithExportTime sets how long a created task takes until it is finished, by default 2 seconds: waiting for half of
// the time, processing for the other half. With 0 it is finished at once.
func WithExportTime(d time.Duration) Option {
	return func(c *config) { c.exportTime = d }
}

// WithFailedExports makes created tasks end as [cdn.ExportTaskFail], without a file.
func WithFailedExports() Option {
	return func(c *config) { c.failExports = true }
}

// WithPageCap sets the largest number of tasks of a page, also if the request asks for more. It is at least 1, by
// default 100.
func WithPageCap(n int) Option {
	return func(c *config) { c.pageCap = n }
}

// WithLinkExpiry sets how long a download link is valid after the response that contains it, by default an hour. The
// expiry is rounded up to a whole second.
func WithLinkExpiry(d time.Duration) Option {
	return func(c *config) { c.linkExpiry = d }
}

// WithContentMD5 sends the header Content-MD5 with each whole file. OBS does not send it. Other stores do.
func WithContentMD5() Option {
	return func(c *config) { c.contentMD5 = true }
}

// newConfig applies the options to the defaults and checks the result.
func newConfig(opts []Option) (config, error) {
	c := config{
		addr:       defaultAddr,
		ak:         defaultAK,
		sk:         defaultSK,
		clock:      time.Now,
		exportTime: defaultExportTime,
		linkExpiry: defaultLinkExpiry,
		pageCap:    defaultPageCap,
		requestLog: defaultRequestLog,
	}
	for _, opt := range opts {
		opt(&c)
	}
	return c, c.check()
}

// signer returns a signer with the key pair that the server accepts.
func (c *config) signer() cdn.Signer {
	return cdn.Signer{AccessKey: c.ak, SecretKey: c.sk, SecurityToken: c.token}
}

func (c *config) check() error {
	switch {
	case c.clock == nil:
		return errors.New("WithClock: no clock")
	case slices.ContainsFunc(c.middleware, func(wrap func(http.Handler) http.Handler) bool { return wrap == nil }):
		return errors.New("WithMiddleware: no function")
	case c.latency < 0:
		return fmt.Errorf("WithLatency: %v is negative", c.latency)
	case c.exportTime < 0:
		return fmt.Errorf("WithExportTime: %v is negative", c.exportTime)
	case c.linkExpiry <= 0:
		return fmt.Errorf("WithLinkExpiry: %v is not positive", c.linkExpiry)
	case c.pageCap < 1:
		return fmt.Errorf("WithPageCap: %d is less than 1", c.pageCap)
	case c.requestLog < 0:
		return fmt.Errorf("WithRequestLog: %d is negative", c.requestLog)
	}
	return cmp.Or(c.checkListLag(), c.checkQuota(), c.checkKeys())
}

// checkKeys returns an error if no client can sign with the keys.
func (c *config) checkKeys() error {
	return c.signer().Sign(httptest.NewRequest(http.MethodGet, "/", nil), c.clock())
}
