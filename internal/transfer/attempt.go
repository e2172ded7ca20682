package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// attempt sends one request for what is missing and writes the response. It ends if the store brings nothing for
// AttemptTimeout. The time of the sink does not count.
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

// isTransport reports whether err is one of the connection: neither the sink's nor about a response.
func isTransport(err error) bool {
	return !errors.As(err, new(sinkError)) && !errors.As(err, new(*StoreError)) && !errors.Is(err, ErrMalformed)
}

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

// exchange sends the request and writes the response.
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

// send sends a request for what is missing.
func (d *download) send(ctx context.Context) (*http.Response, error) {
	header := http.Header{
		"User-Agent": {d.UserAgent},
		// Ranges count the bytes of the file as it is.
		"Accept-Encoding": {"identity"},
	}
	if d.written > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(d.written, 10)+"-")
		header.Set("If-Match", d.etag)
	}
	req := (&http.Request{Method: http.MethodGet, URL: d.link, Header: header}).WithContext(d.wire.trace(ctx))
	resp, err := d.client.Do(req)
	if failed := new(url.Error); errors.As(err, &failed) {
		// The link in net/http's error is the key to the file.
		return nil, fmt.Errorf("get %s: %w", redact.Link(d.link.String()), d.withoutKeys(failed.Err))
	}
	return resp, err
}

// silence ends an attempt in which the store brings nothing.
type silence struct {
	timer *time.Timer
	limit time.Duration
	end   func()
}

// newSilence returns a silence that begins now.
func newSilence(limit time.Duration, cancel context.CancelCauseFunc) *silence {
	stalled := fmt.Errorf("no byte within %v: %w", limit, context.DeadlineExceeded)
	end := func() { cancel(stalled) }
	return &silence{time.AfterFunc(limit, end), limit, end}
}

// bounded returns a reader of which each Read is bounded.
func (s *silence) bounded(r io.Reader) io.Reader { return &boundedReader{r, s} }

type boundedReader struct {
	reader  io.Reader
	silence *silence
}

func (r *boundedReader) Read(p []byte) (int, error) {
	r.silence.timer.Reset(r.silence.limit)
	defer r.silence.timer.Stop()
	return r.reader.Read(p)
}

// maxConnections is how many connections one request may ask for. A server that closes each one at once would
// otherwise be dialled until the attempt's timeout.
const maxConnections = 4

// errRepeated ends an attempt whose request net/http is about to repeat by itself, at once and without bound: it
// does so after an HTTP/2 reset or GOAWAY, and if an idle connection turns out to be closed.
var errRepeated = errors.New("the connection failed before a response came")

// wire observes what net/http does with the request of one attempt.
type wire struct {
	end         context.CancelCauseFunc
	connections atomic.Int32
	written     atomic.Bool
}

// redirected begins the next request of an attempt.
func (w *wire) redirected() {
	w.connections.Store(0)
	w.written.Store(false)
}

// trace returns ctx with the callbacks of net/http.
func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if w.connections.Add(1) > maxConnections || w.written.Load() {
				w.end(errRepeated)
			}
		},
		WroteHeaders: func() { w.written.Store(true) },
	})
}

// withoutKeys returns the error of a transport, which may quote a link, without what makes it a key.
func (d *download) withoutKeys(err error) error {
	if proxy := retry.AsProxyError(err); proxy != nil {
		return proxy
	}
	return &redactedError{err, d.keys.redact(err.Error())}
}

type redactedError struct {
	error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.error }
