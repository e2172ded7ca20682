package cdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exporting is a service with some tasks.
func exporting() *fakeService {
	service := &fakeService{}
	for i := range 150 {
		at := time.Now().Add(-time.Duration(i+1) * time.Minute)
		service.tasks = append(service.tasks, ExportTask{TaskID: fmt.Sprintf("old-%d", i), Status: ExportTaskSuccess, CreateTime: at, UpdateTime: at})
	}
	return service
}

// finish ends all tasks that are not finished.
func (f *fakeService) finish(status ExportTaskStatus) {
	f.mu.Lock()
	var ids []string
	for _, task := range f.tasks {
		if !task.Status.Done() {
			ids = append(ids, task.TaskID)
		}
	}
	f.mu.Unlock()
	for _, id := range ids {
		f.set(id, status)
	}
}

// after runs f after a while. It does nothing after the test.
func after(t *testing.T, while time.Duration, f func()) {
	timer := time.AfterFunc(while, f)
	t.Cleanup(func() { timer.Stop() })
}

// onCreate has creates served by f, which holds the service's lock.
func (f *fakeService) onCreate(serve func() (*http.Response, error)) {
	f.before = func(req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodPost {
			return nil, nil
		}
		return serve()
	}
}

func TestExport_returns_the_finished_task(t *testing.T) {
	for status, want := range map[ExportTaskStatus]error{ExportTaskSuccess: nil, ExportTaskFail: ErrTaskFailed} {
		synctest.Test(t, func(t *testing.T) {
			service := exporting()
			after(t, time.Minute, func() { service.finish(status) })
			var log bytes.Buffer
			client := newTestClient(t, service, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			task, err := client.Export(t.Context(), &CreateExportTaskRequest{})
			require.ErrorIs(t, err, want)
			assert.Equal(t, "created-1", task.TaskID)
			assert.Equal(t, status, task.Status)
			assert.Equal(t, 1, service.creates)
			assert.Contains(t, log.String(), `msg="cdn: waiting for the export's task" task_id=created-1`)
		})
	}
}

func TestExport_invalid_arguments_before_any_request(t *testing.T) {
	service := exporting()
	client := newTestClient(t, service)
	for _, request := range []*CreateExportTaskRequest{nil, {Interval: -1}} {
		_, err := client.Export(t.Context(), request)
		require.ErrorIs(t, err, ErrInvalidParameter)
		_, err = client.ExportFile(t.Context(), request, "x")
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
	_, err := client.Export(noContext, &CreateExportTaskRequest{})
	require.ErrorIs(t, err, ErrInvalidParameter)
	_, err = client.Export(t.Context(), &CreateExportTaskRequest{}, nil)
	require.EqualError(t, err, "cdn: Export: invalid parameter: option 0 is nil")
	assert.Zero(t, service.requests)

	for path, want := range map[string]error{
		"":          ErrInvalidParameter,
		t.TempDir(): ErrInvalidParameter,
		filepath.Join(t.TempDir(), "no", "report"): fs.ErrNotExist,
	} {
		_, err = client.ExportFile(t.Context(), &CreateExportTaskRequest{}, path)
		require.ErrorIs(t, err, want)
	}
	assert.Zero(t, service.requests)

	_, err = NewCdnClient(WithListLag(-1))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

// TestExport_proof scripts the service: a task is certain one lag after its create, not before.
func TestExport_proof(t *testing.T) {
	add := func(service *fakeService, ids ...string) {
		for _, id := range ids {
			service.add(ExportTask{TaskID: id, Status: ExportTaskSuccess})
		}
	}
	set := func(id string) func(*fakeService) {
		return func(service *fakeService) { service.set(id, ExportTaskSuccess) }
	}
	ok := func() (*http.Response, error) { return reply(200, ""), nil }
	tests := []struct {
		name   string
		create func(*fakeService) // in the moment of the create
		answer func() (*http.Response, error)
		later  map[time.Duration]func(*fakeService)
		want   string // the id, or a text of the error
		is     []error
	}{
		{"alone", func(s *fakeService) { add(s, "mine") }, ok, nil, "mine", nil},
		{"shows after 2 s", nil, ok, map[time.Duration]func(*fakeService){2 * time.Second: set("mine")}, "mine", nil},
		{"shows after 20 s", nil, ok, map[time.Duration]func(*fakeService){20 * time.Second: set("mine")}, "mine", nil},
		{"another's shows first", nil, ok, map[time.Duration]func(*fakeService){time.Second: set("other"), 2 * time.Second: set("mine")},
			"ambiguous export: it may be any of other, mine", []error{ErrAmbiguousExport}},
		{"another's at once", func(s *fakeService) { add(s, "other", "mine") }, ok, nil,
			"ambiguous export: it may be any of other, mine", []error{ErrAmbiguousExport}},
		{"never shows", nil, ok, nil, "there is no new task in the list", []error{ErrOutcomeUnknown}},
		{"lost, and there", func(s *fakeService) { add(s, "mine") }, lostAnswers["bad gateway"], nil,
			"mine is new, and may be it or another user's", []error{ErrOutcomeUnknown, ErrAmbiguousExport}},
		{"lost, and another's shows", nil, lostAnswers["reset"], map[time.Duration]func(*fakeService){time.Second: set("other")},
			"other is new, and may be it or another user's", []error{ErrOutcomeUnknown}},
		{"lost, and two show", func(s *fakeService) { add(s, "other", "mine") }, lostAnswers["timeout"], nil,
			"it may be any of other, mine", []error{ErrOutcomeUnknown, ErrAmbiguousExport}},
		{"lost, and not there", nil, lostAnswers["HTML"], nil, "there is no new task in the list yet", []error{ErrOutcomeUnknown, ErrMalformedResponse}},
		{"an old task changes", func(s *fakeService) {
			add(s, "mine")
			s.tasks = append(s.tasks[:40], s.tasks[41:]...)
			s.tasks = s.tasks[:100]
		}, ok, nil, "mine", nil},
		{"no time of creation", func(s *fakeService) { add(s, "timeless"); s.tasks[0].CreateTime = time.Time{} }, ok, nil,
			"it may be any of timeless", []error{ErrAmbiguousExport}},
		{"no time of change yet", func(s *fakeService) { add(s, "mine"); s.tasks[0].UpdateTime = time.Time{} }, ok, nil, "mine", nil},
		{"named", func(s *fakeService) { add(s, "other", "mine") },
			func() (*http.Response, error) { return reply(200, `{"task_id":"mine"}`), nil }, nil, "mine", nil},
		{"named, shows after a minute", nil, func() (*http.Response, error) { return reply(200, `{"task_id":"mine"}`), nil },
			map[time.Duration]func(*fakeService){time.Minute: set("mine")}, "mine", nil},
		{"refused", func(s *fakeService) { add(s, "other") }, func() (*http.Response, error) { return reply(403, ""), nil }, nil,
			"403 Forbidden", []error{ErrForbidden}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := exporting()
				time.Sleep(time.Minute)
				service.onCreate(func() (*http.Response, error) {
					if test.create != nil {
						test.create(service)
					}
					for while, change := range test.later {
						after(t, while, func() { change(service) })
					}
					return test.answer()
				})
				start := time.Now()
				task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
				assert.Equal(t, 1, service.creates, "never a second one")
				if test.is == nil {
					require.NoError(t, err)
					assert.Equal(t, test.want, task.TaskID)
					if test.name != "named" {
						assert.GreaterOrEqual(t, time.Since(start), 3*time.Second)
					}
					return
				}
				assert.Nil(t, task)
				require.ErrorContains(t, err, test.want)
				assert.True(t, strings.HasPrefix(err.Error(), "cdn: Export: "), err)
				assert.NotContains(t, err.Error(), "\n")
				for _, target := range test.is {
					require.ErrorIs(t, err, target)
				}
				assert.Less(t, time.Since(start), 3*time.Minute)
			})
		})
	}
}

