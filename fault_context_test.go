package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/huaweicloud/cdn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContext_ended_before_the_request_sends_nothing(t *testing.T) {
	for name, call := range faultCalls {
		for _, when := range []string{"before the call", "in the rate limiter"} {
			t.Run(name+" "+when, func(t *testing.T) {
				server := newFaultServer(t, false)
				defer server.close()
				server.start(responding("200 OK", faultResponse))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if when == "before the call" {
					cancel()
				}
				client, err := cdn.NewCdnClient(
					cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey), cdn.WithEndpoint("http://"+server.address),
					cdn.WithRateLimiter(endingLimiter(cancel)))
				require.NoError(t, err)

				err = call(ctx, client)
				require.ErrorIs(t, err, context.Canceled)
				assert.NotErrorIs(t, err, cdn.ErrOutcomeUnknown)
				assert.Zero(t, server.connections.Load())
			})
		}
	}
}

// endingLimiter ends the context of the call and reports no error.
type endingLimiter context.CancelFunc

func (l endingLimiter) Wait(context.Context) error {
	l()
	return nil
}

func TestContext_ended_in_an_attempt_error_wraps_its_cause_too(t *testing.T) {
	why := errors.New("shutting down")
	for _, attempts := range []int{1, 4} {
		for name, call := range faultCalls {
			t.Run(fmt.Sprint(name, attempts), func(t *testing.T) {
				server := newFaultServer(t, false)
				defer server.close()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				server.start(func(c *faultConn) {
					c.readRequest()
					cancel(why)
					c.hold()
				})
				client, err := cdn.NewCdnClient(
					cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey), cdn.WithEndpoint("http://"+server.address),
					cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: attempts}))
				require.NoError(t, err)

				err = call(ctx, client)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, why)
				assert.Equal(t, name == "create", errors.Is(err, cdn.ErrOutcomeUnknown))
			})
		}
	}
}
