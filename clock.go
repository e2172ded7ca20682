package cdn

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// maxClockError is how far the local clock may be from the service's before a refused signature is put down to
// it. The service itself refuses dates that are more than 15 minutes off.
const maxClockError = 5 * time.Minute

// clock is the local clock, corrected by what the service says of the time.
type clock struct {
	offset atomic.Int64 // in nanoseconds
	// rejected is the last offset whose signature was refused too; nil for none.
	rejected atomic.Pointer[rejection]
}

// rejection is an offset with which a signature was refused.
type rejection struct {
	offset time.Duration
	at     time.Time
}

// rejectionLifetime is how long a rejected offset is not tried again. More than five refused signatures in a row
// lock an access key for 5 minutes. The refusal may have had another cause, which may be mended by then.
const rejectionLifetime = 5 * time.Minute

// isRejected reports whether a signature with this offset was refused a short time ago.
func (c *clock) isRejected(offset time.Duration) bool {
	last := c.rejected.Load()
	return last != nil && time.Since(last.at) < rejectionLifetime && isNear(offset, last.offset)
}

// now returns the corrected time.
func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// nowFor returns the time for a call, which may try another offset than the client's.
func (c *clock) nowFor(call *call) time.Time {
	if call.offset != nil {
		return time.Now().Add(*call.offset)
	}
	return c.now()
}

// correcting signs a request again, once, if the service refused the signature and its response shows that the
// local clock is off. It keeps the service's time for later calls only if the second signature is accepted: the
// Date of a refusal may be a proxy's, and wrong.
func correcting(clock *clock, logger *slog.Logger, next handler) handler {
	return func(ctx context.Context, c *call) error {
		signedWith := clock.offset.Load()
		err := next(ctx, c)
		offset, ok := measuredOffset(c.response, time.Duration(signedWith))
		if err == nil || !ok || clock.isRejected(offset) {
			return err
		}
		c.previous = err
		c.offset = &offset
		defer func() { c.offset = nil }()
		err = next(ctx, c)
		if errors.Is(err, ErrUnauthorized) {
			clock.rejected.Store(&rejection{offset, time.Now()})
		}
		// Of the calls that find this at the same time, one corrects the clock and logs it.
		if err == nil && clock.offset.CompareAndSwap(signedWith, int64(offset)) {
			logger.LogAttrs(ctx, slog.LevelWarn, "cdn: the local clock is off, going by the service's",
				slog.Duration("offset", offset.Round(time.Second)))
		}
		return err
	}
}

// measuredOffset returns how far a response that refuses the signature is ahead of the local clock. It reports
// false unless that is far from the offset that the request was signed with.
func measuredOffset(r *response, signedWith time.Duration) (time.Duration, bool) {
	if r == nil || r.status != http.StatusUnauthorized {
		return 0, false
	}
	date, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return 0, false
	}
	offset := time.Until(date)
	return offset, !isNear(offset, signedWith)
}

func isNear(a, b time.Duration) bool { return (a - b).Abs() <= maxClockError }