// lostAnswers are the ways in which a create may have an effect and no response.
var lostAnswers = map[string]func() (*http.Response, error){
	"reset":       func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	"timeout":     func() (*http.Response, error) { return nil, timeoutError{} },
	"bad gateway": func() (*http.Response, error) { return reply(502, ""), nil },
	"HTML":        func() (*http.Response, error) { return reply(200, "<html>"), nil },
}

// Without a lag, the task is certain with the reading after its create.
func TestExport_no_lag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting()
		after(t, time.Second, func() { service.finish(ExportTaskSuccess) })
		start := time.Now()
		task, err := newTestClient(t, service, WithListLag(0)).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "created-1", task.TaskID)
		assert.Less(t, time.Since(start), 3*time.Second)
	})
}

// many runs n exports at once. It returns the ids and the errors.
func many(ctx context.Context, client *CdnClient, n int) (ids map[string]bool, failures []error) {
	ids = make(map[string]bool)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			task, err := client.Export(ctx, &CreateExportTaskRequest{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			ids[task.TaskID] = true
		})
	}
	wg.Wait()
	return ids, failures
}

// working is a service that takes its time, for requests and for tasks.
type working struct {
	*fakeService
	t       *testing.T
	latency time.Duration
	work    time.Duration
}

func (s *working) RoundTrip(req *http.Request) (*http.Response, error) {
	if !retry.Sleep(req.Context(), s.latency) {
		return nil, req.Context().Err()
	}
	resp, err := s.fakeService.RoundTrip(req)
	if req.Method == http.MethodPost && err == nil {
		s.mu.Lock()
		id := s.tasks[0].TaskID
		s.mu.Unlock()
		after(s.t, s.work, func() { s.set(id, ExportTaskSuccess) })
	}
	return resp, err
}

