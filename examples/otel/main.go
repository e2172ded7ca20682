// Command otel traces each attempt of a call as a span of OpenTelemetry and counts requests as a metric. It uses a
// server in this process that is busy once. It takes no arguments.
//
//	go run ./examples/otel
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	// A real program sends its spans to a collector. Here they are printed.
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(printer{out}))
	defer func() { _ = provider.Shutdown(ctx) }() // all spans are printed by then

	server := cdntest.NewServer(cdntest.WithSampleTasks(3))
	defer server.Close()
	server.Inject(cdntest.Fault{Status: http.StatusServiceUnavailable})

	// The client of WithHTTPClient sends each attempt, with the context of the call. Retries and signing are above
	// it, so headers that a propagator adds are not signed. The service accepts that.
	base := http.DefaultTransport.(*http.Transport).Clone()
	defer base.CloseIdleConnections()
	transport := otelhttp.NewTransport(base, otelhttp.WithTracerProvider(provider))
	reader := sdkmetric.NewManualReader()
	observer, err := countRequests(ctx, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("report"))
	if err != nil {
		return err
	}
	client, err := cdn.NewCdnClient(
		cdn.WithObserver(observer),
		cdn.WithEndpoint(server.URL),
		cdn.WithAKSK(server.AK, server.SK),
		cdn.WithHTTPClient(&http.Client{Transport: transport}),
	)
	if err != nil {
		return err
	}

	ctx, span := provider.Tracer("report").Start(ctx, "list export tasks")
	page, err := client.ListExportTasks(ctx, nil)
	if err != nil {
		span.RecordError(err)
	} else {
		span.SetAttributes(attribute.Int("cdn.attempts", page.Attempts), attribute.Int("cdn.tasks", page.Total))
	}
	span.End()
	return errors.Join(err, printCounts(ctx, reader, out))
}

// printer is an exporter that prints a line for each span.
type printer struct{ out io.Writer }

func (p printer) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, span := range spans {
		parent := "-"
		if span.Parent().IsValid() {
			parent = span.Parent().SpanID().String()
		}
		_, err := fmt.Fprintf(p.out, "trace %s  span %s  parent %-16s  %q", span.SpanContext().TraceID(), span.SpanContext().SpanID(), parent, span.Name())
		if err != nil {
			return err
		}
		for _, attr := range span.Attributes() {
			switch attr.Key {
			case "http.response.status_code", "cdn.attempts", "cdn.tasks":
				if _, err := fmt.Fprintf(p.out, "  %s=%s", attr.Key, attr.Value.String()); err != nil {
					return err
				}
			}
		}
		if _, err := fmt.Fprintln(p.out); err != nil {
			return err
		}
	}
	return nil
}

func (printer) Shutdown(context.Context) error { return nil }
