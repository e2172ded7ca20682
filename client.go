package cdn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
)

// Version is this package's version, as it stands in the User-Agent.
const Version = "0.1.0"

// CdnClient calls the export-tasks API of the CDN. It is safe for concurrent use; one client should
// serve a whole program, since its connections are reused. Printing or logging it shows no secret.
type CdnClient struct {
	endpoint  func() (*url.URL, error)
	http      *http.Client
	userAgent string
}

// NewCdnClient builds a client, from the credentials that the environment holds and for
// [DefaultRegion] where no option says otherwise. It does no network I/O, and reads a file only to
// look up a region that is not built in; credentials are looked for at the first call, in this
// order: the variables CLOUD_SDK_AK and CLOUD_SDK_SK (with CLOUD_SDK_SECURITY_TOKEN for temporary
// ones); HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; the file ~/.huaweicloud/credentials; the
// instance metadata; the pod identity.
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
	return &CdnClient{
		endpoint:  endpoint,
		http:      &httpClient,
		userAgent: strings.TrimSpace(o.userAgent + " huaweicloud-cdn-go/" + Version + " " + runtime.Version()),
	}, nil
}

// CloseIdleConnections closes the connections that no call is using. Calls after it open new ones.
func (c *CdnClient) CloseIdleConnections() { c.http.CloseIdleConnections() }

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

// answer is an answer with its whole body.
type answer struct {
	ResponseMetadata
	header http.Header
	text   string
	call   *call
}

// do takes every call its way: it builds the request, sends it down the chain of transports, and
// makes an error of any answer that is not a 2xx.
func (c *CdnClient) do(ctx context.Context, op operation) (*answer, error) {
	if ctx == nil {
		return nil, fmt.Errorf("cdn: %s: %w", op.name, invalid("ctx", nil, "must not be nil"))
	}
	call := &call{operation: op.name}
	req, err := c.newRequest(withCall(ctx, call), op)
	if err != nil {
		return nil, call.failure(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, call.failure(err)
	}
	defer resp.Body.Close()
	text, err := bodyText(resp)
	if err != nil {
		return nil, call.failure(err)
	}
	got := &answer{
		ResponseMetadata: ResponseMetadata{StatusCode: resp.StatusCode, RequestID: call.requestID, Attempts: call.attempts},
		header:           resp.Header,
		text:             text,
		call:             call,
	}
	if !isSuccess(resp.StatusCode) {
		return nil, got.apiError()
	}
	return got, nil
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

// malformed is the error for a 2xx whose body is not a whole, well-formed answer.
func (a *answer) malformed(why error) error {
	beginning := "the body is empty"
	if strings.TrimSpace(a.text) != "" {
		beginning = "the body begins " + excerpt(a.call.withoutSecrets(a.text[:min(len(a.text), 1<<10)]), maxExcerpt)
	}
	return a.call.failure(fmt.Errorf("%w: %w; %s", ErrMalformedResponse, why, beginning))
}

// apiError is the error for an answer that reports one.
func (a *answer) apiError() *APIError {
	text := a.call.withoutSecrets(a.text)
	body := parseErrorBody(text)
	if !body.found() {
		body.ErrorMsg = excerpt(text, maxExcerpt)
	}
	if location := a.header.Get("Location"); a.StatusCode/100 == 3 && location != "" {
		body.ErrorMsg = excerpt("redirected to "+redactLink(location)+", which is not followed", maxExcerpt)
	}
	return &APIError{
		Operation:                   a.call.operation,
		StatusCode:                  a.StatusCode,
		RequestID:                   firstOf(a.RequestID, body.requestID),
		ErrMsg:                      body.ErrMsg,
		EncodedAuthorizationMessage: body.encodedAuthorizationMessage,
		Attempts:                    a.Attempts,
	}
}
