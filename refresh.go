package cdn

import (
	"context"
	"errors"
)

// refreshing sends a call again, once, if the service refuses temporary credentials and other ones can be fetched.
// The source may have replaced them before they expired. The CDN has not seen a refused request, so a create is sent
// again too. The same credentials are not tried again: more than five refused signatures in a row lock an access key.
func refreshing(keys *credentialSource, next handler) handler {
	return func(ctx context.Context, c *call) error {
		err := next(ctx, c)
		if !errors.Is(err, ErrUnauthorized) {
			return err
		}
		if _, ok := keys.refetch(ctx, c.keys); !ok {
			return err
		}
		c.previous = err
		return next(ctx, c) // signing takes the new ones
	}
}
