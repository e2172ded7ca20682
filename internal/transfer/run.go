package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"
)

const (
	// enoughProgress is how many bytes an attempt must bring for the next one to follow without delay.
	enoughProgress = 64 << 10
	// maxRetryAfter is the longest delay that a store may ask for. The copy fails if it asks for more.
	maxRetryAfter = 10 * time.Minute
	// reportInterval is the shortest time between two reports of progress.
	reportInterval = 100 * time.Millisecond
)

// download is the state of one copy.
type download struct {
	Config
	source Source
	sink   Sink
	client http.Client

	link *url.URL
	keys keys
	// relinked reports whether no byte has come since a link was refused and a new one was fetched.
	relinked bool
	attempts int
	restarts int
	status   int // of the last attempt's response; 0 for none
	wire     *wire

	// forget resets these.

	written int64
	total   int64  // -1 if it is unknown
	etag    string // strong; empty if the file cannot be resumed
	// received is how long the store took to send the written bytes.
	received time.Duration
	// sum is the MD5 of the written bytes. It is nil if the store announced none.
	sum     hash.Hash
	wantMD5 string // in base64

	reportedAt time.Time
	buffer     []byte
}

// forget resets what is known of the file.
func (d *download) forget() {
	d.written, d.total, d.etag, d.received = 0, -1, "", 0
	d.sum, d.wantMD5 = nil, ""
}

// run makes attempts until one reaches the end of the file.
func (d *download) run(ctx context.Context) error {
	if err := d.firstLink(ctx); err != nil {
		return err
	}
	backoff := retry.NewBackoff(d.MinBackoff, d.MaxBackoff)
	fruitless := 0
	for {
		before := d.written
		err := d.attempt(ctx)
		brought := d.written - before
		fruitless++
		if brought > 0 {
			fruitless, d.relinked = 0, false
		}
		switch {
		case err == nil:
			return d.finish()
		case errors.As(err, new(sinkError)):
			return &Error{Cause: err}
		case ctx.Err() != nil:
			return endOf(ctx)
		case isTransport(err) && d.written == d.total:
			return d.finish() // only the end of the response was lost
		case !d.mayRetry(err) || d.MaxAttempts == 1:
			return &Error{Cause: err}
		case fruitless >= d.MaxAttempts:
			return &Error{Cause: err, Note: fmt.Sprintf("%d attempts in a row brought nothing", fruitless)}
		}
		if err := d.startOverIfNeeded(err); err != nil {
			return err
		}
		if err := d.delay(ctx, backoff, brought, err); err != nil {
			return err
		}
		if err := d.relinkIfNeeded(ctx, err); err != nil {
			return err
		}
	}
}

// mayRetry reports whether another attempt may succeed after err.
func (d *download) mayRetry(err error) bool {
	var response *StoreError
	switch {
	case errors.As(err, new(*startOver)), errors.As(err, new(bodyError)), errors.Is(err, errRepeated):
		return true
	case errors.As(err, &response):
		return response.isTransient() || response.refusesLink() && !d.relinked
	case errors.Is(err, ErrMalformed):
		return false
	}
	return retry.IsTransient(err)
}

// startOver is the error of an attempt whose response does not prove that the file is still the same.
type startOver struct{ error }

func (e *startOver) Unwrap() error { return e.error }

// noResume is the note of a copy that cannot be resumed.
const noResume = "the store gives no strong ETag, so the rest of the file cannot be told from another's"

// startOverIfNeeded drops what is written if the rest cannot be proved to belong to it. It returns an error if the
// sink cannot be restarted, or if the file was begun MaxAttempts times.
func (d *download) startOverIfNeeded(cause error) error {
	note := ""
	switch {
	case errors.As(cause, new(*startOver)):
	case d.written == 0 || d.etag != "":
		return nil
	default:
		note = noResume
	}
	if d.restarts++; d.restarts >= d.MaxAttempts {
		return &Error{Cause: cause, Note: fmt.Sprintf("the file was begun %d times", d.restarts)}
	}
	err := d.sink.Restart()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &Error{Cause: cause, Note: note}
	case err != nil:
		return &Error{Cause: sinkError{err}}
	}
	d.forget()
	return nil
}

// delay waits before the next attempt. It returns an error at once if the delay is too long.
func (d *download) delay(ctx context.Context, backoff *retry.Backoff, brought int64, cause error) error {
	delay, retryAfter := delayAfter(cause, brought, backoff)
	switch {
	case retryAfter > maxRetryAfter:
		return &Error{Cause: cause, Note: fmt.Sprintf("the store asks for a delay of over %v", maxRetryAfter)}
	case !retry.Fits(ctx, delay):
		return &Error{Cause: cause, Note: "the deadline is before the next attempt"}
	}
	d.Logger.LogAttrs(ctx, slog.LevelWarn, "cdn: retry",
		slog.Int("attempt", d.attempts),
		slog.Duration("pause", delay),
		slog.String("reason", cause.Error()))
	if !retry.Sleep(ctx, delay) {
		return &Error{Cause: cause, Ended: endOf(ctx)}
	}
	return nil
}

// delayAfter returns how long to wait, and how much of that the store asks for. There is no delay after an attempt
// with enough progress, after a link was refused, and before the file is started over.
func delayAfter(cause error, brought int64, backoff *retry.Backoff) (delay, retryAfter time.Duration) {
	var response *StoreError
	refused := errors.As(cause, &response)
	switch {
	case refused && response.RetryAfter > 0:
		return response.RetryAfter + backoff.Next(), response.RetryAfter
	case brought >= enoughProgress:
		backoff.Reset()
		return 0, 0
	case refused && response.refusesLink(), errors.As(cause, new(*startOver)):
		return 0, 0
	}
	return backoff.Next(), 0
}

// endOf returns the error for a context that has ended, which wraps the context's error and its cause.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