// The snapshot before a create is the last reading, the reading after it finds the task, and all share the polls.
func TestExport_requests_of_100_at_once(t *testing.T) {
	for _, n := range []int{100, 400} {
		synctest.Test(t, func(t *testing.T) {
			service := &working{exporting(), t, 50 * time.Millisecond, time.Minute}
			ids, failures := many(t.Context(), newTestClient(t, service), n)
			assert.Empty(t, failures)
			assert.Len(t, ids, n)
			assert.Equal(t, n, service.creates)
			t.Logf("%d exports: %d requests (%d lists, %d look-ups)", n, service.requests, service.lists, service.gets)
			assert.LessOrEqual(t, float64(service.requests), 2.3*float64(n))
		})
	}
}

// Another user's tasks make exports ambiguous, and never wrong. The error has all that it may be.
func TestExport_beside_other_users(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &working{exporting(), t, 50 * time.Millisecond, time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				time.Sleep(1700 * time.Millisecond)
				service.set(fmt.Sprintf("other-%d", i), ExportTaskSuccess)
			}
		}()
		ids, failures := many(t.Context(), newTestClient(t, service), 60)
		cancel()
		time.Sleep(2 * time.Second)
		assert.Equal(t, 60, len(ids)+len(failures))
		for id := range ids {
			assert.Contains(t, id, "created-")
		}
		for _, err := range failures {
			var ambiguous *AmbiguousExportError
			require.ErrorAs(t, err, &ambiguous)
			assert.GreaterOrEqual(t, len(ambiguous.Candidates), 2)
		}
		assert.Equal(t, 60, service.creates)
	})
}

