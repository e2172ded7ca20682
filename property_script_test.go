package cdn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Scripts in fake time for services with odd clocks, stale reads, failures and wrong totals.

// longestPause is the longest pause between polls by default.
const longestPause = 30 * time.Second

// onService runs test in fake time, with a client of a service that has this many tasks.
func onService(t *testing.T, k servicemodel.Knobs, tasks int, test func(t *testing.T, s *servicemodel.Service, client *CdnClient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := servicemodel.New(k)
		s.Fill(tasks)
		test(t, s, newTestClient(t, s))
	})
}

func set(s *servicemodel.Service, id, status string) {
	s.Apply(0, servicemodel.Change{ID: id, Status: status})
}

func TestExport_on_odd_clocks(t *testing.T) {
	work := 40 * time.Second
	for name, knobs := range map[string]servicemodel.Knobs{
		"nodes 2 s apart":                     {Nodes: 3, Skew: 2 * time.Second},
		"nodes 5 s apart, by change":          {Nodes: 4, Skew: 5 * time.Second, Order: servicemodel.ByChange},
		"a stamp in five is in the future":    {Future: 0.2},
		"whole seconds":                       {Stamps: servicemodel.Seconds, Ties: servicemodel.TiesShuffled},
		"no time of change at first":          {NoStamp: true},
		"the list shows it 2.9 s late":        {ListLag: 2900 * time.Millisecond},
		"lists 2 s old":                       {List: servicemodel.Replica{Delay: 2 * time.Second}},
		"look-ups miss a change":              {Lookup: servicemodel.Replica{Changes: 1}},
		"retention drops the oldest":          {Retention: 150},
		"totals are 3 s old":                  {TotalLag: 3 * time.Second},
		"the response names the task":         {NamesTask: true},
		"old tasks change and go meanwhile":   {Every: time.Second, Flips: 3, Removals: 1, Silent: 0.5},
		"all stamps equal, the newest first":  {Stamps: servicemodel.Equal},
		"pages of 20 and nodes 2 s apart":     {PageCap: 20, Nodes: 3, Skew: 2 * time.Second},
		"whole seconds, the oldest one first": {Stamps: servicemodel.Seconds, Ties: servicemodel.TiesOldestFirst},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				knobs := knobs
				knobs.Seed, knobs.WorkMin, knobs.WorkMax = seed, work, work
				onService(t, knobs, 150, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
					for i := range 3 {
						owner := fmt.Sprintf("mine-%d", i)
						begin := time.Now()
						task, err := client.Export(t.Context(), &CreateExportTaskRequest{DomainNames: []string{owner}})
						require.NoError(t, err, "seed %d", seed)
						assert.Equal(t, s.CreatedBy(owner), []string{task.TaskID}, "seed %d", seed)
						assert.Less(t, time.Since(begin), work+5*longestPause)
					}
				})
			}
		})
	}
}

