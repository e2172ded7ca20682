package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exporting is a service with some tasks that finishes what it creates after a minute.
func exporting(t *testing.T) *fakeService {
	service := &fakeService{}
	for i := range 150 {
		service.set(fmt.Sprintf("old-%d", i), ExportTaskSuccess)
	}
	return service
}

// finishLater lets the tasks that were created come to an end.
func (f *fakeService) finishLater(status ExportTaskStatus) {
	time.Sleep(time.Minute)
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

func TestExport(t *testing.T) {
	for status, want := range map[ExportTaskStatus]error{ExportTaskSuccess: nil, ExportTaskFail: ErrTaskFailed} {
		synctest.Test(t, func(t *testing.T) {
			service := exporting(t)
			go service.finishLater(status)
			task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
			require.ErrorIs(t, err, want)
			assert.Equal(t, "created-1", task.TaskID)
			assert.Equal(t, status, task.Status)
			assert.Equal(t, 1, service.creates)
		})
	}
}

func TestExportChecksTheRequestFirst(t *testing.T) {
	service := exporting(t)
	client := newTestClient(t, service)
	for _, request := range []*CreateExportTaskRequest{nil, {Interval: -1}} {
		_, err := client.Export(t.Context(), request)
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
	_, err := client.Export(noContext, &CreateExportTaskRequest{})
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.Zero(t, service.requests)
}

// lostAnswers are the ways in which a creation may have an effect and no answer.
var lostAnswers = map[string]func() (*http.Response, error){
	"reset":            func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	"time-out":         func() (*http.Response, error) { return nil, timeoutError{} },
	"bad gateway":      func() (*http.Response, error) { return reply(502, ""), nil },
	"gateway time-out": func() (*http.Response, error) { return reply(504, ""), nil },
	"HTML":             func() (*http.Response, error) { return reply(200, "<html>"), nil },
}

// losing answers creations with lost; created tells whether they have an effect, and when.
func losing(service *fakeService, lost func() (*http.Response, error), created bool) {
	service.before = func(req *http.Request) (*http.Response, error) {
		if req.Method != http.MethodPost {
			return nil, nil
		}
		if created {
			service.add(ExportTask{TaskID: "created-1", Status: "processing"})
		}
		return lost()
	}
}

func TestExportWhoseAnswerIsLost(t *testing.T) {
	for name, lost := range lostAnswers {
		t.Run(name+", task there", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := exporting(t)
				losing(service, lost, true)
				go service.finishLater(ExportTaskSuccess)
				task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
				require.NoError(t, err)
				assert.Equal(t, "created-1", task.TaskID)
				assert.Equal(t, 1, service.creates, "never a second one")
			})
		})
		t.Run(name+", no task", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := exporting(t)
				losing(service, lost, false)
				task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
				require.ErrorIs(t, err, ErrOutcomeUnknown)
				assert.Nil(t, task)
				assert.Equal(t, 1, service.creates, "never a second one")
				assert.NotContains(t, err.Error(), "\n")
			})
		})
	}
}

// Where the answer is lost, a task that shows first may be somebody else's.
func TestExportWhoseAnswerIsLostWaitsForASecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, lostAnswers["gateway time-out"], false)
		go func() {
			time.Sleep(time.Millisecond)
			service.set("somebody-elses", "processing")
			time.Sleep(3 * time.Second)
			service.set("mine", "processing")
		}()
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrAmbiguousExport)
	})
}

// A task that shows at the last look is named, since it cannot be looked at again.
func TestExportWhoseAnswerIsLostNamesALateTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		looks := 0
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				return reply(504, ""), nil
			}
			if service.creates == 1 {
				if looks++; looks == lostLooks {
					service.add(ExportTask{TaskID: "late", Status: "processing"})
				}
			}
			return nil, nil
		}
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		assert.ErrorContains(t, err, "late is new, and may be it or somebody else's")
	})
}

func TestExportWhileOthersCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				service.add(ExportTask{TaskID: "somebody-elses", Status: "processing"})
			}
			return nil, nil
		}
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrAmbiguousExport)
		assert.Nil(t, task)
		assert.EqualError(t, err, "cdn: Export: ambiguous export: it may be any of somebody-elses, created-1")
		var ambiguous *AmbiguousExportError
		require.ErrorAs(t, err, &ambiguous)
		assert.Len(t, ambiguous.Candidates, 2)
		assert.Equal(t, 1, service.creates)
	})
}

// Old tasks that change, or are removed, while one is created are no candidates.
func TestExportIsNotMisledByOldTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		time.Sleep(time.Second)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				for _, id := range []string{"old-3", "old-149"} {
					for i, task := range service.tasks {
						if task.TaskID == id {
							service.tasks = append(service.tasks[:i], service.tasks[i+1:]...)
							task.Status = "processing"
							service.add(task)
							break
						}
					}
				}
				service.tasks = service.tasks[:100]
			}
			return nil, nil
		}
		go service.finishLater(ExportTaskSuccess)
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "created-1", task.TaskID)
	})
}

// The calls of one client take turns, so that each finds its own task.
func TestManyExportsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		client := newTestClient(t, service)
		ids := map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				task, err := client.Export(t.Context(), &CreateExportTaskRequest{})
				if assert.NoError(t, err) {
					mu.Lock()
					ids[task.TaskID] = true
					mu.Unlock()
				}
			})
		}
		service.finishLater(ExportTaskSuccess)
		wg.Wait()
		assert.Len(t, ids, 30)
		assert.Equal(t, 30, service.creates)
	})
}

func TestExportThatIsNotCreated(t *testing.T) {
	tests := []struct {
		name   string
		before func(req *http.Request) (*http.Response, error)
		want   error
	}{
		{"forbidden", func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				return reply(403, ""), nil
			}
			return nil, nil
		}, ErrForbidden},
		{"list refused", func(*http.Request) (*http.Response, error) { return reply(401, ""), nil }, ErrUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{before: test.before}
				task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
				require.ErrorIs(t, err, test.want)
				assert.NotErrorIs(t, err, ErrOutcomeUnknown)
				assert.Nil(t, task)
			})
		})
	}
}

// The service takes the request and shows no task: there may be one.
func TestExportThatDoesNotShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, func() (*http.Response, error) { return reply(200, ""), nil }, false)
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		assert.ErrorContains(t, err, "no new task in the list")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = newTestClient(t, service).Export(ctx, &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestExportThatShowsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, func() (*http.Response, error) { return reply(200, "{}"), nil }, false)
		go func() {
			time.Sleep(10 * time.Second)
			service.set("late", ExportTaskSuccess)
		}()
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "late", task.TaskID)
	})
}

func TestExportGoesByTheIDOfTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				service.add(ExportTask{TaskID: "other", Status: "processing"})
				service.add(ExportTask{TaskID: "named", Status: ExportTaskSuccess})
				return reply(200, `{"task_id":"named"}`), nil
			}
			return nil, nil
		}
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "named", task.TaskID)
	})
}

// A poll that fails while the task is looked for is no reason to create another.
func TestExportWhoseSearchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		failures := 0
		service.before = func(req *http.Request) (*http.Response, error) {
			if service.creates == 1 && failures < 6 && req.Method != http.MethodPost {
				failures++
				return reply(503, ""), nil
			}
			return nil, nil
		}
		go service.finishLater(ExportTaskSuccess)
		client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 2}))
		task, err := client.Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "created-1", task.TaskID)

		service.before = func(req *http.Request) (*http.Response, error) {
			if service.creates == 2 && req.Method != http.MethodPost {
				return reply(403, ""), nil
			}
			return nil, nil
		}
		_, err = client.Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrForbidden)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		assert.Equal(t, 2, service.creates)
	})
}

