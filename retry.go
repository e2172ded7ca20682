package cdn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// RetryPolicy says how a call is tried again. The zero value, and each field that is zero, means the
// default.
//
// Listing and getting are tried again after connection errors, time-outs of one attempt, and the
// statuses 429, 500, 502, 503 and 504. Creating is not idempotent and is tried again only where the service cannot
// have accepted it: the request was not written, 429, or 503 with Retry-After. Nothing else is tried
// again: other statuses, TLS and certificate errors, malformed answers, or a context that has ended.
//
// Each pause is drawn at random from 0 to a bound that begins at MinBackoff and doubles up to
// MaxBackoff (full jitter). A Retry-After, in seconds or as a date, takes the place of the pause, however long the policy's own
// may be; a call returns at once where the pause could not end before its context's deadline, or
// would be longer than 10 minutes.
//
// All calls of a client share a budget of 500 tokens: a retry takes 5, or the call returns as it is;
// a call that succeeds gives back what its last retry took, or 1 where it needed none. So a service
// that answers nothing sees 100 retries of a client, then one for each five calls that succeed.
type RetryPolicy struct {
	// MaxAttempts is how many requests a call may send, the first one included; 0 means 4, and 1
	// turns retries off.
	MaxAttempts int
	// MinBackoff is the longest that the first pause can be; 0 means 500 ms, or MaxBackoff where that
	// is shorter.
	MinBackoff time.Duration
	// MaxBackoff is the longest that any pause can be, without Retry-After; 0 means 20 s, or
	// MinBackoff where that is longer.
	MaxBackoff time.Duration
	// AttemptTimeout bounds one attempt, from dialling to the last byte of the answer; 0 means 30 s.
	// The context of a call bounds all its attempts and pauses together.
	AttemptTimeout time.Duration
}

// maxRetryAfter is the longest pause that a call makes because the service asks for it.
const maxRetryAfter = 10 * time.Minute

// withDefaults is the policy with its zero fields filled in.
func (p RetryPolicy) withDefaults() (RetryPolicy, error) {
	switch {
	case p.MaxAttempts < 0:
		return p, invalid("RetryPolicy.MaxAttempts", p.MaxAttempts, "must not be negative")
	case p.MinBackoff < 0:
		return p, invalid("RetryPolicy.MinBackoff", p.MinBackoff, "must not be negative")
	case p.MaxBackoff < 0 || p.MaxBackoff > 0 && p.MaxBackoff < p.MinBackoff:
		return p, invalid("RetryPolicy.MaxBackoff", p.MaxBackoff, "must not be negative or less than MinBackoff")
	case p.AttemptTimeout < 0:
		return p, invalid("RetryPolicy.AttemptTimeout", p.AttemptTimeout, "must not be negative")
	}
	setDefault(&p.MaxAttempts, 4)
	setDefault(&p.MaxBackoff, max(20*time.Second, p.MinBackoff))
	setDefault(&p.MinBackoff, min(500*time.Millisecond, p.MaxBackoff))
	setDefault(&p.AttemptTimeout, 30*time.Second)
	return p, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// retrying sends a request again where that is safe and may help.
type retrying struct {
	next   http.RoundTripper
	policy RetryPolicy
	budget *retryBudget
	logger *slog.Logger
}

func (r *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, call := req.Context(), callOf(req)
	pauses := r.newPauses(ctx)
	resp, err := backoff.Retry(ctx, func() (*http.Response, error) {
		sent := call.attempts
		resp, err := r.next.RoundTrip(req)
		reason := retryReason(req, resp, err)
		switch {
		case call.attempts == sent, reason == nil, ctx.Err() != nil:
			return resp, final(err)
		}
		pauses.retryAfter = retryAfterOf(resp, time.Now())
		return resp, reason
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(uint(r.policy.MaxAttempts)), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(reason error, pause time.Duration) {
			r.logRetry(ctx, call, reason, pause)
			noteFailure(ctx, call, reason)
		}))
	return r.outcome(ctx, call, resp, err)
}

// outcome is what the call ends with: the last answer, or the last attempt's error, or the end of
// the context.
func (r *retrying) outcome(ctx context.Context, call *call, resp *http.Response, err error) (*http.Response, error) {
	// Of the last attempt, backoff.Retry hands the mark of final over.
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	var status retryableStatus
	switch {
	case err == nil:
		if isSuccess(resp.StatusCode) {
			r.budget.succeeded(call.attempts > 1)
		}
		return resp, nil
	case errors.As(err, &status):
		return resp, nil
	case ctx.Err() != nil:
		return nil, endOf(ctx)
	}
	return nil, err
}

func (r *retrying) logRetry(ctx context.Context, call *call, reason error, pause time.Duration) {
	r.logger.LogAttrs(ctx, slog.LevelWarn, "cdn: retry",
		slog.String("operation", call.operation),
		slog.Int("attempt", call.attempts),
		slog.Duration("pause", pause),
		slog.String("reason", call.withoutSecrets(reason.Error())))
}

type failureKey struct{}

// withFailures has note called with each failure that a call is tried again after.
func withFailures(ctx context.Context, note func(error)) context.Context {
	return context.WithValue(ctx, failureKey{}, note)
}

func noteFailure(ctx context.Context, call *call, reason error) {
	note, ok := ctx.Value(failureKey{}).(func(error))
	if !ok {
		return
	}
	if call.answer != nil && !isSuccess(call.answer.status) {
		reason = inner(call.apiError())
	}
	note(reason)
}

// final keeps backoff.Retry from trying again.
func final(err error) error {
	if err == nil {
		return nil
	}
	return backoff.Permanent(err)
}

// pauses draws the pauses of one call. It stops the call where the next one would be in vain.
type pauses struct {
	ctx         context.Context
	exponential *backoff.ExponentialBackOff
	retryAfter  time.Duration // what the last answer asked for; 0 for nothing
	budget      *retryBudget
}

func (r *retrying) newPauses(ctx context.Context) *pauses {
	return &pauses{ctx: ctx, budget: r.budget, exponential: newBackOff(r.policy)}
}

// newBackOff draws pauses with full jitter: with a randomization factor of 1 the library draws from 0
// to twice its interval.
func newBackOff(policy RetryPolicy) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     policy.MinBackoff / 2,
		MaxInterval:         policy.MaxBackoff / 2,
		Multiplier:          2,
		RandomizationFactor: 1,
	}
}

