package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// newTransport puts together the way of a request, the outermost step last. Each step is a
// [http.RoundTripper] of its own and knows nothing of the others.
func newTransport(o *options) http.RoundTripper {
	clock := &clock{}
	// What sends in the end: the user's transport, or the default.
	next := o.transport()
	// Reads the answer whole, within the time of one attempt, and logs it.
	next = &attempting{next: next, timeout: o.retryPolicy.AttemptTimeout, logger: o.logger}
	// Signs each attempt anew, since a signature is good for 15 minutes only.
	next = &signing{next: next, credentials: o.credentialSource(), now: clock.now}
	// Counts attempts, not calls, and the time that it holds them back is not theirs.
	if o.rateLimiter != nil {
		next = &limiting{next: next, limiter: o.rateLimiter}
	}
	// Signs again where the clock was wrong, which no retry would mend.
	next = &correcting{next: next, clock: clock, logger: o.logger}
	return &retrying{next: next, policy: o.retryPolicy, budget: &retryBudget{}, logger: o.logger}
}

// call is what the steps of one call note for the one who made it.
type call struct {
	operation string
	attempts  int
	// sent is whether the last attempt's request may have reached the service.
	sent bool
	// answer is the last attempt's; nil where there was none.
	answer *answer
	// secrets are what an answer must not bring into an error: the signature, which is good for 15
	// minutes, and the security token.
	secrets []string
}

