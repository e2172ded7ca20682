package cdn

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A thousand waits need a few pages at first, and then as many requests as one wait: a poll and a page of the patrol.
func TestPoller_requests_of_a_thousand_waits(t *testing.T) {
	const n = 1000
	for name, apart := range map[string]time.Duration{"changed_at_different_times": time.Millisecond, "changed_in_one_millisecond": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				for i := range n {
					service.set(fmt.Sprintf("task-%d", i), "processing")
					time.Sleep(apart)
				}
				client := newTestClient(t, service)
				var waits []<-chan waitResult
				for i := range n {
					waits = append(waits, waiting(t.Context(), client, fmt.Sprintf("task-%d", i)))
				}
				time.Sleep(time.Second)
				requests, _, _ := service.counts()
				assert.LessOrEqual(t, requests, 25, "first look-ups")

				time.Sleep(time.Hour)
				requests, lists, _ := service.counts()
				assert.Equal(t, requests, lists)
				assert.InDelta(t, 2*3600/28, requests, 40, "a poll and a page of the patrol each 24 to 30 seconds")

				for i := range n {
					service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
					time.Sleep(time.Millisecond)
				}
				for _, wait := range waits {
					require.NoError(t, (<-wait).err)
				}
				requests, _, _ = service.counts()
				assert.LessOrEqual(t, requests, 40)
				checkNoRequests(t, service)
			})
		})
	}
}

// checkNoRequests checks that the service gets no more requests.
func checkNoRequests(t *testing.T, service *fakeService) {
	t.Helper()
	synctest.Wait()
	_, _, _ = service.counts()
	time.Sleep(time.Hour)
	requests, _, _ := service.counts()
	assert.Zero(t, requests, "without a subscriber")
}

func TestPoller_pauses_grow_until_a_change(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shortest, longest = time.Second, 8 * time.Second
		service := &fakeService{}
		service.set("mine", "processing")
		done := waiting(t.Context(), newTestClient(t, service, WithPollInterval(shortest, longest)), "mine")
		time.Sleep(50 * time.Millisecond)
		_, _, _ = service.counts()
		nextPoll := func() (pause time.Duration) {
			for begin := time.Now(); ; {
				time.Sleep(time.Millisecond)
				if requests, _, _ := service.counts(); requests > 0 {
					assert.Equal(t, 1, requests)
					return time.Since(begin)
				}
			}
		}
		for i := range 12 {
			pause := nextPoll()
			assert.GreaterOrEqual(t, pause, shortest-100*time.Millisecond, "pause %d", i)
			assert.LessOrEqual(t, pause, longest+time.Millisecond, "pause %d", i)
			switch {
			case i == 0:
				assert.Less(t, pause, shortest*5/4)
			case i > 6:
				assert.Greater(t, pause, longest*3/4, "pause %d", i)
			}
		}
		service.set("other", ExportTaskSuccess)
		nextPoll()
		assert.Less(t, nextPoll(), shortest*13/10, "after a change")
		service.set("mine", ExportTaskSuccess)
		require.NoError(t, (<-done).err)
	})
}

// The tasks of new waits are looked up at once. That does not delay the polls of other waits.
func TestPoller_new_waits(t *testing.T) {
	t.Run("one_after_the_other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			service.set("first", "processing")
			service.set("second", ExportTaskSuccess)
			client := newTestClient(t, service, WithPollInterval(10*time.Second, 10*time.Second))
			first := waiting(t.Context(), client, "first")
			time.Sleep(5 * time.Second)
			begin := time.Now()
			for range 100 {
				require.NoError(t, (<-waiting(t.Context(), client, "second")).err)
				time.Sleep(100 * time.Millisecond)
			}
			assert.Less(t, time.Since(begin), 12*time.Second, "each ends at once")
			service.set("first", ExportTaskSuccess)
			require.NoError(t, (<-first).err)
			assert.Less(t, time.Since(begin), 25*time.Second)
		})
	})
	t.Run("200_on_a_slow_service", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &working{&fakeService{}, t, 3 * time.Second, time.Minute} // 20 requests a minute
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
			begin := time.Now()
			require.NoError(t, (<-first).err)
			assert.Less(t, time.Since(begin), time.Minute)
		})
	})
}