// Reset begins anew, for [backoff.BackOff].
func (p *pauses) Reset() { p.exponential.Reset() }

// NextBackOff is the next pause, for [backoff.BackOff].
func (p *pauses) NextBackOff() time.Duration {
	pause := p.exponential.NextBackOff()
	if p.retryAfter > 0 {
		pause = p.retryAfter
	}
	deadline, bounded := p.ctx.Deadline()
	switch {
	case bounded && time.Until(deadline) <= pause, pause > maxRetryAfter, !p.budget.take():
		return backoff.Stop
	}
	return pause
}

// retryableStatus is the reason to retry after an answer.
type retryableStatus int

func (s retryableStatus) Error() string { return "status " + strconv.Itoa(int(s)) }

// retryReason says why req may be sent again after it came to this end, or nil.
func retryReason(req *http.Request, resp *http.Response, err error) error {
	idempotent := req.Method == http.MethodGet
	if err != nil {
		if wasNotSent(err) || idempotent && mayPass(err) {
			return err
		}
		return nil
	}
	status := retryableStatus(resp.StatusCode)
	switch {
	case idempotent && isRetryable(resp.StatusCode),
		status == http.StatusTooManyRequests,
		status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return status
	}
	return nil
}

// isRetryable reports whether the same request may be answered otherwise the next time.
func isRetryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// mayPass reports whether a connection failed in a way that the next one may not.
func mayPass(err error) bool {
	var lookup *net.DNSError
	var operation *net.OpError
	var header textproto.ProtocolError // an answer that was cut within a line of its header
	switch {
	case isTLSFault(err):
		return false
	case errors.As(err, &lookup):
		return !lookup.IsNotFound
	case isTimeout(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, &operation), errors.As(err, &header):
		return true
	}
	// net/http does not export the errors of its HTTP/2: a stream that was reset, a connection that
	// was lost or is going away.
	text := err.Error()
	return strings.Contains(text, "http2: ") || strings.Contains(text, "stream error: ")
}

// isTLSFault reports whether the two sides could not agree on a secure connection, which another
// attempt would not change.
func isTLSFault(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var operation *net.OpError
	switch {
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert):
		return true
	case errors.As(err, &operation):
		// crypto/tls wraps the alerts of both sides in these.
		return operation.Op == "remote error" || operation.Op == "local error"
	}
	return false
}

// errNotSent marks the error of an attempt whose request was not written, not even in part.
var errNotSent = errors.New("the request was not sent")

// wasNotSent reports whether the service cannot have seen the request.
func wasNotSent(err error) bool { return errors.Is(err, errNotSent) && mayPass(err) }

// endOf is the error for a context that has ended. It is the context's own error, and the cause that
// whoever ended it gave.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// retryAfterOf is the pause that an answer asks for; 0 where there is no answer or it asks for none.
func retryAfterOf(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	return parseRetryAfter(resp.Header, now)
}

// parseRetryAfter reads Retry-After in either of its forms. A date counts from the answer's own Date,
// so that a clock of ours that is off does no harm.
func parseRetryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		const limit = uint64(365 * 24 * time.Hour / time.Second)
		return time.Duration(min(seconds, limit)) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if answered, err := http.ParseTime(header.Get("Date")); err == nil {
		now = answered
	}
	return max(0, date.Sub(now))
}

const (
	budgetTokens = 500
	retryCost    = 5
)

// retryBudget bounds the retries of all calls of a client, so that a service in trouble does not see
// its load multiplied. The rule and the numbers are those of the AWS SDK's standard retryer.
type retryBudget struct {
	spent atomic.Int64
}

// take pays for a retry and reports whether the budget was enough.
func (b *retryBudget) take() bool {
	if b.spent.Add(retryCost) <= budgetTokens {
		return true
	}
	b.spent.Add(-retryCost)
	return false
}

// succeeded gives back what a call's last retry took, or a token where it needed none.
func (b *retryBudget) succeeded(afterRetry bool) {
	refund := int64(1)
	if afterRetry {
		refund = retryCost
	}
	for {
		spent := b.spent.Load()
		if spent == 0 || b.spent.CompareAndSwap(spent, max(0, spent-refund)) {
			return
		}
	}
}
