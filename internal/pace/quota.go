package pace

import (
	"fmt"
	"time"
)

// Source tells how a quota became known.
type Source int

// The sources of a quota.
const (
	// Measured quotas are estimated from when requests were refused and accepted.
	Measured Source = iota
	// FromRetryAfter quotas are estimated too, with Retry-After in place of probes.
	FromRetryAfter
	// FromText quotas are the service's own numbers, in the text of a 429.
	FromText
)

// Quota is how many requests the service accepts in a period.
type Quota struct {
	Requests int           // 0 if nothing is known yet but that requests were refused
	Per      time.Duration // length of the service's window, or of the measurement
	Source   Source
}

// String returns the quota and its source, as "20 requests per 1m0s (from the 429's text)".
func (q Quota) String() string {
	if q.Requests == 0 {
		return "a quota not known yet"
	}
	noun := "requests"
	if q.Requests == 1 {
		noun = "request"
	}
	return fmt.Sprintf("%d %s per %v (%s)", q.Requests, noun, readable(q.Per), q.Source)
}

// String returns the source as a phrase for a log.
func (s Source) String() string {
	switch s {
	case FromText:
		return "from the 429's text"
	case FromRetryAfter:
		return "measured with Retry-After"
	default:
		return "measured"
	}
}

// readable returns d without digits that say nothing.
func readable(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second / 10)
}

// NoTurnError reports that the turn of a request cannot come before its deadline. The request was not sent.
type NoTurnError struct {
	Quota Quota         // the quota that is kept
	Wait  time.Duration // the expected wait from the moment of the error, rounded to 0.1 s, or to 1 ms below 1 s
}

// Error returns the expected wait and the quota.
func (e *NoTurnError) Error() string {
	return fmt.Sprintf("no turn in time: the expected wait is %v under %s", e.Wait, e.Quota)
}

// maxTold is how many quotas a pacer remembers to have told. More than one may be in force at once.
const maxTold = 8

// isNear reports whether q and other are of one source, and neither is three times the other. Measured quotas
// vary as other clients come and go. Quotas from a text must be equal.
func (q Quota) isNear(other Quota) bool {
	if q.Source == FromText || q.Source != other.Source || other.Requests == 0 {
		return q == other
	}
	ratio := q.rate() / other.rate()
	return ratio > 1.0/3 && ratio < 3
}

func (q Quota) rate() float64 { return float64(q.Requests) / q.Per.Seconds() }
