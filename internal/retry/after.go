package retry

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAfter bounds what After returns.
const maxAfter = 365 * 24 * time.Hour

// After returns the delay that a response's Retry-After asks for: seconds, rounded up, or a date. It returns 0
// if there is none, and a year at most. A date counts from the response's own Date, so a wrong local clock
// does no harm; without a Date it counts from now.
func After(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if isNumber(value) {
		return afterSeconds(value)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(0, date.Sub(now)), maxAfter)
}

// isNumber reports whether value consists of digits and at most one point.
func isNumber(value string) bool {
	whole, fraction, _ := strings.Cut(value, ".")
	return whole != "" && strings.Trim(whole+fraction, "0123456789") == ""
}

// afterSeconds returns a number of seconds, of any length, as a duration of whole seconds.
func afterSeconds(value string) time.Duration {
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || seconds >= maxAfter.Seconds() { // an error is one of range: value is all digits
		return maxAfter
	}
	return time.Duration(math.Ceil(seconds)) * time.Second
}
