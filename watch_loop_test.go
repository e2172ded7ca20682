package cdn

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The loop of a watch may be slow. It gets each task in the state that the poller knows at that moment.

func TestWatch_slow_loop(t *testing.T) {
	const (
		tasks = 300
		turn  = 9 * time.Second
		bound = 5 * longestPause // for a list of one page and the patrol of the rest
	)
	t.Run("each_task_yielded_as_it_is_then", func(t *testing.T) {
		onService(t, servicemodel.Knobs{}, 0, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute) // time for two rounds
			defer cancel()
			changes := client.WatchExportTasks(ctx)
			for i := range tasks {
				set(s, fmt.Sprintf("task-%d", i), "waiting")
				s.Apply(time.Duration(1+i)*3*time.Second, servicemodel.Change{ID: fmt.Sprintf("task-%d", i), Status: "success"})
			}
			last := make(map[string]ExportTaskStatus)
			for task, err := range changes {
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					break
				}
				for _, v := range s.Versions()[task.TaskID] {
					if string(task.Status) != v.Status {
						continue
					}
					until := time.Now()
					for _, later := range s.Versions()[task.TaskID] {
						if later.At.After(v.At) {
							until = later.At
						}
					}
					require.Less(t, time.Since(until), bound, "%s is yielded as %q, which it no longer was then", task.TaskID, task.Status)
				}
				require.NotEqual(t, last[task.TaskID], task.Status, "%s is yielded twice", task.TaskID)
				last[task.TaskID] = task.Status
				time.Sleep(turn)
			}
			assert.Equal(t, tasks, countDone(last))
		})
	})
	t.Run("a_task_that_changes_all_the_time_is_not_put_off", func(t *testing.T) {
		onService(t, servicemodel.Knobs{}, 0, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
			changes := client.WatchExportTasks(t.Context())
			for i := range tasks {
				for minute := range 120 {
					at := time.Duration(minute)*time.Minute + time.Duration(i)*200*time.Millisecond
					s.Apply(at, servicemodel.Change{ID: fmt.Sprintf("task-%d", i), Status: fmt.Sprintf("minute %d", minute)})
				}
			}
			yielded := make(map[string]int)
			begin := time.Now()
			for task, err := range changes {
				require.NoError(t, err)
				if yielded[task.TaskID]++; time.Since(begin) > 100*time.Minute {
					break
				}
				time.Sleep(turn)
			}
			assert.Len(t, yielded, tasks, "each task gets its turn")
		})
	})
}

func countDone(last map[string]ExportTaskStatus) (n int) {
	for _, status := range last {
		if status.Done() {
			n++
		}
	}
	return n
}

func TestWatch_odd_responses(t *testing.T) {
	tests := []struct {
		name   string
		oddity string
		want   []string
	}{
		{"an_update_time_of_0_is_none", "has a time of change of 0 for a waiting task", []string{"new:waiting"}},
		{"an_empty_list_for_a_minute_changes_nothing", "is empty for a minute", []string{"new:waiting"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onService(t, servicemodel.Knobs{}, 350, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
				s.Odd(servicemodel.Oddities()[test.oddity])
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				changes := client.WatchExportTasks(ctx)
				time.Sleep(30 * time.Second)
				set(s, "new", "waiting")
				var got []string
				for task, err := range changes {
					if err == nil {
						got = append(got, task.TaskID+":"+string(task.Status))
					}
				}
				assert.Equal(t, test.want, got)
			})
		})
	}
}

func TestWatch_loop_that_does_not_take(t *testing.T) {
	t.Run("memory_bounded_by_the_list", func(t *testing.T) {
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
			defer client.poller.mu.Unlock()
			assert.Less(t, len(client.poller.known.entries), 250)
		})
	})
	t.Run("permanent_failure_is_kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := play(t, &fakeService{})
			changes := newTestClient(t, service).WatchExportTasks(t.Context())
			service.set("a", "waiting")
			var yielded []ExportTaskStatus
			var last error
			for task, err := range changes {
				if last = err; err != nil {
					continue
				}
				yielded = append(yielded, task.Status)
				refuses(403, "")(service)
				time.Sleep(time.Minute)
				recovers(service)
				service.set("a", ExportTaskStatus(fmt.Sprint("state ", len(yielded))))
				time.Sleep(time.Minute)
			}
			require.ErrorIs(t, last, ErrForbidden)
			assert.Equal(t, []ExportTaskStatus{"waiting", "state 1"}, yielded, "one more round")
		})
	})
	t.Run("panic_leaves_the_poller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			changes := newTestClient(t, service).WatchExportTasks(t.Context())
			service.set("a", "waiting")
			assert.Panics(t, func() {
				for range changes {
					panic("the loop")
				}
			})
			checkNoRequests(t, service)
		})
	})
}
