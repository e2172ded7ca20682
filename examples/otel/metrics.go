package main

import (
	"context"
	"fmt"
	"io"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"example.com/huaweicloud/cdn"
)

// countRequests returns an observer that counts requests with meter.
func countRequests(ctx context.Context, meter metric.Meter) (cdn.Observer, error) {
	requests, err := meter.Int64Counter("cdn.requests")
	return cdn.Observer{Request: func(event cdn.RequestEvent) {
		requests.Add(ctx, 1, metric.WithAttributes(attribute.String("operation", event.Operation), attribute.Int("status", event.StatusCode)))
	}}, err
}

// printCounts prints the counts. A real program exports them, for example to Prometheus as examples/fleet does.
func printCounts(ctx context.Context, reader *sdkmetric.ManualReader, out io.Writer) error {
	var all metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &all); err != nil {
		return err
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
				if _, err := fmt.Fprintf(out, "metric %s %s = %d\n", m.Name, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
