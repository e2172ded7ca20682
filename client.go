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

// Version is this package's version, as it stands in the User-Agent.
const Version = "0.2.0"

// CdnClient calls the export-tasks API of the CDN. It is safe for concurrent use; one client should
// serve a whole program, since its connections are reused. Printing or logging it shows no secret.
type CdnClient struct {
	endpoint  func() (endpoint, error)
	pipeline  handler
	userAgent string
	poller    *poller
	// exportTurn holds whoever is creating a task and finding it.
	exportTurn chan struct{}
	journal    *exportJournal // nil without WithJournal
	store      *store
	observer   Observer
}

// NewCdnClient builds a client, from the credentials that the environment holds and for
// [DefaultRegion] where no option says otherwise. It does no network I/O, and reads a file only to
// look up a region that is not built in; credentials are looked for at the first call, in this
// order: the variables CLOUD_SDK_AK and CLOUD_SDK_SK (with CLOUD_SDK_SECURITY_TOKEN for temporary
// ones); the id token of HUAWEICLOUD_SDK_IDP_ID and HUAWEICLOUD_SDK_ID_TOKEN_FILE;
// HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; the file ~/.huaweicloud/credentials, or the one of
// HUAWEICLOUD_SDK_CREDENTIALS_FILE; the pod identity; the instance metadata, for which the first call may
// take some seconds if there are none. The first source that is configured is used. If it cannot be used,
// the call returns an error that names it, and no other source signs.
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

// do sends op and returns the finished call, never nil. Its response is a 2xx that decoded if the error is nil;
// a response that reports an error is an *APIError.
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