// A lost response does not make the exports before and after it ambiguous.
func TestExport_lost_create_in_a_batch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &working{exporting(), t, 50 * time.Millisecond, time.Minute}
		service.onCreate(func() (*http.Response, error) {
			if service.creates == 5 {
				return reply(502, ""), nil
			}
			return nil, nil
		})
		ids, failures := many(t.Context(), newTestClient(t, service), 10)
		assert.Len(t, ids, 9)
		require.Len(t, failures, 1)
		require.ErrorIs(t, failures[0], ErrOutcomeUnknown)
	})
}

func TestExport_readings_fail(t *testing.T) {
	tests := []struct {
		name    string
		creates int // how many creates there were before the readings fail
		status  int
		want    []error
		not     error
	}{
		{"before the create", 0, 401, []error{ErrUnauthorized}, ErrOutcomeUnknown},
		{"after the create", 1, 403, []error{ErrForbidden, ErrOutcomeUnknown}, nil},
		{"after the create, for a while", 1, 503, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := exporting()
				failures := 0
				service.before = func(req *http.Request) (*http.Response, error) {
					if service.creates != test.creates || req.Method == http.MethodPost || test.status == 503 && failures == 6 {
						return nil, nil
					}
					failures++
					return reply(test.status, ""), nil
				}
				after(t, time.Minute, func() { service.finish(ExportTaskSuccess) })
				task, err := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 2})).Export(t.Context(), &CreateExportTaskRequest{})
				assert.Equal(t, test.want == nil, err == nil, err)
				for _, target := range test.want {
					require.ErrorIs(t, err, target)
				}
				if test.not != nil {
					require.NotErrorIs(t, err, test.not)
				}
				if err == nil {
					assert.Equal(t, "created-1", task.TaskID)
				}
				assert.LessOrEqual(t, service.creates, 1)
			})
		})
	}
}

// The error of an export that is left says what is known of its task.
func TestExport_context_ends(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		id    string
		want  string
		is    error
	}{
		{"while the task is not certain", time.Second, "",
			"cdn: Export: find the new task: context deadline exceeded (created-1 is new, and not certain yet); outcome unknown: check the list before creating another task", ErrOutcomeUnknown},
		{"while the task is waited for", time.Minute, "created-1",
			`cdn: Export: created-1: context deadline exceeded; the last status was "processing"`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				task, err := newTestClient(t, exporting()).Export(ctx, &CreateExportTaskRequest{})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.EqualError(t, err, test.want)
				assert.Equal(t, test.is != nil, errors.Is(err, ErrOutcomeUnknown))
				if test.id == "" {
					assert.Nil(t, task)
				} else {
					assert.Equal(t, test.id, task.TaskID)
				}
			})
		})
	}
}

func TestExport_context_ends_before_its_turn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		service := exporting()
		client := newTestClient(t, service)
		client.exportTurn <- struct{}{}
		_, err := client.Export(ctx, &CreateExportTaskRequest{})
		require.EqualError(t, err, "cdn: Export: context deadline exceeded")
		assert.Zero(t, service.creates)
	})
}

// If the response names the task, the next export need not wait until the list shows it.
func TestExport_named_task_releases_the_turn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting()
		service.onCreate(func() (*http.Response, error) {
			id := fmt.Sprintf("named-%d", service.creates)
			after(t, time.Duration(70-10*service.creates)*time.Second, func() { service.set(id, ExportTaskSuccess) })
			return reply(200, `{"task_id":"`+id+`"}`), nil
		})
		ids, failures := many(t.Context(), newTestClient(t, service), 5)
		assert.Empty(t, failures)
		assert.Len(t, ids, 5)
	})
}

// A logger may call the client.
func TestExport_logger_calls_the_client(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting()
		after(t, time.Minute, func() { service.finish(ExportTaskSuccess) })
		var client *CdnClient
		client = newTestClient(t, service, WithLogger(slog.New(callingHandler(func(record slog.Record) {
			if strings.Contains(record.Message, "export's task") {
				_, err := client.ListExportTasks(t.Context(), nil)
				assert.NoError(t, err)
			}
		}))))
		_, err := client.Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
	})
}
