package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/huaweicloud/cdn/internal/pace"
)

// newPacer returns a pacer that logs each quota that it learns.
func newPacer(logger *slog.Logger) *pace.Pacer {
	return pace.New(pace.Config{OnLearn: func(quota pace.Quota) {
		logger.Warn("cdn: requests are refused for the account's quota, pacing them", "quota", quota.String())
	}})
}

// pacing waits for the call's turn under the account's quota, and again each time that the service refuses the
// request for the quota. A refused request is not an attempt.
func pacing(pacer *pace.Pacer, maxWait time.Duration, next handler) handler {
	return func(ctx context.Context, c *call) error {
		if c.waitsUntil.IsZero() {
			c.waitsUntil = time.Now().Add(maxWait)
		}
		class := pace.Normal
		if c.poll {
			class = pace.Poll
		}
		var refusal error
		for {
			began := time.Now()
			turn, err := pacer.Wait(ctx, class, c.waitsUntil)
			if err != nil {
				return noTurn(ctx, err, refusal)
			}
			c.waited = time.Since(began)
			refused, err := sendInTurn(ctx, c, turn, next)
			if !refused {
				return err
			}
			refusal, c.previous = err, err
			if c.onRetry != nil {
				c.onRetry(err)
			}
		}
	}
}

// sendInTurn sends the request, and tells the pacer its outcome. It reports whether the service refused the request
// for the quota. If next panics the turn ends too, or no other call could have its place.
func sendInTurn(ctx context.Context, c *call, turn *pace.Turn, next handler) (refused bool, err error) {
	before := c.requests
	var hint pace.Hint
	defer func() {
		switch {
		case c.requests == before || !c.sent:
			turn.Unsent()
		case refused:
			turn.Refused(hint)
		default:
			turn.Allowed()
		}
	}()
	err = next(ctx, c)
	if c.requests > before && c.sent {
		hint, refused = hintOf(err)
	}
	return refused, err
}

// hintOf returns what a refusal for the quota tells about it. It reports false if err is none.
func hintOf(err error) (pace.Hint, bool) {
	var response *APIError
	if !errors.Is(err, ErrThrottled) || !errors.As(err, &response) {
		return pace.Hint{}, false
	}
	return pace.ParseHint(response.ErrorMsg, response.RetryAfter), true
}

// noTurn returns the error of a call whose turn cannot come in time, or whose context ended while it waited,
// with the refusal that it followed.
func noTurn(ctx context.Context, err, refusal error) error {
	var none *pace.NoTurnError
	switch {
	case ctx.Err() != nil:
		err = endOf(ctx)
	case errors.As(err, &none):
		err = &ThrottledError{Wait: none.Wait, Quota: none.Quota.String()}
	}
	if refusal == nil {
		return err
	}
	return fmt.Errorf("%w; the service refused it before: %w", err, refusal)
}
