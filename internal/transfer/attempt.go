package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// attempt sends one request for the rest of the file and writes the response to the sink. It fails if the store
// sends nothing for AttemptTimeout. The time that the sink takes does not count.
func (d *download) attempt(ctx context.Context) error {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := newSilence(d.AttemptTimeout, cancel)
	defer silence.timer.Stop()
	d.wire = &wire{end: cancel}

	start, before := time.Now(), d.written
	d.attempts++
	d.status = 0
	err := d.exchange(attempt, silence)
	if cause := context.Cause(attempt); cause != nil && ctx.Err() == nil && err != nil && isTransport(err) {
		err = cause
	}
	d.log(ctx, err, d.written-before, time.Since(start))
	if d.OnRequest != nil {
		d.OnRequest(Request{d.attempts, d.status, d.written - before, time.Since(start), err})
	}
	return err
}

// isTransport reports whether err is an error of the connection: not the sink's, and not about a response.
func isTransport(err error) bool {
	return !errors.As(err, new(sinkError)) && !errors.As(err, new(*StoreError)) && !errors.Is(err, ErrMalformed)
}

// log logs the end of an attempt.
func (d *download) log(ctx context.Context, err error, bytes int64, duration time.Duration) {
	if !d.Logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.Int("attempt", d.attempts),
		slog.Duration("duration", duration),
		slog.Int64("bytes", bytes),
	}
	if d.status != 0 {
		attrs = append(attrs, slog.Int("status", d.status))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	d.Logger.LogAttrs(ctx, slog.LevelDebug, "cdn: request", attrs...)
}

// exchange sends the request and writes the response to the sink.
func (d *download) exchange(ctx context.Context, silence *silence) error {
	resp, err := d.send(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d.status = resp.StatusCode
	part, err := d.accept(resp, silence)
	switch {
	case errors.Is(err, errComplete):
		return nil
	case err != nil:
		return err
	}
	return d.copy(part)
}

// send requests the file, or the rest of it if a part is written.
func (d *download) send(ctx context.Context) (*http.Response, error) {
	header := http.Header{
		"User-Agent": {d.UserAgent},
		// Ranges count the bytes of the file itself.
		"Accept-Encoding": {"identity"},
	}
	if d.written > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(d.written, 10)+"-")
		header.Set("If-Match", d.etag)
	}
	req := (&http.Request{Method: http.MethodGet, URL: d.link, Header: header}).WithContext(d.wire.trace(ctx))
	resp, err := d.client.Do(req)
	if failed := new(url.Error); errors.As(err, &failed) {
		// net/http quotes the link, which is the key to the file.
		return nil, fmt.Errorf("get %s: %w", redact.Link(d.link.String()), d.withoutKeys(failed.Err))
	}
	return resp, err
}
