package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

// scrape returns what Prometheus would read.
func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	server := httptest.NewServer(m.handler())
	defer server.Close()
	response, err := http.Get(server.URL + "/metrics")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

func TestMetrics_scrape(t *testing.T) {
	m, err := newMetrics()
	require.NoError(t, err)
	observer := m.observer("shop")
	observer.Request(cdn.RequestEvent{Operation: "CreateExportTask", StatusCode: 200})
	observer.Request(cdn.RequestEvent{Operation: "ListExportTasks", StatusCode: 429, Throttled: true, QuotaWait: 1500 * time.Millisecond})
	observer.Request(cdn.RequestEvent{Operation: "ListExportTasks"})
	observer.ExportCreated(cdn.ExportEvent{Key: "shop/flux/2026-11-25"})

	text := scrape(t, m)
	require.Contains(t, text, `cdn_requests_total{account="shop",operation="CreateExportTask",status="200"} 1`)
	require.Contains(t, text, `cdn_requests_total{account="shop",operation="ListExportTasks",status="429"} 1`)
	require.Contains(t, text, `cdn_requests_total{account="shop",operation="ListExportTasks",status="0"} 1`)
	require.Contains(t, text, `cdn_refusals_total{account="shop",operation="ListExportTasks"} 1`)
	require.Contains(t, text, `cdn_quota_wait_seconds_total{account="shop"} 1.5`)
	require.Contains(t, text, `cdn_oldest_open_task_age_seconds{account="shop"} `)

	observer.ExportDone(cdn.ExportEvent{Key: "shop/flux/2026-11-25"})
	observer.ExportDone(cdn.ExportEvent{Key: "shop/flux/2026-11-24", Err: cdn.ErrAmbiguousExport})
	text = scrape(t, m)
	require.Contains(t, text, `cdn_exports_total{account="shop",outcome="finished"} 1`)
	require.Contains(t, text, `cdn_exports_total{account="shop",outcome="ambiguous"} 1`)
	require.NotContains(t, text, `cdn_oldest_open_task_age_seconds{`)
}

func TestMetrics_serve(t *testing.T) {
	m, err := newMetrics()
	require.NoError(t, err)
	stop, err := m.serve("127.0.0.1:0")
	require.NoError(t, err)
	stop()
	_, err = m.serve("no address")
	require.ErrorContains(t, err, "-metrics: ")
}
