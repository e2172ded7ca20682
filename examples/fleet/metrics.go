package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"example.com/huaweicloud/cdn"
)

// metrics counts what the clients do, as OpenTelemetry.
type metrics struct {
	registry  *prometheus.Registry
	exports   metric.Int64Counter
	requests  metric.Int64Counter
	refusals  metric.Int64Counter
	quotaWait metric.Float64Counter

	mu   sync.Mutex
	open map[openExport]time.Time // when the tasks of the exports that run were known
}

// openExport is an export whose task is known and not yet finished.
type openExport struct{ account, key string }

func newMetrics() (*metrics, error) {
	m := &metrics{registry: prometheus.NewRegistry(), open: map[openExport]time.Time{}}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(m.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	name := resource.NewSchemaless(attribute.String("service.name", "fleet"))
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(name)).Meter("fleet")
	var errs [5]error
	m.exports, errs[0] = meter.Int64Counter("cdn.exports", metric.WithDescription("Exports that ended, by outcome."))
	m.requests, errs[1] = meter.Int64Counter("cdn.requests", metric.WithDescription("Requests by operation and status; status 0 is no response."))
	m.refusals, errs[2] = meter.Int64Counter("cdn.refusals", metric.WithDescription("Requests that were refused for the account's quota."))
	m.quotaWait, errs[3] = meter.Float64Counter("cdn.quota.wait", metric.WithUnit("s"), metric.WithDescription("Time that requests waited for the quota."))
	_, errs[4] = meter.Float64ObservableGauge("cdn.oldest.open.task.age", metric.WithUnit("s"),
		metric.WithDescription("For how long this replica knows the oldest task that is not finished."), metric.WithFloat64Callback(m.observeAge))
	return m, errors.Join(errs[:]...)
}

// observer returns the observer of an account's client.
func (m *metrics) observer(name string) cdn.Observer {
	ctx, of := context.Background(), attribute.String("account", name)
	return cdn.Observer{
		Request: func(event cdn.RequestEvent) {
			operation := attribute.String("operation", event.Operation)
			m.requests.Add(ctx, 1, metric.WithAttributes(of, operation, attribute.Int("status", event.StatusCode)))
			m.quotaWait.Add(ctx, event.QuotaWait.Seconds(), metric.WithAttributes(of))
			if event.Throttled {
				m.refusals.Add(ctx, 1, metric.WithAttributes(of, operation))
			}
		},
		ExportCreated: func(event cdn.ExportEvent) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.open[openExport{name, event.Key}] = time.Now()
		},
		ExportDone: func(event cdn.ExportEvent) {
			m.exports.Add(ctx, 1, metric.WithAttributes(of, attribute.String("outcome", string(outcomeOf(event.Err)))))
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.open, openExport{name, event.Key})
		},
	}
}

// observeAge observes the age of each account's oldest open task; an account without one has no value.
func (m *metrics) observeAge(_ context.Context, observer metric.Float64Observer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldest := map[string]time.Duration{}
	for e, since := range m.open {
		oldest[e.account] = max(oldest[e.account], time.Since(since))
	}
	for name, age := range oldest {
		observer.Observe(age.Seconds(), metric.WithAttributes(attribute.String("account", name)))
	}
	return nil
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// serve serves /metrics at address until stop is called. Without an address it serves nothing.
func (m *metrics) serve(address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-metrics: %w", err)
	}
	server := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with Close
	return func() { _ = server.Close() }, nil
}
