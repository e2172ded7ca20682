package cdn

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// collectWatch collects the yields of a watch in the background.
type collectWatch struct {
	mu  sync.Mutex
	got []string
	err error
}

// watchingLater calls WatchExportTasks, and begins to range after a delay.
func watchingLater(ctx context.Context, client *CdnClient, delay time.Duration) *collectWatch {
	c := &collectWatch{}
	changes := client.WatchExportTasks(ctx)
	go func() {
		retry.Sleep(ctx, delay)
		for task, err := range changes {
			c.mu.Lock()
			if err != nil {
				c.err = err
			} else {
				c.got = append(c.got, task.TaskID+":"+string(task.Status))
			}
			c.mu.Unlock()
		}
	}()
	return c
}

// take returns the yields since the last call.
func (c *collectWatch) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := strings.Join(c.got, " ")
	c.got = nil
	return got
}

// ended returns the error that the range has ended with, or nil.
func (c *collectWatch) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func TestWatch(t *testing.T) {
	const (
		minute  = time.Minute
		success = ExportTaskSuccess
	)
	var manyCreated []step
	var many []string
	for i := range 250 {
		id := fmt.Sprintf("many-%d", i)
		manyCreated = append(manyCreated, at(minute+time.Duration(i)*time.Millisecond, sets(id, "waiting")))
		many = append(many, id+":waiting")
	}
	tests := []struct {
		name   string
		apart  time.Duration // between the changes of the 300 tasks that there are
		late   time.Duration // from the call to the loop
		script []step
		want   string
	}{
		{"old_tasks_are_no_change", time.Second, 0, nil, ""},
		{"in_the_order_of_the_changes", 0, 0, []step{
			at(minute, sets("a", "waiting")), at(minute+1e6, sets("b", "waiting")), at(minute+2e6, sets("old-7", ExportTaskFail)),
		}, "a:waiting b:waiting old-7:fail"},
		{"each_state_of_a_task", time.Second, 0, []step{
			at(minute, sets("a", "waiting")), at(2*minute, sets("a", "processing")), at(3*minute, sets("a", success)),
		}, "a:waiting a:processing a:success"},
		{"more_than_a_page", time.Second, 0, manyCreated, strings.Join(many, " ")},
		{"removal_is_not_yielded", time.Second, 0, []step{at(minute, removes("old-299"))}, ""},
		{"removals_show_no_older_tasks", 0, 0, []step{at(minute, removes("old-299")), at(2*minute, removes("old-40"))}, ""},
		{"between_the_call_and_the_loop", time.Second, 10 * minute, []step{
			at(minute, sets("a", "waiting")), at(11*minute, sets("b", "waiting")),
		}, "a:waiting b:waiting"},
		{"one_response_without_tasks", time.Second, 0, []step{
			onRequestReply(3, 200, emptyPage), at(10*minute, sets("new", "waiting")),
		}, "new:waiting"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				for i := range 300 {
					service.set(fmt.Sprintf("old-%d", i), success)
					time.Sleep(test.apart)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := watchingLater(ctx, newTestClient(t, play(t, service, test.script...)), test.late)
				time.Sleep(time.Hour)
				assert.Equal(t, test.want, w.take())
				require.NoError(t, w.ended())
				cancel()
				synctest.Wait()
				require.ErrorIs(t, w.ended(), context.Canceled)
				checkNoRequests(t, service)
			})
		})
	}
}

// Each range begins with the changes since its call, also if another watch has yielded them.
func TestWatch_begins_with_its_call(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("old", ExportTaskSuccess)
		client := newTestClient(t, service)
		changes := client.WatchExportTasks(t.Context())
		service.set("a", "waiting")
		time.Sleep(time.Minute)
		later := client.WatchExportTasks(t.Context())
		service.set("b", "waiting")
		for range 2 {
			assert.Equal(t, "a b", take(t, changes, 2))
			assert.Equal(t, "b", take(t, later, 1))
		}
	})
}

// take returns the ids of the next n tasks.
func take(t *testing.T, changes func(func(ExportTask, error) bool), n int) string {
	t.Helper()
	var ids []string
	for task, err := range changes {
		require.NoError(t, err)
		if ids = append(ids, task.TaskID); len(ids) == n {
			break
		}
	}
	return strings.Join(ids, " ")
}

// A poll is under way when a watch, or a range over it, begins. The wait for "mine" keeps the poller running.
func TestWatch_begins_during_a_poll(t *testing.T) {
	begin := func(t *testing.T, ctx context.Context) (*scripted, *CdnClient) {
		service := play(t, &fakeService{})
		service.set("mine", "processing")
		client := newTestClient(t, service)
		waiting(ctx, client, "mine")
		time.Sleep(time.Second)
		return service, client
	}
	t.Run("range_yields_all_changes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			service, client := begin(t, ctx)
			w := watchingLater(ctx, client, 10*time.Minute)
			for i := range 121 {
				time.Sleep(time.Millisecond)
				service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
			}
			time.Sleep(9*time.Minute + 20*time.Second) // the poller knows them all
			holdsList(time.Hour)(service)
			<-service.held
			time.Sleep(2 * time.Hour)
			assert.Len(t, strings.Fields(w.take()), 121)
		})
	})
	t.Run("earlier_change_is_not_yielded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			service, client := begin(t, ctx)
			holdsList(30 * time.Millisecond)(service)
			<-service.held
			time.Sleep(10 * time.Millisecond)
			service.set("before", ExportTaskSuccess)
			time.Sleep(10 * time.Millisecond)
			w := watchingLater(ctx, client, 0)
			time.Sleep(time.Hour)
			assert.Empty(t, w.take())
		})
	})
}

func TestWatch_errors(t *testing.T) {
	tests := []struct {
		name  string
		apply func(*scripted) // before the call
		later func(*scripted) // between the call and the loop
		want  error
	}{
		{"call_refused", refuses(403, ""), nil, ErrForbidden},
		{"call_fails_for_a_while", refuses(500, ""), nil, &APIError{}},
		{"poll_refused", nil, refuses(401, ""), ErrUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := play(t, &fakeService{})
				if test.apply != nil {
					test.apply(service)
				}
				changes := newTestClient(t, service).WatchExportTasks(t.Context())
				if test.later != nil {
					test.later(service)
				}
				n := 0
				for task, err := range changes {
					n++
					assert.Zero(t, task)
					if _, ok := test.want.(*APIError); ok {
						var response *APIError
						require.ErrorAs(t, err, &response)
					} else {
						require.ErrorIs(t, err, test.want)
					}
				}
				assert.Equal(t, 1, n)
			})
		})
	}
	t.Run("nil_context", func(t *testing.T) {
		n := 0
		for _, err := range newTestClient(t, &fakeService{}).WatchExportTasks(noContext) {
			n++
			require.ErrorIs(t, err, ErrInvalidParameter)
		}
		assert.Equal(t, 1, n)
	})
}
