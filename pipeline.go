package cdn

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/huaweicloud/cdn/internal/pace"
	"example.com/huaweicloud/cdn/internal/retry"
)

// handler is one step of a call. It returns nil only if call.response is a success that decoded.
type handler func(ctx context.Context, c *call) error

// newPipeline returns the handler that makes a whole call. Each step calls the next one, so the order of this
// function, read upwards, is the order in which a request passes them.
func newPipeline(o *options, clock *clock, pacer *pace.Pacer) handler {
	keys := o.credentialSource(clock.now)
	// One request to the user's *http.Client, within the timeout of one attempt.
	next := newSender(o).send
	// Each attempt has a signature of its own, since a signature is valid for 15 minutes.
	next = signing(keys, clock, next)
	if o.rateLimiter != nil {
		// A limiter counts requests, so it is asked before each. Its delay is not part of the attempt.
		next = limiting(o.rateLimiter, next)
	}
	// A call waits for its turn under the quota before it is signed, since the wait may take minutes.
	next = pacing(pacer, o.retryPolicy.MaxThrottleWait, next)
	// New temporary credentials are fetched before the clock is corrected: if both are wrong, the second signature
	// with the corrected clock is the first with the new credentials.
	next = refreshing(keys, next)
	// A wrong clock is corrected before a retry is considered, since no retry corrects it.
	next = correcting(clock, o.logger, next)
	return retrying(o.retryPolicy, &retry.Budget{}, o.logger, next)
}

// errSignedTooLate is the error of a request whose turn to be signed came after operation.signBy.
var errSignedTooLate = errors.New("the time to send the request is over")

// signing signs the request of the next attempt. It does not sign after operation.signBy.
func signing(keys *credentialSource, clock *clock, next handler) handler {
	return func(ctx context.Context, c *call) error {
		c.sent = false
		credentials, err := keys.get(ctx)
		if err != nil {
			return err
		}
		now := clock.nowFor(c).Round(0) // by the wall clock: the monotonic one may stand still while a machine is suspended
		if !c.signBy.IsZero() && now.After(c.signBy) {
			c.sent, c.response = false, nil
			return errSignedTooLate
		}
		req := c.newRequest()
		if credentials.domainID != "" {
			req.Header.Set("X-Domain-Id", credentials.domainID)
		}
		if err := credentials.signer.sign(req, now); err != nil {
			return err
		}
		c.keys, c.request = credentials, req
		_, signature, _ := strings.Cut(req.Header.Get(headerAuthorization), "Signature=")
		c.secrets = append(c.secrets[:0], signature)
		if token := credentials.signer.SecurityToken; token != "" {
			c.secrets = append(c.secrets, token)
		}
		return next(ctx, c)
	}
}

// RateLimiter delays requests to keep a quota. The type *rate.Limiter of golang.org/x/time/rate implements it.
type RateLimiter interface {
	// Wait returns nil when the next request may be sent, or an error if ctx ends first. The call returns that
	// error, and nothing is sent. Wait must be safe for concurrent use.
	Wait(ctx context.Context) error
}

// limiting waits for the user's rate limiter.
func limiting(limiter RateLimiter, next handler) handler {
	return func(ctx context.Context, c *call) error {
		c.sent = false
		err := limiter.Wait(ctx)
		if err == nil {
			return next(ctx, c)
		}
		// *rate.Limiter returns this text if the turn would come after the deadline.
		if strings.Contains(err.Error(), "would exceed context deadline") {
			err = fmt.Errorf("%w: %w", err, context.DeadlineExceeded)
		}
		return fmt.Errorf("wait for the rate limiter: %w", err)
	}
}
