package servicemodel

import "time"

// Window says how the gateway counts the requests of a quota.
type Window int

// The kinds of window.
const (
	Fixed   Window = iota // N requests from one full period to the next
	Sliding               // N requests in any period
	Bucket                // a bucket of N tokens that refills evenly in one period
)

// Hint says what a refusal tells of the quota.
type Hint int

// The kinds of hint.
const (
	HintText       Hint = iota // the gateway's text with limit and time
	HintRetryAfter             // Retry-After, and a text without numbers
	HintNone                   // neither
)

// Quota is the throttling policy of the gateway. It is off if N is 0.
type Quota struct {
	N            int
	Per          time.Duration
	Window       Window
	Hint         Hint
	CountRefused bool // refused requests count as well
}

// limiter counts requests against a quota.
type limiter struct {
	Quota
	times  []time.Time // fixed and sliding: the requests that count
	level  float64     // bucket: the tokens at since
	since  time.Time
	window int64 // fixed: the number of the current window
}

func newLimiter(q Quota, now time.Time) *limiter {
	return &limiter{Quota: q, level: float64(q.N), since: now}
}

// admit reports whether a request at now is within the quota, and how long to wait if it is not.
func (l *limiter) admit(now time.Time) (wait time.Duration, ok bool) {
	switch {
	case l.N == 0:
		return 0, true
	case l.Window == Bucket:
		return l.admitToken(now)
	}
	l.forget(now)
	ok = len(l.times) < l.N
	if ok || l.CountRefused {
		l.times = append(l.times, now)
	}
	switch {
	case ok:
		return 0, true
	case l.Window == Fixed:
		return l.Per - time.Duration(now.UnixNano()%int64(l.Per)), false
	}
	return l.times[len(l.times)-l.N].Add(l.Per).Sub(now), false
}

// forget drops the requests that no longer count.
func (l *limiter) forget(now time.Time) {
	if l.Window == Fixed {
		if window := now.UnixNano() / int64(l.Per); window != l.window {
			l.window, l.times = window, l.times[:0]
		}
		return
	}
	keep := 0
	for keep < len(l.times) && now.Sub(l.times[keep]) >= l.Per {
		keep++
	}
	l.times = l.times[keep:]
}

func (l *limiter) admitToken(now time.Time) (wait time.Duration, ok bool) {
	perToken := l.Per / time.Duration(l.N)
	l.level = min(float64(l.N), l.level+float64(now.Sub(l.since))/float64(perToken))
	l.since = now
	const exact = 1 - 1e-9 // a token that is due at this very moment may be rounded down
	if l.level >= exact {
		l.level--
		return 0, true
	}
	if l.CountRefused {
		l.level = max(0, l.level-1)
	}
	return time.Duration((1 - l.level) * float64(perToken)), false
}
