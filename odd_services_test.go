package cdn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/assert"
)

// The services break the rules of a list. Waits, watches and iterations end with right data or with an error.
// They do not hang, lose no task without an error, and pause between requests.

// oddServices returns each oddity of the model, and kinds of services that knobs make.
func oddServices() map[string]servicemodel.Knobs {
	services := map[string]servicemodel.Knobs{
		"fails in turns of 1 s":                  {ListFails: 1, LookupFails: 1, FailsEvery: time.Second},
		"fails in turns of 3 s":                  {ListFails: 1, LookupFails: 1, FailsEvery: 3 * time.Second},
		"fails in turns of 30 s":                 {ListFails: 1, LookupFails: 1, FailsEvery: 30 * time.Second},
		"responds later than the next poll is":   {Latency: 20 * time.Second},
		"has replicas that miss up to 3 changes": {List: servicemodel.Replica{Changes: 3}, Lookup: servicemodel.Replica{Delay: 3 * time.Second}},
	}
	for name := range servicemodel.Oddities() {
		services[name] = servicemodel.Knobs{}
	}
	return services
}

// onOddServices runs test with a client of each odd service. Each has 350 tasks.
func onOddServices(t *testing.T, test func(t *testing.T, name string, s *servicemodel.Service, client *CdnClient)) {
	t.Helper()
	for name, knobs := range oddServices() {
		t.Run(name, func(t *testing.T) {
			onService(t, knobs, 350, func(t *testing.T, s *servicemodel.Service, client *CdnClient) {
				s.Odd(servicemodel.Oddities()[name])
				test(t, name, s, client)
				synctest.Wait()
				before := s.Count()
				time.Sleep(time.Hour)
				assert.Equal(t, before, s.Count(), "no request without a caller")
			})
		})
	}
}

// hidesTasks has the services whose look-ups report that an existing task is not there.
var hidesTasks = map[string]bool{"counts a task that it does not show": true, "is empty for a minute": true}

func TestWait_on_services_that_break_rules(t *testing.T) {
	ends := []servicemodel.Change{
		{ID: "mine", Status: "success"},
		{ID: "old-17", Status: "success", Silent: true}, // far below the head
		{ID: "old-50", Remove: true},
		{ID: "old-150", Status: "processing"}, // never
	}
	const (
		endsAfter = 20 * time.Minute
		timeout   = 40 * time.Minute
	)
	onOddServices(t, func(t *testing.T, name string, s *servicemodel.Service, client *CdnClient) {
		for _, end := range ends {
			s.Apply(0, servicemodel.Change{ID: end.ID, Status: "processing", Silent: true})
		}
		flush(s, 3)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		var waits sync.WaitGroup
		for _, end := range ends {
			s.Apply(endsAfter, end)
			waits.Go(func() {
				begin := time.Now()
				task, err := client.WaitForExportTask(ctx, end.ID)
				switch {
				case err == nil:
					assert.Equal(t, ExportTaskSuccess, task.Status)
					assert.True(t, end.Status == "success" || name == "gives two rows one id", "%s is not finished", end.ID)
					assert.Less(t, time.Since(begin), endsAfter+10*time.Minute, end.ID)
				case errors.Is(err, ErrTaskNotFound):
					assert.True(t, end.Remove || hidesTasks[name], "%s is there", end.ID)
				default:
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.NotEqual(t, "success", end.Status, "%s is finished", end.ID)
				}
			})
		}
		time.AfterFunc(endsAfter, func() { flush(s, 3) })
		waits.Wait()
		// About 300 in the median. Jitter and failures give some runs 700.
		assert.Less(t, s.Count(), int(timeout/(2*time.Second)), "it pauses between requests")
	})
}

func TestExportTasks_on_services_that_break_rules(t *testing.T) {
	onOddServices(t, func(t *testing.T, _ string, s *servicemodel.Service, client *CdnClient) {
		time.Sleep(time.Second)
		begin, yielded := time.Now(), make(map[string]int)
		var failure error
		for task, err := range client.ExportTasks(t.Context(), nil) {
			if failure = err; err == nil {
				yielded[task.TaskID]++
			}
		}
		assert.Less(t, s.Count(), 50)
		assert.Less(t, time.Since(begin), 15*time.Minute)
		for id, times := range yielded {
			assert.Equal(t, 1, times, id)
		}
		if failure == nil {
			assert.Len(t, yielded, 350)
		}
	})
}

func TestWatch_on_services_that_break_rules(t *testing.T) {
	onOddServices(t, func(t *testing.T, _ string, s *servicemodel.Service, client *CdnClient) {
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		last := make(map[string]ExportTaskStatus)
		var watching sync.WaitGroup
		var failure error
		yields := 0
		changes := client.WatchExportTasks(ctx)
		for _, task := range s.Tasks() {
			last[task.ID] = ExportTaskStatus(task.Status)
		}
		watching.Go(func() {
			for task, err := range changes {
				if failure = err; err == nil {
					yields++
					last[task.TaskID] = task.Status
				}
			}
		})
		want := make(map[string]ExportTaskStatus)
		for i := range 40 {
			id := fmt.Sprintf("old-%d", 8*i)
			if i%2 == 0 {
				id = fmt.Sprintf("new-%d", i)
			}
			for minute, status := range []ExportTaskStatus{"waiting", "processing", "success"} {
				s.Apply(time.Duration(10*i+150*minute)*time.Second, servicemodel.Change{ID: id, Status: string(status)})
				want[id] = status
			}
		}
		time.AfterFunc(20*time.Minute, func() { flush(s, 3) })
		time.Sleep(time.Hour)
		cancel()
		watching.Wait()
		assert.Less(t, s.Count(), 3600/2, "it pauses between requests")
		assert.Less(t, yields, 1000)
		if !errors.Is(failure, context.Canceled) {
			return
		}
		lost := 0
		for id, status := range want {
			if last[id] != status {
				lost++
			}
		}
		assert.Zero(t, lost, "of %d changes", len(want))
	})
}
