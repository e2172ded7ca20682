// Package retry has the parts of a retry loop: delays, a budget, Retry-After, and the errors that are transient. It
// knows nothing of export tasks.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Backoff draws the delays of one retry loop. It is not safe for concurrent use.
type Backoff struct{ exponential backoff.ExponentialBackOff }

// NewBackoff returns delays with full jitter: the first is drawn from 0 to least, and the upper bound doubles
// with each delay until it is longest.
func NewBackoff(least, longest time.Duration) *Backoff {
	// With a randomization factor of 1 the library draws from 0 to twice its interval.
	return &Backoff{backoff.ExponentialBackOff{
		InitialInterval:     least / 2,
		MaxInterval:         longest / 2,
		Multiplier:          2,
		RandomizationFactor: 1,
	}}
}

// Next returns the next delay.
func (b *Backoff) Next() time.Duration { return b.exponential.NextBackOff() }

// Reset makes the next delay the first one again.
func (b *Backoff) Reset() { b.exponential.Reset() }

// Sleep waits for delay and reports true, or reports false as soon as ctx ends.
func Sleep(ctx context.Context, delay time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Fits reports whether a delay that begins now ends before the deadline of ctx.
func Fits(ctx context.Context, delay time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > delay
}
