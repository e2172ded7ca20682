package cdn

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
)

// Version is the version of this package. The User-Agent of each request names it.
const Version = "0.2.0"

// CdnClient calls the export-tasks API of the CDN. It is safe for concurrent use. One client should serve a whole
// program: its calls share connections, one poll loop and the account's quota. Printing or logging a client shows no
// secret.
type CdnClient struct {
	endpoint  func() (endpoint, error)
	pipeline  handler
	userAgent string
	poller    *poller
	// exportTurn is a semaphore: one Export at a time creates and finds its task.
	exportTurn chan struct{}
	journal    *exportJournal // nil without WithJournal
	store      *store
	observer   Observer
}

// NewCdnClient returns a client. Without options it calls [DefaultRegion] and finds its credentials by itself. It does
// no network I/O. It reads a file only to look up a region that is not built in.
//
// A client without [WithAKSK] and [WithCredentials] looks for credentials at its first call, in this order:
//
//   - the variables CLOUD_SDK_AK and CLOUD_SDK_SK, with CLOUD_SDK_SECURITY_TOKEN for temporary credentials
//   - the id token of HUAWEICLOUD_SDK_IDP_ID and HUAWEICLOUD_SDK_ID_TOKEN_FILE
//   - the variables HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK
//   - the file that HUAWEICLOUD_SDK_CREDENTIALS_FILE names, by default ~/.huaweicloud/credentials
//   - the identity of the pod
//   - the instance metadata; if there is none, the call may take some seconds to find out
//
// The first source that is configured is used. If it cannot be used, the call returns an error that names it, and no
// other source is tried.
//
// An error of NewCdnClient wraps [ErrInvalidParameter] and names the option.
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
	clock, pacer := &clock{}, newPacer(o.logger)
	client := &CdnClient{
		endpoint:   endpoint,
		pipeline:   newPipeline(o, clock, pacer),
		exportTurn: make(chan struct{}, 1),
		store:      newStore(o),
		observer:   o.observer,
		userAgent:  strings.TrimSpace(o.userAgent + " huaweicloud-cdn-go/" + Version + " " + runtime.Version()),
	}
	client.poller = newPoller(client, o, pacer.IsLimited)
	if o.journal != nil {
		client.journal = newExportJournal(client, o, clock)
	}
	return client, nil
}

// CloseIdleConnections closes the connections that no call is using. Later calls open new ones. With
// [WithHTTPClient], it closes those of the given transport, which other clients may share. It does nothing if that
// transport has no method of this name.
func (c *CdnClient) CloseIdleConnections() { c.store.http.CloseIdleConnections() }

// Format prints the name of the type only, with every verb: the fields of a client hold secrets.
func (c *CdnClient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "*cdn.CdnClient") }

// LogValue returns the name of the type only.
func (c *CdnClient) LogValue() slog.Value { return slog.StringValue("*cdn.CdnClient") }

// exportTasksPath is the path of every call of the export-tasks API.
const exportTasksPath = "/v1/cdn/statistics/export-tasks"

// do sends op and returns the finished call, never nil. A nil error means that the response is a 2xx that decoded. A
// response that reports an error is an *APIError.
func (c *CdnClient) do(ctx context.Context, op operation) (*call, error) {
	call := &call{operation: op, userAgent: c.userAgent}
	if ctx == nil {
		return call, invalid("ctx", nil, "must not be nil")
	}
	if ctx.Err() != nil {
		return call, endOf(ctx)
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return call, err
	}
	call.url = &url.URL{Scheme: endpoint.url.Scheme, Host: endpoint.url.Host, Path: exportTasksPath, RawQuery: op.query}
	if err := c.pipeline(ctx, call); err != nil {
		return call, call.describe(ctx, endpoint.withSource(err))
	}
	return call, nil
}
