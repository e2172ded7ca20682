// Package pacetest models the quotas of gateways, for tests.
package pacetest

import (
	"fmt"
	"sync"
	"time"
)

// Kind is how a gateway counts.
type Kind int

// The kinds of windows.
const (
	FixedClock Kind = iota // a fixed window that begins when the clock shows a multiple of Per
	FixedFirst             // a fixed window that begins with the first request after the last window
	Sliding                // the last Per, at every moment
	Bucket                 // N tokens at most, N new ones per Per
)

// Kinds returns all kinds of windows.
func Kinds() []Kind { return []Kind{FixedClock, FixedFirst, Sliding, Bucket} }

// String returns the kind for a table.
func (k Kind) String() string {
	return [...]string{"fixed, by the clock", "fixed, from the first request", "sliding", "token bucket"}[k]
}

// Limiter accepts N requests per Per. It is safe for concurrent use.
type Limiter struct {
	Kind         Kind
	N            int
	Per          time.Duration
	RefusedCount bool // refused requests use the quota too

	mu     sync.Mutex
	start  time.Time // of the fixed window, or of the last refill
	count  int       // in the fixed window
	tokens float64
	log    []time.Time
}

// Allow reports whether a request at now is accepted. If not, it returns after what time the next one will
// be, if nothing else is sent until then. The times of the calls must not decrease.
func (l *Limiter) Allow(now time.Time) (ok bool, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.Kind {
	case FixedClock:
		return l.fixed(now, now.Truncate(l.Per))
	case FixedFirst:
		if start := l.start; !start.IsZero() && now.Sub(start) < l.Per {
			return l.fixed(now, start)
		}
		return l.fixed(now, now)
	case Sliding:
		return l.sliding(now)
	case Bucket:
		return l.bucket(now)
	}
	panic(fmt.Sprintf("pacetest: unknown kind %d", l.Kind))
}

// Text returns the text of a refusal, in the gateway's words.
func (l *Limiter) Text() string {
	unit, count := "second", int(l.Per/time.Second)
	if l.Per%time.Minute == 0 {
		unit, count = "minute", int(l.Per/time.Minute)
	}
	return fmt.Sprintf("The throttling threshold has been reached: policy user over ratelimit,limit:%d,time:%d %s", l.N, count, unit)
}

func (l *Limiter) fixed(now, start time.Time) (bool, time.Duration) {
	if !l.start.Equal(start) {
		l.start, l.count = start, 0
	}
	ok := l.count < l.N
	if ok || l.RefusedCount {
		l.count++
	}
	return ok, start.Add(l.Per).Sub(now)
}

func (l *Limiter) sliding(now time.Time) (bool, time.Duration) {
	for len(l.log) > 0 && now.Sub(l.log[0]) >= l.Per {
		l.log = l.log[1:]
	}
	ok := len(l.log) < l.N
	if ok || l.RefusedCount {
		l.log = append(l.log, now)
	}
	return ok, l.log[max(0, len(l.log)-l.N)].Add(l.Per).Sub(now)
}

func (l *Limiter) bucket(now time.Time) (bool, time.Duration) {
	rate := float64(l.N) / float64(l.Per)
	if l.start.IsZero() {
		l.start, l.tokens = now, float64(l.N)
	}
	l.tokens = min(float64(l.N), l.tokens+rate*float64(now.Sub(l.start)))
	l.start = now
	const rounding = 1e-9
	ok := l.tokens >= 1-rounding
	switch {
	case ok:
		l.tokens--
	case l.RefusedCount:
		l.tokens = 0
	}
	return ok, time.Duration(max(0, 1-l.tokens) / rate)
}