// When the context ends while the task is waited for, the task is known and given.
func TestExportThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		client := newTestClient(t, exporting(t))
		task, err := client.Export(ctx, &CreateExportTaskRequest{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, ErrOutcomeUnknown)
		require.NotNil(t, task)
		assert.Equal(t, "created-1", task.TaskID)
		assert.ErrorContains(t, err, "created-1")

		client.exportTurn <- struct{}{} // somebody else's turn
		_, err = client.Export(ctx, &CreateExportTaskRequest{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, errors.Is(err, ErrOutcomeUnknown), err)
		assert.True(t, strings.HasPrefix(err.Error(), "cdn: Export: "))
	})
}

// A task without a time of creation cannot be told from an old one that changed.
func TestExportDoesNotGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		time.Sleep(time.Second)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				service.add(ExportTask{TaskID: "timeless"})
				service.tasks[0].CreateTime = time.Time{}
				return reply(200, ""), nil
			}
			return nil, nil
		}
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrAmbiguousExport)
	})
}

// Where the answer has an id, the list may have the task later.
func TestExportGoesByAnIDThatShowsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, func() (*http.Response, error) { return reply(200, `{"task_id":"late"}`), nil }, false)
		time.AfterFunc(10*time.Second, func() { service.set("late", ExportTaskSuccess) })
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "late", task.TaskID)
	})
}

// A task that is not found is not waited for after the last look.
func TestExportThatDoesNotShowEndsWithTheLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		var last time.Time
		service.before = func(req *http.Request) (*http.Response, error) {
			last = time.Now()
			if req.Method == http.MethodPost {
				return reply(200, ""), nil
			}
			return nil, nil
		}
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		assert.Equal(t, last, time.Now())
	})
}

// Where the answer is lost, all the candidates may be somebody else's, and the error says that too.
func TestExportWhoseAnswerIsLostIsAmbiguousAndUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, func() (*http.Response, error) {
			service.add(ExportTask{TaskID: "one"})
			service.add(ExportTask{TaskID: "two"})
			return reply(502, ""), nil
		}, false)
		_, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.ErrorIs(t, err, ErrAmbiguousExport)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
	})
}

// A new task may have no time of change yet.
func TestExportFindsATaskWithoutTimeOfChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		time.Sleep(time.Second)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				service.add(ExportTask{TaskID: "new", Status: "processing"})
				service.tasks[0].UpdateTime = time.Time{}
				time.AfterFunc(time.Hour, func() { service.set("new", ExportTaskSuccess) }) // long after the last look
				return reply(200, ""), nil
			}
			return nil, nil
		}
		task, err := newTestClient(t, service).Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "new", task.TaskID)
	})
}

// A known id is logged at once, and keeps nobody from their turn while the list does not have it; a look
// that fails does not matter.
func TestExportWithAKnownIDLetsOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := exporting(t)
		losing(service, func() (*http.Response, error) { return reply(200, `{"task_id":"late"}`), nil }, false)
		create := service.before
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.URL.Query().Get("task_id") != "" && service.gets == 1 {
				return reply(503, ""), nil
			}
			return create(req)
		}
		time.AfterFunc(time.Minute, func() { service.set("late", ExportTaskSuccess) })
		var logged time.Duration
		start := time.Now()
		client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}),
			WithLogger(slog.New(callingHandler(func(record slog.Record) {
				if strings.Contains(record.Message, "created") {
					logged = time.Since(start)
				}
			}))))
		time.AfterFunc(10*time.Second, func() {
			select {
			case client.exportTurn <- struct{}{}:
				<-client.exportTurn
			default:
				t.Error("the turn is taken")
			}
		})
		task, err := client.Export(t.Context(), &CreateExportTaskRequest{})
		require.NoError(t, err)
		assert.Equal(t, "late", task.TaskID)
		assert.Zero(t, logged)
	})
}
