package cdn

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// maxClockError is how far the local clock may be from the service's before a refused signature is
// put down to it. The service itself refuses dates that are more than 15 minutes off.
const maxClockError = 5 * time.Minute

// clock is the local clock, put right by what the service says of the time.
type clock struct {
	offset atomic.Int64 // in nanoseconds
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// correcting signs a request again, once, where the service refused the signature and shows in its
// answer that the local clock is off. The service's time is kept for the calls to come.
type correcting struct {
	next   http.RoundTripper
	clock  *clock
	logger *slog.Logger
}

func (c *correcting) RoundTrip(req *http.Request) (*http.Response, error) {
	signedWith := c.clock.offset.Load()
	resp, err := c.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return resp, nil
	}
	offset := time.Until(date)
	if (offset - time.Duration(signedWith)).Abs() <= maxClockError {
		return resp, nil
	}
	// Of the calls that meet this at the same time, one puts the clock right and says so; each is
	// signed again.
	if c.clock.offset.CompareAndSwap(signedWith, int64(offset)) {
		c.logger.LogAttrs(req.Context(), slog.LevelWarn, "cdn: the local clock is off, going by the service's",
			slog.Duration("offset", offset.Round(time.Second)))
	}
	return c.next.RoundTrip(req)
}