// answer is an answer as it was read.
type answer struct {
	status    int
	header    http.Header
	requestID string
	text      string
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(req *http.Request) *call { return req.Context().Value(callKey{}).(*call) }

// withoutSecrets is text without what a proxy or a debugging server may have echoed of the request.
func (c *call) withoutSecrets(text string) string {
	for _, secret := range c.secrets {
		text = redact.Secret(text, secret)
	}
	return text
}

// RateLimiter holds back requests so that a quota is kept. A *rate.Limiter of golang.org/x/time/rate
// is one.
type RateLimiter interface {
	// Wait returns nil when the next request may be sent, or an error when ctx ends first. It must be
	// safe for concurrent use.
	Wait(ctx context.Context) error
}

// limiting waits for the rate limiter before each attempt.
type limiting struct {
	next    http.RoundTripper
	limiter RateLimiter
}

func (l *limiting) RoundTrip(req *http.Request) (*http.Response, error) {
	err := l.limiter.Wait(req.Context())
	if err == nil {
		return l.next.RoundTrip(req)
	}
	// *rate.Limiter does not wait in vain for a turn after the deadline, and says so in words only.
	if strings.Contains(err.Error(), "would exceed context deadline") {
		err = fmt.Errorf("%w: %w", err, context.DeadlineExceeded)
	}
	return nil, fmt.Errorf("wait for the rate limiter: %w", err)
}

// signing signs what passes through it.
type signing struct {
	next        http.RoundTripper
	credentials *credentialSource
	now         func() time.Time
}

func (s *signing) RoundTrip(req *http.Request) (*http.Response, error) {
	credentials, err := s.credentials.get(req.Context())
	if err != nil {
		return nil, err
	}
	signed, err := freshCopy(req)
	if err != nil {
		return nil, err
	}
	if credentials.domainID != "" {
		signed.Header.Set("X-Domain-Id", credentials.domainID)
	}
	if err := credentials.signer.sign(signed, s.now()); err != nil {
		return nil, err
	}
	call := callOf(req)
	_, signature, _ := strings.Cut(signed.Header.Get(headerAuthorization), "Signature=")
	call.secrets = append(call.secrets[:0], signature)
	if token := credentials.signer.SecurityToken; token != "" {
		call.secrets = append(call.secrets, token)
	}
	return s.next.RoundTrip(signed)
}

// freshCopy is req with a header of its own and its body from the beginning, so that req can be sent
// more than once. The bodies of this package are byte slices, which need no closing.
func freshCopy(req *http.Request) (*http.Request, error) {
	fresh := req.WithContext(req.Context())
	fresh.Header = req.Header.Clone()
	if req.GetBody == nil {
		return fresh, nil
	}
	var err error
	fresh.Body, err = req.GetBody()
	return fresh, err
}

// attempting sends one request and reads the answer to its end, so that a broken answer is known as
// such before anybody acts on its status.
type attempting struct {
	next    http.RoundTripper
	timeout time.Duration
	logger  *slog.Logger
	chunks  sync.Pool
}

func (a *attempting) RoundTrip(req *http.Request) (*http.Response, error) {
	// A limiter or a fetch of credentials may have waited for longer than the context lasted.
	if req.Context().Err() != nil {
		return nil, endOf(req.Context())
	}
	call := callOf(req)
	call.attempts++
	call.sent, call.answer = true, nil
	start := time.Now()
	ctx, cancel := context.WithTimeout(req.Context(), a.timeout)
	defer cancel()
	resp, err := a.send(req.WithContext(ctx), call)
	if err != nil && ctx.Err() != nil && req.Context().Err() == nil {
		err = fmt.Errorf("no answer within the %v of one attempt: %w", a.timeout, err)
	}
	if isTimeout(err) {
		err = timedOut{err}
	}
	a.log(req.Context(), call, err, time.Since(start))
	return resp, err
}

// timedOut says that an error is a time-out where *url.Error asks: of the error that it holds, and of
// none that this one wraps.
type timedOut struct{ error }

func (e timedOut) Timeout() bool { return true }
func (e timedOut) Unwrap() error { return e.error }

// send sends req and leaves the answer in call. What it returns has no body any more.
func (a *attempting) send(req *http.Request, call *call) (*http.Response, error) {
	traced, wasWritten := traceWriting(req)
	resp, err := a.next.RoundTrip(traced)
	switch {
	case err != nil && !wasWritten():
		call.sent = false
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errors.New("the transport gave neither an answer nor an error")
	case resp.Body == nil:
		resp.Body = http.NoBody
	}
	call.answer = &answer{
		status:    resp.StatusCode,
		header:    resp.Header,
		requestID: redact.Excerpt(resp.Header.Get("X-Request-Id"), maxRequestID),
	}
	if call.answer.text, err = a.receive(resp); err != nil {
		return nil, err
	}
	read := *resp
	read.Body = http.NoBody
	if resp.Header.Get("Location") != "" {
		// Nobody follows it, and net/http would quote one that it cannot read.
		read.Header = resp.Header.Clone()
		read.Header.Del("Location")
	}
	return &read, nil
}

// traceWriting watches whether a request that must not be repeated gets written. A transport that
// does not report what it does is taken to have written it.
func traceWriting(req *http.Request) (*http.Request, func() bool) {
	if req.Method == http.MethodGet {
		return req, func() bool { return true }
	}
	var reports, written atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn:          func(string) { reports.Store(true) },
		WroteHeaderField: func(string, []string) { written.Store(true) },
		WroteHeaders:     func() { written.Store(true) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { written.Store(true) },
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	return req, func() bool { return written.Load() || !reports.Load() }
}

func (a *attempting) log(ctx context.Context, call *call, err error, duration time.Duration) {
	if !a.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("operation", call.operation),
		slog.Int("attempt", call.attempts),
		slog.Duration("duration", duration),
	}
	if call.answer != nil {
		attrs = append(attrs, slog.Int("status", call.answer.status), slog.String("request_id", call.answer.requestID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", call.withoutSecrets(err.Error())))
	}
	a.logger.LogAttrs(ctx, slog.LevelDebug, "cdn: request", attrs...)
}

// receive reads the body of resp to its end, so that the connection can be used again. Of an answer
// that is an error anyway, it gives as much as there is.
func (a *attempting) receive(resp *http.Response) (string, error) {
	text, err := a.readBody(resp)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err == nil || !isSuccess(resp.StatusCode):
		return text, nil
	case isTimeout(err) || errors.Is(err, context.Canceled):
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return "", fmt.Errorf("%w: %w", ErrMalformedResponse, err)
}

// isTimeout reports whether err is somebody's time-out, the context's or the network's.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

const (
	// maxResponse is the most that is read of an answer, in bytes, counted after decompression.
	maxResponse = 32 << 20
	chunkSize   = 32 << 10
	// trustedLength is how much memory, in bytes, a Content-Length gets before the bytes are there.
	trustedLength = 1 << 20
)

// readBody reads up to maxResponse bytes straight into the string that the answer's strings will be
// cut from.
func (a *attempting) readBody(resp *http.Response) (string, error) {
	chunk, ok := a.chunks.Get().(*[chunkSize]byte)
	if !ok {
		chunk = new([chunkSize]byte)
	}
	defer a.chunks.Put(chunk)
	var text strings.Builder
	text.Grow(int(max(0, min(resp.ContentLength, trustedLength))))
	n, err := io.CopyBuffer(&text, io.LimitReader(resp.Body, maxResponse+1), chunk[:])
	if n > maxResponse {
		return "", fmt.Errorf("the body is larger than %d bytes", maxResponse)
	}
	return text.String(), err
}