func TestWait_on_odd_services(t *testing.T) {
	const old = "old-17" // far down in the list
	finish := func(s *servicemodel.Service, silent bool) {
		s.Apply(0, servicemodel.Change{ID: old, Status: "success", Silent: silent})
	}
	silently := func(s *servicemodel.Service) { finish(s, true) }
	loudly := func(s *servicemodel.Service) { finish(s, false) }
	tests := []struct {
		name   string
		knobs  servicemodel.Knobs
		change func(*servicemodel.Service)
		within time.Duration // of the change
		want   error
	}{
		{"a silent end below the head", servicemodel.Knobs{}, silently, 5 * longestPause, nil},
		{"a silent end, pages of 10", servicemodel.Knobs{PageCap: 10}, silently, 5 * longestPause, nil},
		{"an end stamped 5 s before others", servicemodel.Knobs{Nodes: 4, Skew: 5 * time.Second, Every: time.Second, Flips: 1, Creates: 1, Removals: 1}, loudly, 5 * longestPause, nil},
		{"more tasks in a second than a page", servicemodel.Knobs{Stamps: servicemodel.Equal, Ties: servicemodel.TiesShuffled}, loudly, 7 * longestPause, nil},
		{"future stamps above it", servicemodel.Knobs{Future: 0.5}, loudly, 6 * longestPause, nil},
		{"look-ups 2 s old", servicemodel.Knobs{Lookup: servicemodel.Replica{Delay: 2 * time.Second}}, silently, 2*time.Second + 5*longestPause, nil},
		{"look-ups fail", servicemodel.Knobs{LookupFails: 1}, loudly, 10 * longestPause, nil},
		{"look-ups fail, and a silent end", servicemodel.Knobs{LookupFails: 1}, silently, 10 * longestPause, nil},
		{"lists fail", servicemodel.Knobs{ListFails: 1}, silently, 6 * longestPause, nil},
		{"a row without an id", servicemodel.Knobs{EmptyRow: true}, loudly, 5 * longestPause, nil},
		{"a wrong total", servicemodel.Knobs{TotalOff: -2}, silently, 5 * longestPause, nil},
		{"removed while another is created", servicemodel.Knobs{}, func(s *servicemodel.Service) {
			s.Apply(0, servicemodel.Change{ID: old, Remove: true})
			set(s, "another", "waiting")
		}, 7 * longestPause, ErrTaskNotFound},
		{"removed, pages of 10", servicemodel.Knobs{PageCap: 10}, func(s *servicemodel.Service) {
			s.Apply(0, servicemodel.Change{ID: old, Remove: true})
			set(s, "another", "waiting")
		}, 7 * longestPause, ErrTaskNotFound},
		{"removed while lists fail", servicemodel.Knobs{ListFails: 1}, func(s *servicemodel.Service) {
			s.Apply(0, servicemodel.Change{ID: old, Remove: true})
		}, 8 * longestPause, ErrTaskNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(3) {
				test.knobs.Seed = seed
				onService(t, test.knobs, 150, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
					s.Apply(0, servicemodel.Change{ID: old, Status: "processing", Silent: true})
					time.Sleep(10 * time.Second)
					wait := &observedWait{id: old}
					var done sync.WaitGroup
					done.Go(func() { wait.run(t.Context(), client) })
					time.Sleep(10 * time.Minute)
					changed := time.Now()
					test.change(s)
					done.Wait()
					if test.want == nil {
						require.NoError(t, wait.err, "seed %d", seed)
						assert.Equal(t, ExportTaskSuccess, wait.task.Status)
					} else {
						require.ErrorIs(t, wait.err, test.want, "seed %d", seed)
					}
					assert.LessOrEqual(t, wait.end.Sub(changed), test.within, "seed %d", seed)
				})
			}
		})
	}
}

// One look-up finds a task that is finished already, so a list that fails delays nothing.
func TestWait_finished_task_needs_no_list(t *testing.T) {
	for name, knobs := range map[string]servicemodel.Knobs{
		"lists fail":           {ListFails: 1},
		"a row without an id":  {EmptyRow: true},
		"a total that is off":  {TotalOff: 7},
		"lists that are stale": {List: servicemodel.Replica{Changes: 3, Delay: 5 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			onService(t, knobs, 150, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
				s.Apply(0, servicemodel.Change{ID: "mine", Status: "success"})
				begin := time.Now()
				task, err := client.WaitForExportTask(t.Context(), "mine")
				require.NoError(t, err)
				assert.Equal(t, "mine", task.TaskID)
				assert.Less(t, time.Since(begin), time.Second)
				assert.LessOrEqual(t, s.Count(), 2)
			})
		})
	}
}

