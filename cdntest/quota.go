package cdntest

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const throttledText = "The throttling threshold has been reached: policy user over ratelimit"

// QuotaWindow says how a quota counts requests over time.
type QuotaWindow int

const (
	// SlidingWindow accepts a request if fewer than n arrived during the period before it. It is the
	// default, and the hardest on clients: one that repeats refused requests too fast is never let in.
	SlidingWindow QuotaWindow = iota
	// FixedWindow accepts the first n requests of each period. A period begins with the first request
	// after the last period's end.
	FixedWindow
	// TokenBucket accepts a request if there is a token for it. The bucket holds n tokens at first and
	// at most; a new one comes every period/n. A refused request takes a token too, so that the bucket
	// can be as many as n tokens short.
	TokenBucket
)

// WithQuota allows n requests to the API in each period per, at least 1 in at least a nanosecond. Lists
// and creates count together, and refused requests count too, as the service is said to count them.
// Downloads do not count, nor do requests whose signature is refused, nor those whose response an
// injected fault replaces. By default there is no quota.
//
// A request over the quota gets the gateway's 429 with the code APIGW.0308 and the text "The throttling
// threshold has been reached: policy user over ratelimit,limit:20,time:1 minute". There is no header
// Retry-After, since none is confirmed of the service. The gateway counts whole seconds and minutes: if
// per is another time, the text names neither limit nor time.
func WithQuota(n int, per time.Duration) Option {
	return func(c *config) { c.quota = true; c.quotaLimit, c.quotaPer = n, per }
}

// WithQuotaWindow sets how [WithQuota] counts, [SlidingWindow] by default. The service's own way is not
// documented.
func WithQuotaWindow(w QuotaWindow) Option {
	return func(c *config) { c.quotaWindow = w }
}

func (c *config) checkQuota() error {
	if c.quotaWindow < SlidingWindow || c.quotaWindow > TokenBucket {
		return fmt.Errorf("WithQuotaWindow: %d is no window", c.quotaWindow)
	}
	if !c.quota {
		return nil
	}
	if c.quotaLimit < 1 {
		return fmt.Errorf("WithQuota: %d requests: must be at least 1", c.quotaLimit)
	}
	if c.quotaPer <= 0 {
		return fmt.Errorf("WithQuota: %v: must be positive", c.quotaPer)
	}
	return nil
}

// quota counts requests. A nil quota accepts all.
type quota struct {
	mu     sync.Mutex
	window window
}

// window counts a request at now and reports whether it is within the quota.
type window interface{ take(now time.Time) bool }

func newQuota(c config) *quota {
	if !c.quota {
		return nil
	}
	return &quota{window: newWindow(c.quotaWindow, c.quotaLimit, c.quotaPer)}
}

func newWindow(kind QuotaWindow, limit int, per time.Duration) window {
	switch kind {
	case FixedWindow:
		return &fixedWindow{limit: limit, per: per}
	case TokenBucket:
		return &tokenBucket{every: per / time.Duration(limit), per: per}
	default:
		return &slidingWindow{limit: limit, per: per}
	}
}

func (q *quota) take(now time.Time) bool {
	if q == nil {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.window.take(now)
}

// slidingWindow is a ring of the times of the latest requests.
type slidingWindow struct {
	limit  int
	per    time.Duration
	latest []time.Time
	oldest int // the index in latest, once it is full
}

func (w *slidingWindow) take(now time.Time) bool {
	if len(w.latest) < w.limit {
		w.latest = append(w.latest, now)
		return true
	}
	allowed := !w.latest[w.oldest].After(now.Add(-w.per))
	w.latest[w.oldest] = now
	w.oldest = (w.oldest + 1) % w.limit
	return allowed
}

type fixedWindow struct {
	limit int
	per   time.Duration
	end   time.Time
	used  int
}

func (w *fixedWindow) take(now time.Time) bool {
	if !now.Before(w.end) {
		w.end, w.used = now.Add(w.per), 0
	}
	w.used++
	return w.used <= w.limit
}

// tokenBucket keeps the time at which the bucket is full again, which says how many tokens it holds.
type tokenBucket struct {
	every time.Duration // between two tokens
	per   time.Duration
	full  time.Time
}

func (b *tokenBucket) take(now time.Time) bool {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(b.every)
	missing := b.full.Sub(now)
	if missing > 2*b.per { // n tokens short
		b.full = now.Add(2 * b.per)
	}
	return missing <= b.per
}

// throttled refuses a request over the quota as the gateway does.
func (s *service) throttled(w http.ResponseWriter) {
	gatewayError(w, http.StatusTooManyRequests, codeThrottled, throttledText+quotaText(s.quotaLimit, s.quotaPer))
}

// quotaText returns the quota as the gateway's text has it, empty if per is no whole number of seconds.
func quotaText(n int, per time.Duration) string {
	switch {
	case per%time.Minute == 0:
		return fmt.Sprintf(",limit:%d,time:%d minute", n, per/time.Minute)
	case per%time.Second == 0:
		return fmt.Sprintf(",limit:%d,time:%d second", n, per/time.Second)
	default:
		return ""
	}
}
