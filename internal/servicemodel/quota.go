package servicemodel

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// Hint says what a refusal tells of the quota.
type Hint int

// The kinds of hint.
const (
	HintText       Hint = iota // the gateway's text with limit and time
	HintRetryAfter             // Retry-After, and a text without numbers
	HintNone                   // neither
)

// Hints returns all kinds of hints.
func Hints() []Hint { return []Hint{HintText, HintRetryAfter, HintNone} }

// String returns the hint for a table.
func (h Hint) String() string { return [...]string{"text", "Retry-After", "nothing"}[h] }

// Quota is the throttling policy of the gateway. It is off if Limiter is nil. Services may share a Limiter.
type Quota struct {
	Limiter *pacetest.Limiter
	Hint    Hint
}

// refuse returns the gateway's refusal of a request at now, or false if the request is within the quota.
func (q Quota) refuse(now time.Time) (outcome, bool) {
	if q.Limiter == nil {
		return outcome{}, false
	}
	ok, wait := q.Limiter.Allow(now)
	if ok {
		return outcome{}, false
	}
	text, header := "The throttling threshold has been reached", http.Header{}
	switch q.Hint {
	case HintText:
		text += fmt.Sprintf(": policy user over ratelimit,limit:%d,time:%s", q.Limiter.N, period(q.Limiter.Per))
	case HintRetryAfter:
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	body := fmt.Sprintf(`{"error_code":"APIGW.0308","error_msg":%q,"request_id":"r"}`, text)
	return outcome{status: http.StatusTooManyRequests, body: body, header: header, failed: true}, true
}

// period writes d as the gateway does.
func period(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minute", d/time.Minute)
	}
	return fmt.Sprintf("%d second", d/time.Second)
}
