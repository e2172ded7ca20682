package cdn

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// step is what happens to the service at a time after the wait began.
type step struct {
	at time.Duration
	do func(*fakeService)
}

func sets(id string, status ExportTaskStatus) func(*fakeService) {
	return func(service *fakeService) { service.set(id, status) }
}

// silently changes the status of a task, which keeps its place and its times.
func silently(id string, status ExportTaskStatus) func(*fakeService) {
	return func(service *fakeService) {
		service.mu.Lock()
		defer service.mu.Unlock()
		for i := range service.tasks {
			if service.tasks[i].TaskID == id {
				service.tasks[i].Status = status
			}
		}
	}
}

// refuses has the unfiltered list fail, or the look-ups.
func refuses(lookUps bool, text string, status int) func(*fakeService) {
	return func(service *fakeService) {
		service.setBefore(func(req *http.Request) (*http.Response, error) {
			if (req.URL.Query().Get("task_id") != "") != lookUps {
				return nil, nil
			}
			return reply(status, text), nil
		})
	}
}

// Each script is a kind of service that hid the end of a task from a wait.
func TestWaitsThatOnceHung(t *testing.T) {
	const minute = time.Minute
	tests := []struct {
		name   string
		tasks  int // beside the one that is waited for, changed later than it
		script []step
		within time.Duration // of the last step
		want   string        // of the status, or of the error
	}{
		{"the status changes without a stamp, far below the head", 350, []step{{minute, silently("mine", "success")}}, 8 * 30 * time.Second, "success"},
		{"it is removed while another is created", 5, []step{{minute, sets("mine", "")}, {minute, sets("new", "waiting")}}, 2 * minute, "not found"},
		{"it is removed from far below the head", 350, []step{{minute, sets("mine", "")}}, 8 * 30 * time.Second, "not found"},
		{"the list fails, and the task was finished before", 5, []step{{0, sets("mine", "success")}, {0, refuses(false, "", 500)}}, time.Second, "success"},
		{"the list fails, and the task is finished later", 5, []step{{0, refuses(false, "", 500)}, {minute, sets("mine", "success")}}, 2 * minute, "success"},
		{"a row has no id", 5, []step{{0, refuses(false, `{"total":2,"data":[{"task_id":""},{"task_id":"other-1","status":"x"}]}`, 200)}, {minute, sets("mine", "success")}}, 2 * minute, "success"},
		{"look-ups fail", 5, []step{{0, refuses(true, "", 503)}, {minute, sets("mine", "success")}}, minute, "success"},
		{"a block of stamps in the future is at the head", 5, []step{{minute, func(service *fakeService) {
			service.mu.Lock()
			defer service.mu.Unlock()
			for i := range service.tasks[:3] {
				service.tasks[i].UpdateTime = time.Now().Add(time.Hour)
			}
		}}, {minute, silently("mine", "success")}}, 2 * minute, "success"},
		{"an unknown status stays", 5, []step{{0, sets("mine", "cancelled")}}, time.Hour, `the last status was "cancelled"`},
		{"it ends just before the deadline", 350, []step{{time.Hour - 5*time.Second, silently("mine", "success")}}, 5 * time.Second, "success"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				service.set("mine", "processing")
				for i := range test.tasks {
					time.Sleep(time.Second)
					service.set(fmt.Sprintf("other-%d", i), ExportTaskSuccess)
				}
				time.Sleep(time.Minute)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				start := time.Now()
				for _, s := range test.script {
					if s.at == 0 {
						s.do(service)
					} else {
						after(t, s.at, func() { s.do(service) })
					}
				}
				task, err := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1})).WaitForExportTask(ctx, "mine")
				last := test.script[len(test.script)-1].at
				assert.LessOrEqual(t, time.Since(start), last+test.within)
				if err != nil {
					require.ErrorContains(t, err, test.want)
					if !strings.Contains(test.want, "not found") {
						require.NotNil(t, task, "the task comes with the error")
					}
					return
				}
				assert.EqualValues(t, test.want, task.Status)
			})
		})
	}
}

// Many new waits do not keep the polls from telling that a task at the head is finished.
func TestManyNewWaitsDoNotStarvePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &working{&fakeService{}, t, 3 * time.Second, time.Minute} // as slow as 20 requests a minute
		for i := range 5000 {
			at := time.Now().Add(-time.Duration(i+60) * time.Second)
			service.tasks = append(service.tasks, ExportTask{TaskID: fmt.Sprintf("task-%d", i), Status: "processing", CreateTime: at, UpdateTime: at})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := newTestClient(t, service)
		for i := range 200 {
			waiting(ctx, client, fmt.Sprintf("task-%d", 25*i))
		}
		time.Sleep(10 * time.Second)
		first := waiting(ctx, client, "task-1")
		service.set("task-1", ExportTaskSuccess)
		start := time.Now()
		require.NoError(t, (<-first).err)
		assert.Less(t, time.Since(start), time.Minute)
	})
}

// A watch that is dropped in the middle ends with its context.
func TestAWatchThatIsDroppedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		client := newTestClient(t, service)
		ctx, cancel := context.WithCancel(t.Context())
		next, stop := iter.Pull2(client.WatchExportTasks(ctx))
		defer stop()
		service.set("a", "waiting")
		task, err, ok := next()
		require.True(t, ok)
		require.NoError(t, err)
		assert.Equal(t, "a", task.TaskID)
		cancel()
		synctest.Wait()
		_, _, _ = service.counts()
		time.Sleep(time.Hour)
		requests, _, _ := service.counts()
		assert.Zero(t, requests)
		_, err, _ = next()
		require.ErrorIs(t, err, context.Canceled)
	})
}

// What a loop that does not take keeps in memory is bounded by the list.
func TestASlowLoopIsBoundedByTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		client := newTestClient(t, service)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		next, stop := iter.Pull2(client.WatchExportTasks(ctx))
		defer stop()
		service.set("first", "waiting")
		_, _, _ = next()
		for i := range 3000 {
			service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
			if i >= 50 {
				service.set(fmt.Sprintf("task-%d", i-50), "") // the service keeps 50
			}
			time.Sleep(time.Second)
		}
		client.poller.mu.Lock()
		known := len(client.poller.known.entries)
		client.poller.mu.Unlock()
		assert.Less(t, known, 250)
	})
}

// A loop that panics leaves the poller.
func TestAWatchWhoseLoopPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		changes := newTestClient(t, service).WatchExportTasks(t.Context())
		service.set("a", "waiting")
		assert.Panics(t, func() {
			for range changes {
				panic("the loop")
			}
		})
		synctest.Wait()
		_, _, _ = service.counts()
		time.Sleep(time.Hour)
		requests, _, _ := service.counts()
		assert.Zero(t, requests)
	})
}
