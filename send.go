package cdn

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

const (
	// maxResponse is the longest body that is read, in bytes after decompression.
	maxResponse = 32 << 20
	chunkSize   = 32 << 10
	// trustedLength is how many bytes are allocated for a Content-Length before the body is read.
	trustedLength = 1 << 20
)

// sender sends one request and reads the response to its end. A success whose body breaks off is a failure.
type sender struct {
	http     *http.Client
	ownWire  bool // whether the transport is net/http's own
	timeout  time.Duration
	logger   *slog.Logger
	observer Observer
	chunks   sync.Pool
}

func newSender(o *options) *sender {
	client := *o.httpClient
	client.Transport = redact.Transport{Base: o.transport()}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	_, own := o.transport().(*http.Transport)
	return &sender{http: &client, ownWire: own, timeout: o.retryPolicy.AttemptTimeout, logger: o.logger, observer: o.observer}
}

// send is the last handler.
func (s *sender) send(ctx context.Context, c *call) error {
	// The context may have ended while a limiter or a fetch of credentials waited.
	if ctx.Err() != nil {
		return endOf(ctx)
	}
	c.requests++
	c.sent, c.response = false, nil
	if c.onSend != nil {
		c.onSend()
	}
	start := time.Now()
	err := s.attempt(ctx, c)
	duration := time.Since(start)
	s.log(ctx, c, err, duration)
	s.observer.request(c, duration, err)
	return err
}

// attempt sends the request of c and reads the response into c.
func (s *sender) attempt(ctx context.Context, c *call) error {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(s.timeout, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	wire := newWire(cancel, s.ownWire)
	req := c.request.WithContext(wire.trace(attempt))
	// net/http repeats a request by itself, without bound, if it can have the body again.
	req.GetBody = nil
	resp, err := s.http.Do(req)
	c.requests += wire.repeats()
	c.sent = err == nil || wire.mayBeSent(req)
	if err = c.withoutEcho(err); err == nil {
		err = s.receive(resp, c)
	}
	if err != nil {
		return s.failure(ctx, attempt, c, err)
	}
	return c.check()
}

// errAttemptTimeout is the cause of the end of an attempt that has timed out.
var errAttemptTimeout = fmt.Errorf("the timeout of one attempt: %w", context.DeadlineExceeded)

// failure returns the error for an attempt that failed with err.
func (s *sender) failure(ctx, attempt context.Context, c *call, err error) error {
	cause := context.Cause(attempt)
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrMalformedResponse):
		return err
	case errors.Is(cause, errAttemptTimeout):
		return fmt.Errorf("no response within the %v of one attempt: %w", s.timeout, context.DeadlineExceeded)
	case errors.Is(cause, errRepeated):
		return errRepeated
	case !c.sent || c.body == nil:
		if proxy := retry.AsProxyError(err); proxy != nil {
			return proxy
		}
	}
	return err
}

// receive reads the body of resp to its end, so that the connection can be reused. It ignores an error of reading if
// the response is no 2xx: what could be read describes that error.
func (s *sender) receive(resp *http.Response, c *call) error {
	c.response = &response{
		status:    resp.StatusCode,
		header:    resp.Header,
		requestID: redact.Excerpt(c.withoutSecrets(resp.Header.Get("X-Request-Id")), maxRequestID),
	}
	text, err := s.readBody(resp)
	err = c.withoutEcho(err)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	c.response.text = text
	switch {
	case err == nil || !isSuccess(resp.StatusCode):
		return nil
	case retry.IsTimeout(err) || errors.Is(err, context.Canceled):
		return fmt.Errorf("read the response: %w", err)
	}
	return &brokenResponse{err}
}

// brokenResponse is the error for a 2xx whose body could not be read to its end.
type brokenResponse struct{ cause error }

func (e *brokenResponse) Error() string   { return ErrMalformedResponse.Error() + ": " + e.cause.Error() }
func (e *brokenResponse) Unwrap() []error { return []error{ErrMalformedResponse, e.cause} }

// readBody returns the body, of up to maxResponse bytes. It allocates one string, of which decoded strings are parts.
func (s *sender) readBody(resp *http.Response) (string, error) {
	content, err := decoded(resp)
	if err != nil {
		return "", err
	}
	chunk, ok := s.chunks.Get().(*[chunkSize]byte)
	if !ok {
		chunk = new([chunkSize]byte)
	}
	defer s.chunks.Put(chunk)
	var text strings.Builder
	text.Grow(int(max(0, min(resp.ContentLength, trustedLength))))
	n, err := io.CopyBuffer(&text, io.LimitReader(content, maxResponse+1), chunk[:])
	if n > maxResponse {
		return "", fmt.Errorf("the body is larger than %d bytes", maxResponse)
	}
	return text.String(), err
}

// decoded returns the body without its content encoding. net/http decodes gzip that it has asked for. This decodes
// gzip of a service or proxy that was not asked for it.
func decoded(resp *http.Response) (io.Reader, error) {
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		content, err := gzip.NewReader(resp.Body)
		if errors.Is(err, io.EOF) {
			return http.NoBody, nil // net/http treats an empty body in the same way
		}
		return content, err
	default:
		return nil, fmt.Errorf("the body has the content encoding %s, which was not asked for", redact.Excerpt(encoding, redact.Short))
	}
}

// log logs one request at debug level.
func (s *sender) log(ctx context.Context, c *call, err error, duration time.Duration) {
	if !s.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("operation", c.name),
		slog.Int("attempt", c.requests),
		slog.Duration("duration", duration),
	}
	if c.response != nil {
		attrs = append(attrs, slog.Int("status", c.response.status), slog.String("request_id", c.response.requestID))
	}
	if err != nil && !isResponse(err) {
		attrs = append(attrs, slog.String("error", c.withoutSecrets(withoutURL(err).Error())))
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "cdn: request", attrs...)
}

// withoutURL returns the error in a *url.Error: the URL of a request is the same in each line of the log.
func withoutURL(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}