// Look-ups of many new waits do not starve the polls under a small quota.
func TestPoller_new_waits_under_a_quota(t *testing.T) {
	for name, tasks := range map[string]int{"in the first pages": 300, "all over a long list": 3000} {
		t.Run(name, func(t *testing.T) {
			quota := servicemodel.Quota{Limiter: &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute}}
			onService(t, servicemodel.Knobs{Quota: quota}, tasks, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for i := range 200 {
					id := fmt.Sprintf("old-%d", i*tasks/200)
					s.Apply(0, servicemodel.Change{ID: id, Status: "processing", Silent: true})
					all.Go(func() { (&observedWait{id: id}).run(ctx, client) })
				}
				set(s, "head", "processing")
				head := &observedWait{id: "head"}
				var done sync.WaitGroup
				done.Go(func() { head.run(ctx, client) })
				time.Sleep(5 * time.Second)
				changed := time.Now()
				set(s, "head", "success")
				done.Wait()
				require.NoError(t, head.err)
				assert.LessOrEqual(t, head.end.Sub(changed), 2*time.Minute)
				cancel()
				all.Wait()
			})
		})
	}
}

func TestExportTasks_on_odd_services(t *testing.T) {
	tests := []struct {
		name  string
		knobs servicemodel.Knobs
		tasks int
		seeds uint64
	}{
		{"1,000 tasks, a shared time, another order in each response", servicemodel.Knobs{Stamps: servicemodel.Equal, Ties: servicemodel.TiesShuffled}, 1000, 5},
		{"whole seconds, more in one than a page", servicemodel.Knobs{Stamps: servicemodel.Seconds, Ties: servicemodel.TiesShuffled, PageCap: 30}, 500, 5},
		{"a replica one change behind", servicemodel.Knobs{List: servicemodel.Replica{Changes: 1}, Every: 300 * time.Millisecond, Flips: 3, Removals: 1, Latency: 100 * time.Millisecond, Changes: 30}, 500, 5},
		{"replicas 2 s behind", servicemodel.Knobs{List: servicemodel.Replica{Delay: 2 * time.Second}, Every: 300 * time.Millisecond, Flips: 3, Removals: 1, Latency: 100 * time.Millisecond, Changes: 30}, 500, 5},
		{"nodes 3 s apart", servicemodel.Knobs{Nodes: 3, Skew: 3 * time.Second, Every: 300 * time.Millisecond, Creates: 1, Flips: 2, Removals: 1, Latency: 100 * time.Millisecond, Changes: 30}, 500, 5},
		{"retention drops the oldest", servicemodel.Knobs{Retention: 500, Every: 300 * time.Millisecond, Creates: 1, Latency: 100 * time.Millisecond, Changes: 30}, 500, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			failures := 0
			for seed := range test.seeds {
				test.knobs.Seed = seed
				onService(t, test.knobs, test.tasks, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
					before, yielded := s.Tasks(), make(map[string]int)
					begin := time.Now()
					for task, err := range client.ExportTasks(t.Context(), nil) {
						if err != nil {
							require.ErrorIs(t, err, ErrMalformedResponse)
							failures++
							return
						}
						yielded[task.TaskID]++
						require.Equal(t, 1, yielded[task.TaskID])
					}
					versions := s.Versions()
					for _, task := range before {
						if wasThere(versions[task.ID], begin) {
							require.Equal(t, 1, yielded[task.ID], "seed %d: %s", seed, task.ID)
						}
					}
				})
			}
			assert.LessOrEqual(t, failures, int(test.seeds/4), "errors are rare")
		})
	}
}

// A loop that takes nothing for 40 minutes gets the last state of each task once.
func TestWatch_stalled_loop_gets_last_states(t *testing.T) {
	onService(t, servicemodel.Knobs{}, 0, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
		for i := range 200 {
			set(s, fmt.Sprintf("task-%d", i), "waiting")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := client.WatchExportTasks(ctx)
		next, stop := iter.Pull2(changes)
		defer stop()
		set(s, "task-0", "first")
		task, err, ok := next()
		require.True(t, ok)
		require.NoError(t, err)
		assert.Equal(t, "task-0", task.TaskID)
		for round := range 40 {
			for i := range 200 {
				set(s, fmt.Sprintf("task-%d", i), fmt.Sprintf("state %d", round))
			}
			time.Sleep(time.Minute)
		}
		time.AfterFunc(5*time.Minute, cancel)
		taken := 0
		for task, err, ok := next(); ok && err == nil; task, err, ok = next() {
			taken++
			assert.Equal(t, "state 39", string(task.Status))
		}
		assert.Equal(t, 200, taken)
	})
}

