package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"example.com/huaweicloud/cdn"
)

// doctor runs the checks. Each file check_*.go has those of one part.
type doctor struct {
	settings
	options  []cdn.Option
	observer *observer
	source   string // of the keys
	report   *report
}

func newDoctor(s settings, options ...cdn.Option) *doctor {
	return &doctor{settings: s, options: options, observer: newObserver(), report: newReport()}
}

// client returns a client that sends each request once, through the observer.
func (d *doctor) client() (*cdn.CdnClient, error) {
	options := []cdn.Option{
		cdn.WithHTTPClient(&http.Client{Transport: d.observer}),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1, MaxThrottleWait: time.Millisecond}),
		cdn.WithLogger(slog.New(sourceLog{&d.source})),
		cdn.WithUserAgent("cdn-doctor/" + cdn.Version),
	}
	if d.region != "" {
		options = append(options, cdn.WithRegion(d.region))
	}
	if d.endpoint != "" {
		options = append(options, cdn.WithEndpoint(d.endpoint))
	}
	return cdn.NewCdnClient(append(options, d.options...)...)
}

// The names of the checks, in the order of the report.
var (
	networkChecks = []string{"dns", "proxy", "tls"}
	serviceChecks = []string{"clock", "signature", "permission", "quota"}
	listChecks    = []string{"list", "query", "order", "stamps", "totals", "limit", "offset", "names", "statuses", "lookup", "lag"}
	storeChecks   = []string{"link", "ranges", "if-match", "etag"}
)

// examine runs all checks. A check that depends on a broken one is skipped.
func (d *doctor) examine(ctx context.Context) *report {
	defer d.observer.base.CloseIdleConnections()
	if d.sandbox {
		d.source = "of the sandbox"
	}
	client, err := d.client()
	if err != nil {
		d.report.add("options", broken, err.Error(), "correct the flag or the variable that the error names")
		return d.report
	}
	first, err := client.ListExportTasks(ctx, nil)
	d.report.Requests = len(d.observer.seen)
	reached := d.checkKeys(err) && d.checkNetwork(err)
	if !reached || !d.checkService(err) {
		return d.report
	}
	if tasks, ok := d.checkList(ctx, client, first); ok {
		d.checkStore(ctx, tasks)
	}
	d.report.Requests = len(d.observer.seen)
	return d.report
}

// checkKeys reports whether there are keys to sign with.
func (d *doctor) checkKeys(err error) bool {
	if d.observer.last() != nil {
		if d.source == "" {
			d.source = "given by an option"
		}
		d.report.ok("keys", "%s", d.source)
		return true
	}
	advice := "set CLOUD_SDK_AK and CLOUD_SDK_SK, or correct the source that the error names"
	if !errors.Is(err, cdn.ErrNoCredentials) && d.source == "" {
		advice = "correct what the error names"
	}
	d.report.add("keys", broken, fmt.Sprint(err), advice)
	d.report.skip("there are no keys", append(append(append(networkChecks, serviceChecks...), listChecks...), storeChecks...)...)
	return false
}
