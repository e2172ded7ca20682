package pace

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Hint is what a refusal tells about the quota. The zero value tells nothing.
type Hint struct {
	Requests   int           // requests per Per, 1 to 10,000; 0 if the text has no quota
	Per        time.Duration // 1 second to 31 days; 0 if the text has no quota
	RetryAfter time.Duration // the pause that the service asks for; 0 if it asks for none
}

// rate returns requests per second; 0 if the text has no quota.
func (h Hint) rate() float64 {
	if h.Requests == 0 {
		return 0
	}
	return float64(h.Requests) / h.Per.Seconds()
}

// Limits of what is taken for a quota, and of the text that is searched for one.
const (
	maxRequests = 10_000
	maxPer      = 31 * 24 * time.Hour
	maxText     = 4 << 10 // bytes
)

var (
	limitPattern = regexp.MustCompile(`(?i)\blimit:\s*([0-9]+)`)
	timePattern  = regexp.MustCompile(`(?i)\btime:\s*([0-9]*)\s*([a-z]*)`)
)

// ParseHint returns the hint in a refusal: its text, as "…,limit:20,time:1 minute", and its Retry-After.
// Without "time:" the quota is per second, as the service's section on throttling has it. Numbers that are
// zero or absurd, and units other than second, minute, hour and day, make no hint. Only the first 4 KiB of
// the text are read.
func ParseHint(text string, retryAfter time.Duration) Hint {
	hint := Hint{RetryAfter: max(0, retryAfter)}
	text = text[:min(len(text), maxText)]
	at := limitPattern.FindStringSubmatchIndex(text)
	if at == nil {
		return hint
	}
	requests, err := strconv.Atoi(text[at[2]:at[3]])
	if err != nil || requests < 1 || requests > maxRequests {
		return hint
	}
	per, ok := parsePeriod(text[at[1]:])
	if !ok {
		return hint
	}
	hint.Requests, hint.Per = requests, per
	return hint
}

// parsePeriod returns the period after "time:", one second without it, and false if it is no period.
func parsePeriod(text string) (time.Duration, bool) {
	found := timePattern.FindStringSubmatch(text)
	if found == nil {
		return time.Second, true
	}
	count, err := strconv.ParseInt(found[1], 10, 32)
	unit := unitOf(found[2])
	if err != nil || count < 1 || unit == 0 || count > int64(maxPer/unit) {
		return 0, false
	}
	return time.Duration(count) * unit, true
}

func unitOf(word string) time.Duration {
	switch strings.TrimSuffix(strings.ToLower(word), "s") {
	case "second":
		return time.Second
	case "minute":
		return time.Minute
	case "hour":
		return time.Hour
	case "day":
		return 24 * time.Hour
	}
	return 0
}