// A watch that is pulled and dropped without stop ends with its context.
func TestWatch_dropped_ends_with_its_context(t *testing.T) {
	onService(t, servicemodel.Knobs{}, 50, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
		ctx, cancel := context.WithCancel(t.Context())
		next, stop := iter.Pull2(client.WatchExportTasks(ctx))
		defer stop() // only so that the test leaves nothing behind
		set(s, "mine", "waiting")
		_, err, ok := next()
		require.True(t, ok)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		before := s.Count()
		time.Sleep(time.Hour)
		assert.Equal(t, before, s.Count(), "no request once the context has ended")
	})
}

func TestWait_deadline(t *testing.T) {
	tests := []struct {
		name   string
		status string
		ends   time.Duration // how long before the deadline the task succeeds; 0 is never
	}{
		{"a status that is not documented stays", "cancelled", 0},
		{"an empty status stays", "", 0},
		{"finished 27 s before the deadline", "processing", 27 * time.Second},
		{"finished 2 s before the deadline", "processing", 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(3) {
				onService(t, servicemodel.Knobs{Seed: seed}, 350, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
					s.Apply(0, servicemodel.Change{ID: "old-3", Status: test.status, Silent: true})
					if test.ends > 0 {
						s.Apply(time.Hour-test.ends, servicemodel.Change{ID: "old-3", Status: "success", Silent: true})
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					task, err := client.WaitForExportTask(ctx, "old-3")
					require.NotNil(t, task)
					if test.ends > 0 {
						require.NoError(t, err)
						assert.Equal(t, ExportTaskSuccess, task.Status)
						return
					}
					require.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, test.status, string(task.Status))
					assert.Contains(t, err.Error(), fmt.Sprintf("%q", test.status))
				})
			}
		})
	}
}

// Many waits and watches end as they should on a service that fails now and then. For a larger number:
// CDN_SEEDS=5000 go test -race -run TestPoller_many_waits_and_watches .
func TestPoller_many_waits_and_watches(t *testing.T) {
	waits := int(setting(t, "CDN_SEEDS", 500))
	knobs := servicemodel.Knobs{ListFails: 0.1, LookupFails: 0.1, Latency: 200 * time.Millisecond, PageCap: 90, Nodes: 3, Skew: time.Second, Silent: 0.2}
	onService(t, knobs, 300, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all, watching sync.WaitGroup
		for range max(1, waits/25) {
			watching.Go(func() {
				seen := make(map[string]bool)
				var last error
				for task, err := range client.WatchExportTasks(ctx) {
					if last = err; err == nil {
						seen[task.TaskID] = true
					}
				}
				if errors.Is(last, context.Canceled) {
					assert.Greater(t, len(seen), 290)
				}
			})
		}
		for i := range 300 {
			s.Apply(0, servicemodel.Change{ID: fmt.Sprintf("old-%d", i), Status: "processing"})
		}
		for i := range waits {
			all.Go(func() {
				task, err := client.WaitForExportTask(ctx, fmt.Sprintf("old-%d", i%300))
				if assert.NoError(t, err) {
					assert.Equal(t, ExportTaskSuccess, task.Status)
				}
			})
		}
		time.Sleep(5 * time.Minute)
		for i := range 300 {
			s.Apply(time.Duration(i)*time.Second, servicemodel.Change{ID: fmt.Sprintf("old-%d", i), Status: "success"})
		}
		all.Wait()
		time.Sleep(5 * time.Minute)
		cancel()
		watching.Wait()
		synctest.Wait()
		before := s.Count()
		time.Sleep(time.Hour)
		assert.Equal(t, before, s.Count())
	})
}
