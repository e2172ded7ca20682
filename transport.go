package cdn

import (
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
)

// newTransport puts together the way of a request, the outermost step first. Each step is a
// [http.RoundTripper] of its own and knows nothing of the others.
func newTransport(o *options) http.RoundTripper {
	var next http.RoundTripper
	// The one that sends: the user's, or the default.
	next = o.transport()
	// Reads the answer whole and logs the attempt.
	next = &attempting{next: next, logger: o.logger}
	// Signs each attempt anew, since a signature is good for 15 minutes only.
	next = &signing{next: next, credentials: o.credentialSource(), now: time.Now}
	return next
}

// call is what the steps of one call note for the one who made it.
type call struct {
	operation string
	attempts  int
	// status and requestID are the last answer's, as soon as its header is there.
	status    int
	requestID string
	// secrets are the header values that an answer must not bring into an error.
	secrets []string
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(req *http.Request) *call { return req.Context().Value(callKey{}).(*call) }

// withoutSecrets is text without what a proxy or a debugging server may have echoed of the request.
func (c *call) withoutSecrets(text string) string {
	for _, secret := range c.secrets {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return text
}

// failure is the error of a call that ended without an answer to act on. What net/http says of the
// request is left out where this package found the fault.
func (c *call) failure(err error) error {
	var request *url.Error
	if errors.As(err, &request) && isOwn(request.Err) {
		err = request.Err
	}
	if notes := answerNotes(c.status, c.requestID, c.attempts); notes != "" {
		return fmt.Errorf("cdn: %s: %w (%s)", c.operation, err, notes)
	}
	return fmt.Errorf("cdn: %s: %w", c.operation, err)
}

func isOwn(err error) bool {
	return errors.Is(err, ErrInvalidParameter) || errors.Is(err, ErrNoCredentials) || errors.Is(err, ErrMalformedResponse)
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
		return nil, closeBody(req, err)
	}
	signed := req.WithContext(req.Context())
	signed.Header = req.Header.Clone()
	if credentials.domainID != "" {
		signed.Header.Set("X-Domain-Id", credentials.domainID)
	}
	if err := credentials.signer.Sign(signed, s.now()); err != nil {
		return nil, closeBody(req, err)
	}
	call := callOf(req)
	call.secrets = append(call.secrets[:0], signed.Header.Get(headerAuthorization))
	if token := credentials.signer.SecurityToken; token != "" {
		call.secrets = append(call.secrets, token)
	}
	return s.next.RoundTrip(signed)
}

// closeBody keeps a RoundTripper's duty for a request that is not sent.
func closeBody(req *http.Request, err error) error {
	if req.Body != nil {
		return errors.Join(err, req.Body.Close())
	}
	return err
}

// maxResponse is the most that is read of an answer, in bytes, counted after decompression.
const maxResponse = 32 << 20

// attempting sends one request and reads the answer to its end, so that a broken answer is known as
// such before anybody acts on its status.
type attempting struct {
	next   http.RoundTripper
	logger *slog.Logger
	chunks sync.Pool
}

func (a *attempting) RoundTrip(req *http.Request) (*http.Response, error) {
	call := callOf(req)
	call.attempts++
	call.status, call.requestID = 0, ""
	start := time.Now()
	resp, err := a.next.RoundTrip(req)
	if err == nil {
		call.status, call.requestID = resp.StatusCode, excerpt(resp.Header.Get("X-Request-Id"), maxRequestID)
		resp, err = a.receive(resp)
	}
	a.log(req.Context(), call, err, time.Since(start))
	return resp, err
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
	if call.status != 0 {
		attrs = append(attrs, slog.Int("status", call.status), slog.String("request_id", call.requestID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	a.logger.LogAttrs(ctx, slog.LevelDebug, "cdn: request", attrs...)
}

// received is a body that has been read.
type received struct {
	*strings.Reader
	text string
}

func (received) Close() error { return nil }

// bodyText is the whole body, where nobody has begun to read it. It may come wrapped, by net/http
// for a time-out.
func bodyText(resp *http.Response) (string, error) {
	if body, ok := resp.Body.(received); ok {
		return body.text, nil
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// receive reads the body of resp and gives the same answer with the body in memory. Of an answer
// that is an error anyway, it gives as much as there is.
func (a *attempting) receive(resp *http.Response) (*http.Response, error) {
	text, err := a.readBody(resp)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err == nil || !isSuccess(resp.StatusCode):
	case isTimeout(err) || errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("read the answer: %w", err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrMalformedResponse, err)
	}
	whole := *resp
	whole.Body = received{strings.NewReader(text), text}
	return &whole, nil
}

// isTimeout reports whether err is somebody's time-out, the context's or the network's.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

const (
	chunkSize = 32 << 10
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
