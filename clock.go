package cdn

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// maxClockError is the largest difference between two clocks that is not corrected. The service itself refuses a date
// that is more than 15 minutes off.
const maxClockError = 5 * time.Minute

// clock is the local clock, corrected by the Date of the service's responses.
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

// rejectionLifetime is how long a rejected offset is not tried again: more than five refused signatures in a row lock
// an access key for 5 minutes. Another cause of the refusal may have ended by then.
const rejectionLifetime = 5 * time.Minute

// isRejected reports whether a signature with this offset was refused a short time ago.
func (c *clock) isRejected(offset time.Duration) bool {
	last := c.rejected.Load()
	return last != nil && time.Since(last.at) < rejectionLifetime && isNear(offset, last.offset)
}

// now returns the corrected time.
func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// nowFor returns the corrected time for call.
func (c *clock) nowFor(call *call) time.Time { return time.Now().Add(c.offsetFor(call)) }

// offsetFor returns the offset of call, which is the client's unless the call tries another one.
func (c *clock) offsetFor(call *call) time.Duration {
	if call.offset != nil {
		return *call.offset
	}
	return time.Duration(c.offset.Load())
}

// correcting sends a call again, once, if the service refused the signature and the Date of its response shows that
// the local clock is wrong. Later calls use the correction only if the second signature is accepted: the Date may be
// that of a proxy, and wrong. The retries of the call keep the correction until it is refused.
func correcting(clock *clock, logger *slog.Logger, next handler) handler {
	return func(ctx context.Context, c *call) error {
		// Other calls may store a correction meanwhile, so these are read before the signature is made.
		stored, signedWith := clock.offset.Load(), clock.offsetFor(c)
		err := next(ctx, c)
		offset, ok := measuredOffset(c.response, signedWith)
		if err != nil && ok && !clock.isRejected(offset) {
			c.previous, c.offset = err, &offset
			err = next(ctx, c)
			if errors.Is(err, ErrUnauthorized) {
				clock.rejected.Store(&rejection{offset, time.Now()})
				c.offset = nil
			}
		}
		// Of the calls that do this at the same time, one stores the correction and logs it.
		if err == nil && c.offset != nil && clock.offset.CompareAndSwap(stored, int64(*c.offset)) {
			logger.LogAttrs(ctx, slog.LevelWarn, "cdn: the local clock is wrong, using the service's time",
				slog.Duration("offset", c.offset.Round(time.Second)))
		}
		return err
	}
}

// measuredOffset returns how far the Date of a refused signature is ahead of the local clock. It reports false if the
// signature was not refused, or if its own offset was near that.
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
