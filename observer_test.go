package cdn_test

import (
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/journal"
)

// exportEvents collects the events of exports.
type exportEvents struct {
	mu      sync.Mutex
	created []cdn.ExportEvent
	done    []cdn.ExportEvent
}

func (e *exportEvents) observer() cdn.Observer {
	return cdn.Observer{
		ExportCreated: func(event cdn.ExportEvent) { e.mu.Lock(); defer e.mu.Unlock(); e.created = append(e.created, event) },
		ExportDone:    func(event cdn.ExportEvent) { e.mu.Lock(); defer e.mu.Unlock(); e.done = append(e.done, event) },
	}
}

func observedClient(t *testing.T, e *exportEvents, options ...cdn.Option) *cdn.CdnClient {
	t.Helper()
	server := cdntest.NewServer(cdntest.WithExportTime(0))
	t.Cleanup(server.Close)
	return server.NewClient(append([]cdn.Option{
		cdn.WithObserver(e.observer()), cdn.WithListLag(time.Millisecond), cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond),
	}, options...)...)
}

func observedRequest() *cdn.CreateExportTaskRequest {
	end := time.Now().Truncate(time.Hour)
	return &cdn.CreateExportTaskRequest{
		Action: cdn.ActionReportsDetail, DomainNames: []string{"all"}, StartTime: end.Add(-time.Hour), EndTime: end,
		Interval: time.Hour, StatType: cdn.StatTypeFlux,
	}
}

func TestObserver_export_without_key(t *testing.T) {
	e := &exportEvents{}
	task, err := observedClient(t, e).Export(t.Context(), observedRequest())
	require.NoError(t, err)
	require.Len(t, e.created, 1)
	require.Len(t, e.done, 1)
	require.Equal(t, task.TaskID, e.created[0].TaskID)
	require.Equal(t, task.TaskID, e.done[0].TaskID)
	require.Empty(t, e.done[0].Key)
	require.NoError(t, e.done[0].Err)
	require.Positive(t, e.created[0].Duration)
	require.GreaterOrEqual(t, e.done[0].Duration, e.created[0].Duration)
}

func TestObserver_repeated_key_has_the_same_task(t *testing.T) {
	e := &exportEvents{}
	records, err := journal.OpenDir(filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, err)
	client := observedClient(t, e, cdn.WithJournal(records))
	request := observedRequest()
	for range 2 {
		_, err := client.ExportFile(t.Context(), request, filepath.Join(t.TempDir(), "file"), cdn.WithExportKey("day"))
		require.NoError(t, err)
	}
	require.Len(t, e.created, 2)
	require.Len(t, e.done, 2)
	for _, event := range append(e.created, e.done...) {
		require.Equal(t, "day", event.Key)
		require.Equal(t, e.created[0].TaskID, event.TaskID)
	}
}

func TestObserver_failed_export(t *testing.T) {
	e := &exportEvents{}
	client := observedClient(t, e)
	_, exportErr := client.Export(t.Context(), nil)
	_, fileErr := client.ExportFile(t.Context(), observedRequest(), filepath.Join(t.TempDir(), "missing", "file"))
	require.Empty(t, e.created)
	require.Len(t, e.done, 2)
	require.Equal(t, exportErr, e.done[0].Err)
	require.Equal(t, fileErr, e.done[1].Err)
	require.Empty(t, e.done[1].TaskID)
}

// requestEvents returns an observer that collects the requests of downloads.
func requestEvents() (cdn.Option, func() []cdn.RequestEvent) {
	var mu sync.Mutex
	var events []cdn.RequestEvent
	observe := cdn.WithObserver(cdn.Observer{Request: func(event cdn.RequestEvent) {
		mu.Lock()
		defer mu.Unlock()
		if event.Operation == "Download" {
			events = append(events, event)
		}
	}})
	return observe, func() []cdn.RequestEvent {
		mu.Lock()
		defer mu.Unlock()
		return events
	}
}

func TestObserver_download_reports_each_request(t *testing.T) {
	const content = "domain,flux\n"
	requests := 0
	observe, events := requestEvents()
	client, id := storeOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>busy</Message></Error>")
			return
		}
		_, _ = io.WriteString(w, content)
	}, observe)
	_, err := client.Download(t.Context(), id, io.Discard)
	require.NoError(t, err)

	got := events()
	require.Len(t, got, 2)
	var response *cdn.APIError
	require.ErrorAs(t, got[0].Err, &response)
	require.Equal(t, "Download", response.Operation)
	require.Positive(t, got[0].Duration)
	require.Positive(t, got[1].Duration)
	got[0].Err, got[0].Duration, got[1].Duration = nil, 0, 0
	require.Equal(t, []cdn.RequestEvent{
		{Operation: "Download", Attempt: 1, StatusCode: 503, ErrorCode: "SlowDown"},
		{Operation: "Download", Attempt: 2, StatusCode: 200, Bytes: int64(len(content))},
	}, got)
}

func TestObserver_download_failures(t *testing.T) {
	for name, test := range map[string]struct {
		serve  http.HandlerFunc
		status int
		bytes  int64
		is     error
	}{
		"no response": {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, is: io.EOF},
		"malformed": {
			serve:  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) },
			status: 206, is: cdn.ErrMalformedResponse,
		},
		"body cut short": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "12345")
		}, status: 200, bytes: 5, is: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			observe, events := requestEvents()
			client, id := storeOf(t, test.serve, observe)
			_, err := client.Download(t.Context(), id, io.Discard)
			require.Error(t, err)
			first := events()[0]
			require.Equal(t, test.status, first.StatusCode)
			require.Equal(t, test.bytes, first.Bytes)
			require.ErrorIs(t, first.Err, test.is)
			require.NotContains(t, first.Err.Error(), "s3cret")
		})
	}
}
