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

// WithMiddleware puts the server's handler into another one, which can inspect requests, handle some itself, or
// change responses. It can be given several times: the last one is the outermost. A handler that replaces the
// [http.ResponseWriter] must give the original back with a method Unwrap() http.ResponseWriter, or else no
// [Fault] can reset a connection. By default there is none.
func WithMiddleware(wrap func(http.Handler) http.Handler) Option {
	return func(c *config) { c.middleware = append(slices.Clip(c.middleware), wrap) }
}

// WithClock sets the server's clock, by default [time.Now]. Everything goes by it except the real pauses of
// [WithLatency], [Fault.Delay] and [Fault.Trickle]: signatures, quotas, update times, the progress of exports,
// the expiry of links, the header Date. It is called from several goroutines at once and must not call the
// server.
func WithClock(now func() time.Time) Option {
	return func(c *config) { c.clock = now }
}

// WithLatency makes each request wait before it is handled, in real time. The default is 0.
func WithLatency(d time.Duration) Option {
	return func(c *config) { c.latency = d }
}

// WithRequestLog sets how many requests [Server.Requests] remembers, by default the latest 10,000. With 0 it
// remembers none. The bound keeps a server under load from growing without end.
func WithRequestLog(n int) Option {
	return func(c *config) { c.requestLog = n }
}

// WithAKSK sets the one key pair that the server accepts. Neither key may be empty. The default is a
// fixed pair, the same for every server, in its fields AK and SK.
func WithAKSK(ak, sk string) Option {
	return func(c *config) { c.ak, c.sk = ak, sk }
}

// WithSecurityToken makes the key pair a temporary one: a request has to carry the token in
// X-Security-Token, signed. By default the pair is permanent and has none.
func WithSecurityToken(token string) Option {
	return func(c *config) { c.token = token }
}

// WithNoAuth turns the check of signatures off, for clients that cannot sign.
func WithNoAuth() Option {
	return func(c *config) { c.noAuth = true }
}

// WithSampleTasks fills the new server with n tasks, the same ones for the same time on the server's clock.
// From three on, one of them is unfinished and one has failed. The others are finished and have a file.
func WithSampleTasks(n int) Option {
	return func(c *config) { c.samples = n }
}

// WithExportTime sets how long a created task takes from being accepted to its end, by default 2 seconds.
// It waits for half of that time and is processed for the other half. With 0 it has ended when it is first
// listed.
func WithExportTime(d time.Duration) Option {
	return func(c *config) { c.exportTime = d }
}

// WithFailedExports makes created tasks end as [cdn.ExportTaskFail], without a file.
func WithFailedExports() Option {
	return func(c *config) { c.failExports = true }
}

// WithPageCap sets how many tasks a page holds at most, whatever limit was asked for: at least 1, by default
// 100, which is the largest limit.
func WithPageCap(n int) Option {
	return func(c *config) { c.pageCap = n }
}

// WithLinkExpiry sets for how long a download link is good, counted from the response that contains it: by
// default an hour. It is rounded up to the next whole second by the server's clock.
func WithLinkExpiry(d time.Duration) Option {
	return func(c *config) { c.linkExpiry = d }
}

// WithContentMD5 sends the header Content-MD5 with every whole file. OBS does not send it; other stores and
// proxies do.
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

// checkKeys refuses keys that no client could sign with, by trying.
func (c *config) checkKeys() error {
	return c.signer().Sign(httptest.NewRequest(http.MethodGet, "/", nil), c.clock())
}
