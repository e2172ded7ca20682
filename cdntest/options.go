package cdntest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	addr          string
	ak, sk, token string
	noAuth        bool
	clock         func() time.Time
	exportTime    time.Duration
	failExports   bool
	linkExpiry    time.Duration
	contentMD5    bool
	amzLinks      bool
	pageCap       int
	requestLog    int
	samples       int
	listLag       time.Duration
	quota         bool // whether there is one
	quotaLimit    int
	quotaPer      time.Duration
	quotaWindow   QuotaWindow
}

// Option changes one thing about a new [Server].
type Option func(*config)

// WithAddr sets the TCP address to listen on, such as "127.0.0.1:8086". The default is a free port
// of 127.0.0.1.
func WithAddr(addr string) Option {
	return func(c *config) { c.addr = addr }
}

// WithAKSK sets the one key pair that the server accepts; neither may be empty. The default is a
// fixed pair, the same for every server, found in its fields AK and SK.
func WithAKSK(ak, sk string) Option {
	return func(c *config) { c.ak, c.sk = ak, sk }
}

// WithSecurityToken makes the key pair a temporary one: requests have to bring the token along in
// X-Security-Token, signed. By default the pair is permanent and has none.
func WithSecurityToken(token string) Option {
	return func(c *config) { c.token = token }
}

// WithNoAuth turns the check of signatures off, for clients that cannot sign.
func WithNoAuth() Option {
	return func(c *config) { c.noAuth = true }
}

// WithClock sets the server's clock, [time.Now] by default. Everything goes by it but
// [Fault.Delay]: signatures, update times, the progress of exports, the expiry of links, the header
// Date. It is called from several goroutines at once, and must not call the server.
func WithClock(now func() time.Time) Option {
	return func(c *config) { c.clock = now }
}

// WithExportTime sets how long a created task takes from being accepted to its end, 2 seconds by
// default; half of it is spent waiting, half processing. With 0 it has ended at the next look.
func WithExportTime(d time.Duration) Option {
	return func(c *config) { c.exportTime = d }
}

// WithFailedExports makes created tasks end as [cdn.ExportTaskFail], without a file.
func WithFailedExports() Option {
	return func(c *config) { c.failExports = true }
}

// WithLinkExpiry sets how long a download link is good for from the answer that contains it, an
// hour by default. It is rounded up to the next whole second by the server's clock.
func WithLinkExpiry(d time.Duration) Option {
	return func(c *config) { c.linkExpiry = d }
}

// WithContentMD5 sends the header Content-MD5 with every whole file.
func WithContentMD5() Option {
	return func(c *config) { c.contentMD5 = true }
}

// WithPageCap sets how many tasks a page holds at most, whatever limit was asked for: at least 1, by default
// 100, which is the largest limit.
func WithPageCap(n int) Option {
	return func(c *config) { c.pageCap = n }
}

// WithRequestLog sets how many requests [Server.Requests] remembers, the latest 10,000 by default,
// so that a server under load does not grow without end. With 0 it remembers none.
func WithRequestLog(n int) Option {
	return func(c *config) { c.requestLog = n }
}

// WithSampleTasks fills the new server with n tasks to look at, the same ones for the same time on
// the server's clock. From three on, one of them is unfinished and one has failed; the others are
// finished and have a file.
func WithSampleTasks(n int) Option {
	return func(c *config) { c.samples = n }
}

// newConfig applies the options to the defaults and checks the outcome.
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

// signer has the key pair that the server accepts.
func (c *config) signer() cdn.Signer {
	return cdn.Signer{AccessKey: c.ak, SecretKey: c.sk, SecurityToken: c.token}
}

func (c *config) check() error {
	switch {
	case c.clock == nil:
		return errors.New("WithClock: no clock")
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
