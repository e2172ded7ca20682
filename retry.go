package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"
)

// RetryPolicy sets how calls are retried; see [WithRetryPolicy]. A field that is zero means its default.
//
// Listing and getting are retried after connection errors, timeouts of one attempt, the statuses 408, 500, 502,
// 503 and 504, and the code CDN.0000. A create is not idempotent: it is retried only if the request was not
// written. Every call is sent again after the gateway has refused it before the CDN saw it: after a 429 as soon as the
// quota allows it, once after a refusal that shows a wrong local clock, and once after a refusal of temporary
// credentials if new ones can be fetched. Nothing else is retried: other statuses, TLS and certificate errors,
// malformed responses, or a context that has ended.
//
// Each delay is drawn at random from 0 to a bound that begins at MinBackoff and doubles up to MaxBackoff (full
// jitter). A Retry-After, in seconds or as a date, is added to it. A call returns at once if the delay cannot
// end before its context's deadline, or if Retry-After asks for more than 10 minutes.
//
// All calls of a client share a budget of 500 tokens: a retry takes 5, or the call returns with its last error;
// a call that succeeds returns the 5 tokens of its last retry, or 1 if it needed none. So a service that is down
// receives 100 retries of a client, then one for each five calls that succeed.
type RetryPolicy struct {
	// MaxAttempts is the highest number of attempts of a call, the first one included; 0 means 4. 1 turns retries
	// off.
	MaxAttempts int
	// MinBackoff is the upper bound of the first delay; 0 means 500 ms, or MaxBackoff if that is shorter.
	MinBackoff time.Duration
	// MaxBackoff is the upper bound of every delay, without Retry-After; 0 means 20 s, or MinBackoff if that is
	// longer.
	MaxBackoff time.Duration
	// AttemptTimeout bounds one attempt, from dialling to the last byte of the response; 0 means 30 s.
	// The context of a call bounds all its attempts and delays together.
	AttemptTimeout time.Duration
	// MaxThrottleWait bounds how long a call waits for its turn under the account's quota; 0 means 15 minutes.
	// A request that is refused for the quota is not an attempt: the call waits for its next turn. If the
	// turn cannot come in time, the call returns [ErrThrottled] at once.
	MaxThrottleWait time.Duration
}

// maxRetryAfter is the longest delay that a call makes because the service asks for it.
const maxRetryAfter = 10 * time.Minute

// withDefaults returns the policy with its zero fields filled in.
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
	case p.MaxThrottleWait < 0:
		return p, invalid("RetryPolicy.MaxThrottleWait", p.MaxThrottleWait, "must not be negative")
	}
	setDefault(&p.MaxAttempts, 4)
	setDefault(&p.MaxBackoff, max(20*time.Second, p.MinBackoff))
	setDefault(&p.MinBackoff, min(500*time.Millisecond, p.MaxBackoff))
	setDefault(&p.AttemptTimeout, 30*time.Second)
	setDefault(&p.MaxThrottleWait, 15*time.Minute)
	return p, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// errBudgetSpent is added to a failure that is not retried because of the budget.
var errBudgetSpent = errors.New("not retried: the client's retry budget is spent")

// retrying sends a call again, after a delay, while that is safe and may help.
func retrying(policy RetryPolicy, budget *retry.Budget, logger *slog.Logger, next handler) handler {
	return func(ctx context.Context, c *call) error {
		backoff := retry.NewBackoff(policy.MinBackoff, policy.MaxBackoff)
		for attempt := 1; ; attempt++ {
			before := c.requests
			err := next(ctx, c)
			if err == nil {
				budget.Refund(attempt > 1)
				return nil
			}
			if c.requests == before || ctx.Err() != nil || !isRetryable(c, err) || attempt == policy.MaxAttempts {
				return err
			}
			retryAfter := retryAfterOf(err)
			delay := retryAfter + backoff.Next()
			if retryAfter > maxRetryAfter || !retry.Fits(ctx, delay) {
				return err
			}
			if !budget.Take() {
				logger.LogAttrs(ctx, slog.LevelWarn, "cdn: the retry budget is spent", slog.String("operation", c.name))
				return fmt.Errorf("%w; %w", err, errBudgetSpent)
			}
			logRetry(ctx, logger, c, err, delay)
			c.previous = err
			if c.onRetry != nil {
				c.onRetry(err)
			}
			if !retry.Sleep(ctx, delay) {
				c.sent, c.response = false, nil
				return endOf(ctx)
			}
		}
	}
}

// isRetryable reports whether another attempt is safe and may succeed after err. A create is sent again only if the
// service cannot have received it.
func isRetryable(c *call, err error) bool {
	var response *APIError
	var broken *brokenResponse
	switch {
	case errors.Is(err, ErrThrottled): // pacing has waited already
		return false
	case errors.As(err, &response):
		return c.idempotent() && response.transient()
	case errors.As(err, &broken):
		return c.idempotent() && retry.IsTransient(broken.cause)
	case errors.Is(err, ErrMalformedResponse):
		return false
	case c.idempotent() || !c.sent:
		return retry.IsTransient(err)
	}
	return false
}

// retryAfterOf returns the delay that a response asks for, or 0.
func retryAfterOf(err error) time.Duration {
	var response *APIError
	if !errors.As(err, &response) {
		return 0
	}
	return response.RetryAfter
}

func logRetry(ctx context.Context, logger *slog.Logger, c *call, reason error, delay time.Duration) {
	text := c.withoutSecrets(withoutURL(reason).Error())
	if c.response != nil && !isSuccess(c.response.status) {
		text = "status " + strconv.Itoa(c.response.status)
	}
	logger.LogAttrs(ctx, slog.LevelWarn, "cdn: retry",
		slog.String("operation", c.name),
		slog.Int("attempt", c.requests),
		slog.Duration("pause", delay),
		slog.String("reason", text))
}
