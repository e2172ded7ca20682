package cdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// Version is this package's version, as it stands in the User-Agent.
const Version = "0.1.0"

// CdnClient calls the export-tasks API of the CDN. It is safe for concurrent use; one client should
// serve a whole program, since its connections are reused. Printing or logging it shows no secret.
type CdnClient struct {
	endpoint  func() (*url.URL, error)
	http      *http.Client
	userAgent string
	poller    *poller
	// exportTurn holds whoever is creating a task and finding it.
	exportTurn chan struct{}
	store      *store
}

// NewCdnClient builds a client, from the credentials that the environment holds and for
// [DefaultRegion] where no option says otherwise. It does no network I/O, and reads a file only to
// look up a region that is not built in; credentials are looked for at the first call, in this
// order: the variables CLOUD_SDK_AK and CLOUD_SDK_SK (with CLOUD_SDK_SECURITY_TOKEN for temporary
// ones); the id token of HUAWEICLOUD_SDK_IDP_ID and HUAWEICLOUD_SDK_ID_TOKEN_FILE;
// HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; the file ~/.huaweicloud/credentials, or the one of
// HUAWEICLOUD_SDK_CREDENTIALS_FILE; the instance metadata, for which the first call may take some
// seconds where there are none; the pod identity.
//
// An error wraps [ErrInvalidParameter] and names the option.
func NewCdnClient(opts ...Option) (*CdnClient, error) {
	client, err := newCdnClient(opts)
	if err != nil {
		return nil, fmt.Errorf("cdn: NewCdnClient: %w", err)
	}
	return client, nil
}

func newCdnClient(opts []Option) (*CdnClient, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	endpoint, err := o.endpointFinder()
	if err != nil {
		return nil, err
	}
	httpClient := *o.httpClient
	httpClient.Transport = newTransport(o)
	httpClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &CdnClient{
		endpoint:   endpoint,
		http:       &httpClient,
		exportTurn: make(chan struct{}, 1),
		store:      newStore(o),
		userAgent:  strings.TrimSpace(o.userAgent + " huaweicloud-cdn-go/" + Version + " " + runtime.Version()),
	}
	client.poller = newPoller(client, o)
	return client, nil
}

// CloseIdleConnections closes the connections that no call is using. Calls after it open new ones. They
// are those of the transport, which with [WithHTTPClient] others may share, and which must have a method
// of this name for anything to happen.
func (c *CdnClient) CloseIdleConnections() { c.store.http.CloseIdleConnections() }

// Format prints the type's name only, whatever the verb: what a client holds is nobody's business.
func (c *CdnClient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "*cdn.CdnClient") }

// LogValue logs the type's name only.
func (c *CdnClient) LogValue() slog.Value { return slog.StringValue("*cdn.CdnClient") }

// exportTasksPath is the path of every call of the export-tasks API.
const exportTasksPath = "/v1/cdn/statistics/export-tasks"

// operation is one call of the API, before it is sent.
type operation struct {
	name   string
	method string
	query  string
	body   []byte
}

// do takes every call its way: it builds the request, sends it down the chain of transports, and
// makes an error of any answer that is not a 2xx. The call it returns, never nil, holds the answer.
func (c *CdnClient) do(ctx context.Context, op operation) (*call, error) {
	call := &call{operation: op.name}
	if ctx == nil {
		return call, call.failure(invalid("ctx", nil, "must not be nil"))
	}
	if ctx.Err() != nil {
		return call, call.failure(endOf(ctx))
	}
	req, err := c.newRequest(withCall(ctx, call), op)
	if err != nil {
		return call, call.failure(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return call, call.failure(err)
	}
	if err := resp.Body.Close(); err != nil {
		return call, call.failure(err)
	}
	if !isSuccess(call.answer.status) {
		return call, call.apiError()
	}
	return call, nil
}

func (c *call) metadata() ResponseMetadata {
	return ResponseMetadata{StatusCode: c.answer.status, RequestID: c.answer.requestID, Attempts: c.attempts}
}

func isSuccess(status int) bool { return status/100 == 2 }

func (c *CdnClient) newRequest(ctx context.Context, op operation) (*http.Request, error) {
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method:     op.method,
		URL:        &url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: exportTasksPath, RawQuery: op.query},
		Host:       endpoint.Host,
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
	if op.body != nil {
		req.ContentLength = int64(len(op.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(op.body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req.WithContext(ctx), nil
}

// failure is the error of a call that ended without an answer to act on. What net/http says of the
// request is left out where this package found the fault.
func (c *call) failure(err error) error {
	var request *url.Error
	if errors.As(err, &request) && isOwn(request.Err) {
		err = request.Err
	}
	a := c.answer
	if a != nil && !isSuccess(a.status) {
		return fmt.Errorf("cdn: %s: %w; the last answer before that: %w", c.operation, err, inner(c.apiError()))
	}
	if a == nil {
		a = &answer{}
	}
	if notes := answerNotes(a.status, a.requestID, 0, c.attempts); notes != "" {
		return fmt.Errorf("cdn: %s: %w (%s)", c.operation, err, notes)
	}
	return fmt.Errorf("cdn: %s: %w", c.operation, err)
}

func isOwn(err error) bool {
	return errors.Is(err, ErrInvalidParameter) || errors.Is(err, ErrNoCredentials) || errors.Is(err, ErrMalformedResponse)
}

// malformed is the error for a 2xx whose body is not a whole, well-formed answer.
func (c *call) malformed(why error) error {
	text := c.answer.text
	beginning := "the body is empty"
	if strings.TrimSpace(text) != "" {
		beginning = "the body begins " + redact.Links(redact.Excerpt(c.withoutSecrets(text), redact.Short))
	}
	return c.failure(fmt.Errorf("%w: %w; %s", ErrMalformedResponse, why, beginning))
}

// apiError is the error for an answer that reports one.
func (c *call) apiError() *APIError {
	a := c.answer
	text := c.withoutSecrets(a.text)
	body := parseErrorBody(text)
	if !body.found() {
		body.ErrorMsg = redact.Excerpt(text, redact.Short)
	}
	body.ErrorCode, body.ErrorMsg = redact.Links(body.ErrorCode), redact.Links(body.ErrorMsg)
	if location := a.header.Get("Location"); a.status/100 == 3 && location != "" {
		body.ErrorMsg = redact.Excerpt("redirected to "+c.withoutSecrets(redact.Link(location))+", which is not followed", redact.Short)
	}
	return &APIError{
		Operation:                   c.operation,
		StatusCode:                  a.status,
		RequestID:                   firstOf(a.requestID, body.requestID),
		ErrMsg:                      body.ErrMsg,
		EncodedAuthorizationMessage: body.encodedAuthorizationMessage,
		RetryAfter:                  parseRetryAfter(a.header, time.Now()),
		Attempts:                    c.attempts,
	}
}
