package cdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// operation is one call of the API before it is sent.
type operation struct {
	name   string
	method string
	query  string
	body   []byte
	// decode reads the body of a 2xx. It returns errServiceError if the body is an error object.
	decode func(text string) error
	// poll marks a request that many subscribers share. The pacer serves it after the calls of users.
	poll bool
	// signBy is the last moment at which a request may be signed; zero for no limit.
	signBy time.Time
	// onRetry is called with each failure that is followed by a retry; nil for none.
	onRetry func(error)
	// onSend is called just before each request is sent, after all waits; nil for none.
	onSend func()
}

// idempotent reports whether the operation may be sent again after the service has seen it.
func (op *operation) idempotent() bool { return op.method == http.MethodGet }

// call is an operation in the pipeline, with the state that its handlers share.
type call struct {
	operation
	url       *url.URL
	userAgent string

	requests int // number of requests sent
	// offset is the correction of the clock that this call tries; nil for the client's.
	offset *time.Duration
	// keys signed the last request.
	keys credentials
	// request is signed and about to be sent.
	request *http.Request
	// sent reports whether the service may have received the last request.
	sent bool
	// response is the last request's; nil if there was none.
	response *response
	// waited is how long the last request waited for its turn under the quota.
	waited time.Duration
	// waitsUntil is the deadline of all waits for the quota; zero before the first wait.
	waitsUntil time.Time
	// previous is the failure that the last retry followed.
	previous error
	// secrets are redacted in errors and logs: the last signature and the security token.
	secrets []string
}

// response is a response whose body was read.
type response struct {
	status    int
	header    http.Header
	requestID string
	text      string
}

func isSuccess(status int) bool { return status/100 == 2 }

// newRequest returns an unsigned request for the next attempt.
func (c *call) newRequest() *http.Request {
	req := &http.Request{
		Method:     c.method,
		URL:        c.url,
		Host:       c.url.Host,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header: http.Header{
			"Accept": {"application/json"},
			// Official SDKs send it on every call, with and without a body.
			"Content-Type": {"application/json"},
			"User-Agent":   {c.userAgent},
		},
	}
	if c.body != nil {
		req.ContentLength = int64(len(c.body))
		req.GetBody = func() (io.ReadCloser, error) { return newBody(c.body), nil }
		req.Body = newBody(c.body)
	}
	return req
}

// body is the body of one attempt.
type body struct {
	bytes.Reader
	read atomic.Bool // whether a part of it may have been sent
}

func newBody(data []byte) *body {
	b := &body{}
	b.Reset(data)
	return b
}

// Read notes that the body is being sent.
func (b *body) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.Reader.Read(p)
}

// Close does nothing.
func (b *body) Close() error { return nil }

// metadata returns the metadata of the response.
func (c *call) metadata() ResponseMetadata {
	return ResponseMetadata{StatusCode: c.response.status, RequestID: c.response.requestID, Attempts: c.requests}
}

// withoutSecrets returns text without the secrets of the request, which a proxy or a debugging server may echo.
func (c *call) withoutSecrets(text string) string {
	for _, secret := range c.secrets {
		text = redact.Secret(text, secret)
	}
	return text
}

// withoutEcho returns err. If err quotes a secret, it returns an error with the redacted text instead, which does not
// wrap err: net/http quotes a malformed response, and a program may log each error of a chain.
func (c *call) withoutEcho(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	redacted := c.withoutSecrets(text)
	if redacted == text {
		return err
	}
	return &echoError{redacted, retry.IsTransient(err)}
}

// echoError replaces an error that quotes a secret.
type echoError struct {
	text      string
	transient bool
}

func (e *echoError) Error() string   { return e.text }
func (e *echoError) Transient() bool { return e.transient }

// check decodes the response. It returns nil if the response is a success, and else the error that it reports.
func (c *call) check() error {
	if !isSuccess(c.response.status) {
		return c.apiError()
	}
	err := c.decode(c.response.text)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errServiceError):
		return c.apiError()
	}
	return c.malformed(err)
}

// malformed returns the error for a 2xx that is not a complete, well-formed response.
func (c *call) malformed(why error) error {
	text := c.response.text
	beginning := "the body is empty"
	if strings.TrimSpace(text) != "" {
		beginning = "the body begins " + shown(c.withoutSecrets(text), redact.Short)
	}
	return fmt.Errorf("%w: %w; %s", ErrMalformedResponse, why, beginning)
}

// apiError returns the error for a response that reports one.
func (c *call) apiError() *APIError {
	r := c.response
	text := c.withoutSecrets(r.text)
	body := parseErrorBody(text)
	if !body.found() {
		body.ErrorMsg = shown(text, redact.Short)
	}
	if location := r.header.Get("Location"); r.status/100 == 3 && location != "" {
		body.ErrorMsg = redact.Excerpt("redirected to "+c.withoutSecrets(redact.Link(location))+", which is not followed", redact.Short)
	}
	return &APIError{
		Operation:                   c.name,
		StatusCode:                  r.status,
		RequestID:                   firstOf(r.requestID, body.requestID),
		ErrMsg:                      body.ErrMsg,
		Details:                     body.details,
		EncodedAuthorizationMessage: body.encodedAuthorizationMessage,
		RetryAfter:                  retry.After(r.header, time.Now()),
		Attempts:                    c.requests,
	}
}

// describe returns the error of a call that ended with err, with notes about the last response. If ctx has ended, that
// is the error, with the failure of the attempt before.
func (c *call) describe(ctx context.Context, err error) error {
	if ctx.Err() != nil && !isResponse(err) && !errors.Is(err, ErrMalformedResponse) {
		err = endOf(ctx)
		if c.previous != nil {
			err = fmt.Errorf("%w; the last attempt before that: %w", err, c.previous)
		}
	}
	if isResponse(err) {
		return err // its text has the notes
	}
	status, requestID := 0, ""
	if c.response != nil {
		status, requestID = c.response.status, c.response.requestID
	}
	if notes := responseNotes(status, requestID, 0, c.requests); notes != "" {
		return fmt.Errorf("%w (%s)", err, notes)
	}
	return err
}

// isResponse reports whether err is a response that reports an error.
func isResponse(err error) bool {
	var response *APIError
	return errors.As(err, &response)
}

// endOf returns the error for a context that has ended: its own error and the cause that was given with it.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
