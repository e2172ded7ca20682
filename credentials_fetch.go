package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

const (
	// maxCredentialsResponse is the most that is read of a response with credentials, in bytes.
	maxCredentialsResponse = 1 << 20
	// maxLinkLocalTime is the timeout of one attempt to the metadata service or the pod agent, which respond
	// within milliseconds.
	maxLinkLocalTime = 10 * time.Second
	// linkLocalDialTime is the timeout for connecting to them. Outside the cloud, a network may drop the packets.
	linkLocalDialTime = 3 * time.Second
	// maxFetchRetryAfter is the longest Retry-After that a fetch waits for.
	maxFetchRetryAfter = time.Minute
)

// fetcher sends the requests that fetch credentials, and retries them by the client's policy.
type fetcher struct {
	// identity sends to the identity service, through the user's transport.
	identity *http.Client
	policy   RetryPolicy
	// insecureHTTP allows requests without encryption to any host.
	insecureHTTP bool
}

func newFetcher(o *options) *fetcher {
	identity := &http.Client{Transport: redact.Transport{Base: o.transport()}, CheckRedirect: followNone}
	return &fetcher{identity: identity, policy: o.retryPolicy, insecureHTTP: o.insecureHTTP}
}

// followNone follows no redirects: a token in a header must not reach another host.
func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// linkLocalClient returns a client for the metadata service and the pod agent. It uses no proxy, since a proxy
// would reach its own machine's, and keeps no connections. Otherwise it is like [http.DefaultTransport].
func linkLocalClient() *http.Client {
	transport := &http.Transport{}
	if base, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = base.Clone()
	}
	transport.Proxy = nil
	transport.DisableKeepAlives = true
	dial := transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, linkLocalDialTime)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, &dialError{err: err, timedOut: ctx.Err() != nil}
		}
		return conn, nil
	}
	return &http.Client{Transport: redact.Transport{Base: transport}, CheckRedirect: followNone}
}

// dialError reports that no connection was made.
type dialError struct {
	err      error
	timedOut bool
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// fetchRequest is one request for credentials.
type fetchRequest struct {
	method, url string
	header      http.Header
	body        string
	// expected are the statuses besides 2xx that are no errors.
	expected []int
	// secrets are redacted in errors, since a response may echo them.
	secrets []string
}

// fetchResponse is the response to a fetchRequest.
type fetchResponse struct {
	status int
	header http.Header
	body   string
}

// statusError is a response whose status is an error.
type statusError struct {
	status     int
	message    string // "CODE: text", redacted; may be empty
	retryAfter time.Duration
}

// Error names the status, and the code and message of the response.
func (e *statusError) Error() string {
	text := strings.TrimSpace("status " + strconv.Itoa(e.status) + " " + http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// Transient reports whether the same request may succeed later.
func (e *statusError) Transient() bool { return retry.IsTransientStatus(e.status) }

// send sends a request to the identity service.
func (f *fetcher) send(ctx context.Context, request fetchRequest) (*fetchResponse, error) {
	return request.send(ctx, f.identity, f.policy)
}

// sendLinkLocal sends a request to the metadata service or the pod agent.
func (f *fetcher) sendLinkLocal(ctx context.Context, request fetchRequest) (*fetchResponse, error) {
	policy := f.policy
	policy.AttemptTimeout = min(policy.AttemptTimeout, maxLinkLocalTime)
	return request.send(ctx, linkLocalClient(), policy)
}

// send sends the request until an attempt succeeds, fails permanently, or is the last of the policy.
func (r *fetchRequest) send(ctx context.Context, client *http.Client, policy RetryPolicy) (*fetchResponse, error) {
	backoff := retry.NewBackoff(policy.MinBackoff, policy.MaxBackoff)
	for n := 1; ; n++ {
		response, err := r.attempt(ctx, client, policy.AttemptTimeout)
		if err == nil {
			return response, nil
		}
		after, again := transientFetch(err)
		if !again || n >= policy.MaxAttempts || !retry.Sleep(ctx, after+backoff.Next()) {
			if n > 1 {
				err = fmt.Errorf("%w (%d attempts)", err, n)
			}
			return nil, err
		}
	}
}

// attempt sends the request once.
func (r *fetchRequest) attempt(ctx context.Context, client *http.Client, timeout time.Duration) (*fetchResponse, error) {
	attemptCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := r.do(attemptCtx, client)
	if err != nil && attemptCtx.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no response within the %v of one attempt: %w", timeout, err)
	}
	return response, err
}

// transientFetch reports whether another attempt may succeed, and the least delay before it. A connection to a
// link-local address that timed out is permanent: the machine is not in the cloud.
func transientFetch(err error) (time.Duration, bool) {
	var dial *dialError
	var status *statusError
	switch {
	case errors.As(err, &dial) && dial.timedOut:
		return 0, false
	case errors.As(err, &status):
		return status.retryAfter, status.Transient() && status.retryAfter <= maxFetchRetryAfter
	}
	return 0, retry.IsTransient(err)
}

// do sends the request and reads the response. A response whose status is neither 2xx nor expected is a
// *statusError.
func (r *fetchRequest) do(ctx context.Context, client *http.Client) (*fetchResponse, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header = r.header.Clone()
	req.Header.Set("User-Agent", "huaweicloud-cdn-go/"+Version)
	resp, err := client.Do(req)
	if err != nil {
		return nil, r.redactError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCredentialsResponse+1))
	switch {
	case !isSuccess(resp.StatusCode) && !slices.Contains(r.expected, resp.StatusCode):
		return nil, r.statusError(resp, string(body))
	case err != nil:
		return nil, fmt.Errorf("read the response: %w", r.redactError(err))
	case len(body) > maxCredentialsResponse:
		return nil, fmt.Errorf("%w: it is larger than %d bytes", errUnreadable, maxCredentialsResponse)
	}
	return &fetchResponse{status: resp.StatusCode, header: resp.Header, body: string(body)}, nil
}

// statusError returns the error for a response whose status is an error.
func (r *fetchRequest) statusError(resp *http.Response, body string) *statusError {
	text := r.redact(body)
	message := text
	if parsed := parseErrorBody(text); parsed.found() {
		message = strings.Trim(parsed.ErrorCode+": "+parsed.ErrorMsg, ": ")
	}
	message = redact.Links(redact.Excerpt(message, redact.Short))
	if location := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && location != "" {
		message = "redirected to " + redact.Excerpt(r.redact(redact.Link(location)), redact.Short) + ", which is not followed"
	}
	return &statusError{
		status:     resp.StatusCode,
		message:    message,
		retryAfter: retry.After(resp.Header, time.Now()),
	}
}

// redact returns text without the request's secrets.
func (r *fetchRequest) redact(text string) string {
	for _, secret := range r.secrets {
		text = redact.Secret(text, secret)
	}
	return text
}

// redactError returns a transport's error without secrets, and without the URL, since errors name the source.
func (r *fetchRequest) redactError(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if proxy := retry.AsProxyError(err); proxy != nil {
		return proxy
	}
	if text := r.redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}
