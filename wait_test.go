package cdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// waiting starts a wait and gives its result when it is there.
func waiting(ctx context.Context, client *CdnClient, id string) <-chan waitResult {
	done := make(chan waitResult, 1)
	go func() {
		task, err := client.WaitForExportTask(ctx, id)
		if task == nil {
			task = &ExportTask{}
		}
		done <- waitResult{task, err}
	}()
	return done
}

func TestWaitForExportTask(t *testing.T) {
	tests := []struct {
		name   string
		begin  ExportTaskStatus
		later  []ExportTaskStatus // one each 10 s; empty removes
		status ExportTaskStatus
		want   error
	}{
		{"finished already", ExportTaskSuccess, nil, ExportTaskSuccess, nil},
		{"failed already", ExportTaskFail, nil, ExportTaskFail, ErrTaskFailed},
		{"finishes", "", []ExportTaskStatus{"waiting", "processing", ExportTaskSuccess}, ExportTaskSuccess, ErrTaskNotFound},
		{"finishes later", "waiting", []ExportTaskStatus{"processing", "processing", ExportTaskSuccess}, ExportTaskSuccess, nil},
		{"fails later", "waiting", []ExportTaskStatus{ExportTaskFail}, ExportTaskFail, ErrTaskFailed},
		{"is removed", "waiting", []ExportTaskStatus{""}, "", ErrTaskNotFound},
		{"unknown", "", nil, "", ErrTaskNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				for i := range 250 {
					service.set(fmt.Sprintf("other-%d", i), ExportTaskSuccess)
				}
				service.set("mine", test.begin)
				client := newTestClient(t, service)
				done := waiting(t.Context(), client, "mine")
				for _, status := range test.later {
					time.Sleep(10 * time.Second)
					service.set("mine", status)
				}
				got := <-done
				if test.want == nil {
					require.NoError(t, got.err)
				} else {
					require.ErrorIs(t, got.err, test.want)
					assert.ErrorContains(t, got.err, "mine")
				}
				if !errors.Is(got.err, ErrTaskNotFound) {
					assert.Equal(t, test.status, got.task.Status)
				}
			})
		})
	}
}

func TestWaitRefusesBadIDs(t *testing.T) {
	service := &fakeService{}
	client := newTestClient(t, service)
	for _, id := range []string{"", "a\nb", "\xff"} {
		_, err := client.WaitForExportTask(t.Context(), id)
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
	_, err := client.WaitForExportTask(noContext, "x")
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.Zero(t, service.requests)
}

// A thousand waits cost at the beginning a few pages, and then what one costs: a request a poll.
func TestAThousandWaitsCostWhatOneCosts(t *testing.T) {
	const n = 1000
	for name, spread := range map[string]bool{"tasks changed at different times": true, "tasks changed in one millisecond": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{}
				for i := range n {
					service.set(fmt.Sprintf("task-%d", i), "processing")
					if spread {
						time.Sleep(time.Millisecond)
					}
				}
				client := newTestClient(t, service)
				var waits []<-chan waitResult
				for i := range n {
					waits = append(waits, waiting(t.Context(), client, fmt.Sprintf("task-%d", i)))
				}
				time.Sleep(time.Second)
				requests, _, _ := service.counts()
				assert.LessOrEqual(t, requests, 25, "first looks")

				time.Sleep(time.Hour)
				requests, lists, _ := service.counts()
				assert.Equal(t, requests, lists)
				assert.InDelta(t, 2*3600/28, requests, 40, "a poll and a page of the patrol each 24 to 30 seconds")

				for i := range n {
					service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
					time.Sleep(time.Millisecond)
				}
				for _, wait := range waits {
					got := <-wait
					require.NoError(t, got.err)
				}
				requests, _, _ = service.counts()
				assert.LessOrEqual(t, requests, 40)
				synctest.Wait()
				time.Sleep(time.Hour)
				requests, _, _ = service.counts()
				assert.Zero(t, requests, "nobody waits any more")
			})
		})
	}
}

func TestPollPausesGrowAndAChangeResetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", "processing")
		client := newTestClient(t, service, WithPollInterval(time.Second, 8*time.Second))
		done := waiting(t.Context(), client, "mine")
		var pauses []time.Duration
		poll := func() {
			start := time.Now()
			for {
				time.Sleep(time.Millisecond)
				if requests, _, _ := service.counts(); requests > 0 {
					assert.Equal(t, 1, requests)
					pauses = append(pauses, time.Since(start))
					return
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
		_, _, _ = service.counts()
		for range 12 {
			poll()
		}
		assert.InDelta(t, time.Second, pauses[0], float64(250*time.Millisecond))
		for i, pause := range pauses {
			assert.LessOrEqual(t, pause, 8*time.Second+time.Millisecond)
			assert.GreaterOrEqual(t, pause, time.Second-100*time.Millisecond)
			if i > 6 {
				assert.Greater(t, pause, 6*time.Second)
			}
		}
		service.set("other", ExportTaskSuccess)
		poll()
		pauses = nil
		poll()
		assert.Less(t, pauses[0], 1300*time.Millisecond)
		service.set("mine", ExportTaskSuccess)
		require.NoError(t, (<-done).err)
	})
}

// Somebody who comes while others wait is looked after at once, and puts nobody's poll off.
func TestAWaitThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("first", "processing")
		service.set("second", ExportTaskSuccess)
		client := newTestClient(t, service, WithPollInterval(10*time.Second, 10*time.Second))
		first := waiting(t.Context(), client, "first")
		time.Sleep(5 * time.Second)
		start := time.Now()
		for range 100 {
			require.NoError(t, (<-waiting(t.Context(), client, "second")).err)
			time.Sleep(100 * time.Millisecond)
		}
		assert.Less(t, time.Since(start), 12*time.Second, "each is answered at once")
		service.set("first", ExportTaskSuccess)
		require.NoError(t, (<-first).err)
		assert.Less(t, time.Since(start), 25*time.Second)
	})
}

func TestFailuresThatMayPassReachAWaitWithItsContextOnly(t *testing.T) {
	unreachable := func(*http.Request) (*http.Response, error) { return nil, timeoutError{} }
	tests := []struct {
		name   string
		before func(*http.Request) (*http.Response, error)
		want   error
	}{
		{"busy", func(*http.Request) (*http.Response, error) { return reply(503, ""), nil }, &APIError{}},
		{"throttled", func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "1"), nil }, ErrThrottled},
		{"malformed", func(*http.Request) (*http.Response, error) { return reply(200, "<html>"), nil }, ErrMalformedResponse},
		{"unreachable", unreachable, timeoutError{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{before: test.before}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				start := time.Now()
				got := <-waiting(ctx, newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1})), "mine")
				assert.Equal(t, 10*time.Minute, time.Since(start))
				require.ErrorIs(t, got.err, context.DeadlineExceeded)
				var apiError *APIError
				if errors.As(test.want, &apiError) {
					require.ErrorAs(t, got.err, &apiError)
				} else {
					require.ErrorIs(t, got.err, test.want)
				}
				requests, _, _ := service.counts()
				assert.Less(t, requests, 60, "slower and slower")
				assert.Greater(t, requests, 8, "but never slower than the longest pause")
			})
		})
	}
}

func TestAPollThatFailsForAWhileDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		service := &fakeService{}
		service.set("mine", "processing")
		client := newTestClient(t, service, WithLogger(slog.New(slog.NewTextHandler(&log, nil))), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
		done := waiting(t.Context(), client, "mine")
		time.Sleep(time.Second)
		service.setBefore(func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "100"), nil })
		_, _, _ = service.counts()
		time.Sleep(90 * time.Second)
		requests, _, _ := service.counts()
		assert.Equal(t, 1, requests, "Retry-After is obeyed beyond the longest pause")
		service.setBefore(nil)
		service.set("mine", ExportTaskSuccess)
		require.NoError(t, (<-done).err)
		assert.Contains(t, log.String(), "pacing them")
	})
}

func TestARefusalReachesAllWaitsAtOnce(t *testing.T) {
	for status, want := range map[int]error{401: ErrUnauthorized, 403: ErrForbidden} {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			service.set("a", "processing")
			service.set("b", "processing")
			client := newTestClient(t, service)
			waits := []<-chan waitResult{waiting(t.Context(), client, "a"), waiting(t.Context(), client, "b")}
			time.Sleep(time.Second)
			service.setBefore(func(*http.Request) (*http.Response, error) { return reply(status, ""), nil })
			for _, wait := range waits {
				require.ErrorIs(t, (<-wait).err, want)
			}
		})
	}
}

// What the service says of one task is no matter of the others.
func TestARefusedIDEndsItsOwnWaitOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{before: func(req *http.Request) (*http.Response, error) {
			if req.URL.Query().Get("task_id") == "odd" {
				return reply(400, `{"error":{"error_code":"CDN.0001","error_msg":"bad id"}}`), nil
			}
			return nil, nil
		}}
		service.set("mine", "processing")
		client := newTestClient(t, service)
		mine := waiting(t.Context(), client, "mine")
		time.Sleep(time.Second)
		require.ErrorContains(t, (<-waiting(t.Context(), client, "odd")).err, "bad id")
		service.set("mine", ExportTaskSuccess)
		require.NoError(t, (<-mine).err)
	})
}

// The change comes between the first look and the first poll, and in the millisecond of the look.
func TestNothingChangesUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after := range 6 {
			service := &fakeService{}
			for i := range 5 {
				service.set(fmt.Sprintf("task-%d", i), "processing")
			}
			seen := 0
			service.before = func(*http.Request) (*http.Response, error) {
				if seen++; seen == after {
					for i, task := range service.tasks {
						if task.TaskID == "task-2" {
							service.tasks = append(service.tasks[:i], service.tasks[i+1:]...)
							break
						}
					}
					service.add(ExportTask{TaskID: "task-2", Status: ExportTaskSuccess})
				}
				return nil, nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			got := <-waiting(ctx, newTestClient(t, service), "task-2")
			cancel()
			if after == 0 {
				require.ErrorIs(t, got.err, context.DeadlineExceeded)
				continue
			}
			require.NoError(t, got.err, "changed before request %d", after)
		}
	})
}

// Two changes in one millisecond leave the task where it is, with the same time.
func TestTwoChangesInOneMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", "waiting")
		client := newTestClient(t, service)
		done := waiting(t.Context(), client, "mine")
		time.Sleep(time.Minute)
		service.mu.Lock()
		service.tasks[0].Status = ExportTaskSuccess
		service.mu.Unlock()
		require.NoError(t, (<-done).err)
	})
}

// collectWatch ranges in the background and keeps what comes.
type collectWatch struct {
	mu  sync.Mutex
	got []string
	err error
}

func watching(ctx context.Context, client *CdnClient) *collectWatch {
	return watchingLater(ctx, client, 0)
}

// watchingLater calls at once, and begins to range after a while.
func watchingLater(ctx context.Context, client *CdnClient, while time.Duration) *collectWatch {
	c := &collectWatch{}
	changes := client.WatchExportTasks(ctx)
	go func() {
		retry.Sleep(ctx, while)
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

func (c *collectWatch) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := strings.Join(c.got, " ")
	c.got = nil
	return got
}

// ended is the error that the range has ended with, if it has.
func (c *collectWatch) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func TestWatchExportTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		service := &fakeService{}
		for i := range 300 {
			service.set(fmt.Sprintf("old-%d", i), ExportTaskSuccess)
		}
		client := newTestClient(t, service)
		first := watching(ctx, client)
		time.Sleep(time.Minute)
		assert.Empty(t, first.take(), "what was there before is no change")

		service.set("a", "waiting")
		time.Sleep(time.Millisecond)
		service.set("b", "waiting")
		service.set("old-7", ExportTaskFail)
		time.Sleep(time.Minute)
		assert.Equal(t, "a:waiting b:waiting old-7:fail", first.take(), "in the order of change")

		service.set("c", "waiting")
		second := watching(ctx, client)
		service.set("d", "waiting")
		time.Sleep(time.Minute)
		assert.Equal(t, "c:waiting d:waiting", first.take())
		assert.Equal(t, "d:waiting", second.take(), "from the call on")

		for i := range 250 {
			service.set(fmt.Sprintf("many-%d", i), "waiting")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		got := strings.Fields(first.take())
		require.Len(t, got, 250)
		assert.Equal(t, "many-0:waiting", got[0])
		assert.Equal(t, "many-249:waiting", got[249])

		service.set("b", "")
		time.Sleep(time.Minute)
		assert.Empty(t, first.take(), "a removal is not yielded")

		cancel()
		synctest.Wait()
		require.ErrorIs(t, first.err, context.Canceled)
		require.ErrorIs(t, second.err, context.Canceled)
		_, _, _ = service.counts()
		time.Sleep(time.Hour)
		requests, _, _ := service.counts()
		assert.Zero(t, requests)
	})
}

// What changes between the call and the loop is not lost.
func TestWatchBeginsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("old", ExportTaskSuccess)
		client := newTestClient(t, service)
		changes := client.WatchExportTasks(t.Context())
		service.set("new", "waiting")
		time.Sleep(time.Hour)
		service.set("newer", "waiting")
		for range 2 {
			var got []string
			for task, err := range changes {
				require.NoError(t, err)
				if got = append(got, task.TaskID); len(got) == 2 {
					break
				}
			}
			assert.Equal(t, []string{"new", "newer"}, got, "each range begins with the call")
		}
	})
}

func TestASlowLoopGetsEachTaskAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		client := newTestClient(t, service)
		changes := client.WatchExportTasks(t.Context())
		service.set("a", "waiting")
		var got []string
		for task, err := range changes {
			require.NoError(t, err)
			got = append(got, task.TaskID+":"+string(task.Status))
			if len(got) == 1 {
				for _, status := range []ExportTaskStatus{"waiting", "processing", ExportTaskSuccess} {
					service.set("b", status)
					time.Sleep(time.Minute)
				}
				service.set("c", "waiting")
				time.Sleep(time.Minute)
			}
			if len(got) == 3 {
				break
			}
		}
		assert.Equal(t, []string{"a:waiting", "b:success", "c:waiting"}, got)
	})
}

func TestWatchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{before: func(*http.Request) (*http.Response, error) { return reply(403, ""), nil }}
		n := 0
		for _, err := range newTestClient(t, service).WatchExportTasks(t.Context()) {
			n++
			require.ErrorIs(t, err, ErrForbidden)
		}
		assert.Equal(t, 1, n)
		for _, err := range newTestClient(t, service).WatchExportTasks(noContext) {
			require.ErrorIs(t, err, ErrInvalidParameter)
		}

		service.before = nil
		client := newTestClient(t, service)
		changes := client.WatchExportTasks(t.Context())
		service.before = func(*http.Request) (*http.Response, error) { return reply(401, ""), nil }
		for _, err := range changes {
			require.ErrorIs(t, err, ErrUnauthorized)
		}
	})
}

// A refusal ends the watch, however late the loop comes to take it.
func TestARefusalIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		changes := newTestClient(t, service).WatchExportTasks(t.Context())
		service.set("a", "waiting")
		var last error
		for _, err := range changes {
			last = err
			if err != nil {
				continue
			}
			service.setBefore(func(*http.Request) (*http.Response, error) { return reply(403, ""), nil })
			time.Sleep(time.Minute)
			service.setBefore(nil)
			service.set("a", ExportTaskSuccess)
			time.Sleep(time.Minute)
		}
		require.ErrorIs(t, last, ErrForbidden)
	})
}

func TestPollIntervalIsChecked(t *testing.T) {
	for _, bad := range [][2]time.Duration{{0, time.Second}, {-1, 1}, {2, 1}} {
		_, err := NewCdnClient(WithPollInterval(bad[0], bad[1]))
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
}

// gatedService holds back the answer to the next list once it is armed.
type gatedService struct {
	*fakeService
	armed   atomic.Bool
	held    chan struct{}
	release chan struct{}
}

func newGatedService() *gatedService {
	return &gatedService{fakeService: &fakeService{}, held: make(chan struct{}), release: make(chan struct{})}
}

func (s *gatedService) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.fakeService.RoundTrip(req)
	if req.URL.Query().Get("task_id") == "" && s.armed.CompareAndSwap(true, false) {
		close(s.held)
		<-s.release
	}
	return resp, err
}

// A range that begins while a poll is under way is served by the next one, which reads as far as it needs.
func TestARangeThatBeginsDuringAPollLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newGatedService()
		service.set("mine", "processing")
		client := newTestClient(t, service)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		waiting(ctx, client, "mine") // keeps the poller going
		time.Sleep(time.Second)
		changes := client.WatchExportTasks(ctx)
		for i := range 121 {
			time.Sleep(time.Millisecond)
			service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
		}
		time.Sleep(time.Minute) // the poller knows them all
		service.armed.Store(true)
		<-service.held
		seen := make(map[string]bool)
		go func() {
			for task, err := range changes {
				if err == nil {
					seen[task.TaskID] = true
				}
			}
		}()
		time.Sleep(100 * time.Millisecond)
		close(service.release)
		time.Sleep(time.Hour)
		cancel()
		synctest.Wait()
		assert.Len(t, seen, 121)
	})
}

// What has changed before the call is no news, though a poll that is under way brings it.
func TestAWatchBegunDuringAPollYieldsNothingOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newGatedService()
		service.set("mine", "processing")
		client := newTestClient(t, service)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		waiting(ctx, client, "mine")
		time.Sleep(time.Second)
		service.armed.Store(true)
		<-service.held
		time.Sleep(10 * time.Millisecond)
		service.set("before", ExportTaskSuccess)
		time.Sleep(10 * time.Millisecond)
		time.AfterFunc(10*time.Millisecond, func() { close(service.release) })
		w := watching(ctx, client)
		time.Sleep(time.Hour)
		assert.Empty(t, w.take())
	})
}

// A task that is created, looked up and removed between two polls leaves no mark on the total.
func TestAWaitForATaskThatIsRemovedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("other", "processing")
		client := newTestClient(t, service, WithPollInterval(20*time.Second, 20*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		waiting(ctx, client, "other")
		time.Sleep(time.Second)
		service.set("mine", "processing")
		done := waiting(ctx, client, "mine")
		time.Sleep(time.Second)
		service.set("mine", "")
		require.ErrorIs(t, (<-done).err, ErrTaskNotFound)
	})
}

// The clocks of a service's machines differ: a change may be stamped before the newest one.
func TestAWaitForATaskWhoseEndIsStampedEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", "processing")
		time.Sleep(time.Minute)
		service.set("other", ExportTaskSuccess)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := waiting(ctx, newTestClient(t, service), "mine")
		time.Sleep(500 * time.Millisecond)
		service.set("mine", ExportTaskSuccess)
		service.mu.Lock()
		service.tasks[0].UpdateTime = service.tasks[0].UpdateTime.Add(-time.Second)
		service.tasks[0], service.tasks[1] = service.tasks[1], service.tasks[0]
		service.mu.Unlock()
		require.NoError(t, (<-done).err)
	})
}

// What is older than the head was, when the head is removed, is no news.
func TestAWatchYieldsNothingOldAfterRemovals(t *testing.T) {
	t.Run("an answer without tasks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			for i := range 5 {
				time.Sleep(time.Second)
				service.set(fmt.Sprintf("old-%d", i), ExportTaskSuccess)
			}
			polls := 0
			service.before = func(*http.Request) (*http.Response, error) {
				if polls++; polls == 3 {
					return reply(200, emptyPage), nil
				}
				return nil, nil
			}
			w := watching(t.Context(), newTestClient(t, service))
			time.Sleep(time.Hour)
			assert.Empty(t, w.take())
			service.set("new", "waiting")
			time.Sleep(time.Minute)
			assert.Equal(t, "new:waiting", w.take())
		})
	})
	t.Run("more than a page of one millisecond", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{}
			for i := range 150 {
				service.set(fmt.Sprintf("old-%d", i), ExportTaskSuccess)
			}
			time.Sleep(time.Second)
			service.set("head", ExportTaskSuccess)
			w := watching(t.Context(), newTestClient(t, service))
			for _, removed := range []string{"head", "old-140"} {
				time.Sleep(time.Minute)
				service.set(removed, "")
			}
			time.Sleep(time.Minute)
			assert.Empty(t, w.take())
		})
	})
}

// A service that asks for a week gets ten minutes, and whoever comes meanwhile is served after them.
func TestRetryAfterOfAPollIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("a", "processing")
		service.set("b", ExportTaskSuccess)
		polls := 0
		service.before = func(*http.Request) (*http.Response, error) {
			if polls++; polls == 3 {
				return reply(429, "", "Retry-After", "604800"), nil
			}
			return nil, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := newTestClient(t, service)
		waiting(ctx, client, "a")
		time.Sleep(time.Minute)
		start := time.Now()
		require.NoError(t, (<-waiting(ctx, client, "b")).err)
		assert.Less(t, time.Since(start), 11*time.Minute)
	})
}

// A task that the service cannot look up does not keep others waiting.
func TestOneTaskThatCannotBeLookedUpKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("good", ExportTaskSuccess)
		service.before = func(req *http.Request) (*http.Response, error) {
			if req.URL.Query().Get("task_id") == "bad" {
				return reply(500, ""), nil
			}
			return nil, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
		waiting(ctx, client, "bad")
		time.Sleep(5 * time.Minute)
		start := time.Now()
		require.NoError(t, (<-waiting(ctx, client, "good")).err)
		assert.Less(t, time.Since(start), time.Minute)
	})
}

// callingHandler calls back with each record that is logged.
type callingHandler func(slog.Record)

func (callingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h callingHandler) Handle(_ context.Context, record slog.Record) error {
	h(record)
	return nil
}
func (h callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h callingHandler) WithGroup(string) slog.Handler      { return h }

// A logger may be slow, and may use the client.
func TestALoggerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{before: func(*http.Request) (*http.Response, error) { return reply(503, ""), nil }}
		client := newTestClient(t, service, WithRetryPolicy(RetryPolicy{MaxAttempts: 1}),
			WithLogger(slog.New(callingHandler(func(record slog.Record) {
				if strings.Contains(record.Message, "a poll failed") {
					time.Sleep(time.Hour)
				}
			}))))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.WaitForExportTask(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(start))
		time.Sleep(2 * time.Hour)
	})
}

// What a poller learns after everybody has left it is not about those who wait for the next one.
func TestAPollerThatWasLeftSettlesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", "processing")
		answered, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		client := newTestClient(t, service, WithLogger(slog.New(callingHandler(func(record slog.Record) {
			record.Attrs(func(attr slog.Attr) bool {
				if attr.Value.String() == "GetExportTask" {
					once.Do(func() { close(answered); <-goOn })
				}
				return true
			})
		}))))
		first, leave := context.WithCancel(t.Context())
		left := waiting(first, client, "mine")
		<-answered // the look has its answer: processing
		leave()
		<-left
		service.set("mine", ExportTaskSuccess)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := waiting(ctx, client, "mine")
		time.Sleep(time.Millisecond) // the second poller has its first view
		close(goOn)
		require.NoError(t, (<-done).err)
	})
}

// A context that ends while a poll is still being tried again says why it is.
func TestAWaitThatIsLeftDuringAPollSaysWhatKeptIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{before: func(*http.Request) (*http.Response, error) {
			return reply(429, "slow down", "Retry-After", "20"), nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := newTestClient(t, service).WaitForExportTask(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ErrThrottled)
		assert.EqualError(t, err, "cdn: WaitForExportTask: x: context deadline exceeded; the last poll failed: GetExportTask: 429 Too Many Requests: slow down (retry after 20s, 2 attempts)")
	})
}

// A head that is stamped ahead of time and then removed does not hide what comes after it.
func TestWaitsAfterTheRemovalOfAHeadFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 150
		service := &fakeService{}
		for i := range n {
			time.Sleep(time.Millisecond)
			service.set(fmt.Sprintf("task-%d", i), "processing")
		}
		time.Sleep(time.Second)
		service.set("future", ExportTaskSuccess)
		service.tasks[0].UpdateTime = time.Now().Add(time.Minute)
		client := newTestClient(t, service)
		var waits []<-chan waitResult
		for i := range n {
			waits = append(waits, waiting(t.Context(), client, fmt.Sprintf("task-%d", i)))
		}
		time.Sleep(5 * time.Second)
		service.set("future", "")
		time.Sleep(5 * time.Second)
		for i := range n {
			service.set(fmt.Sprintf("task-%d", i), ExportTaskSuccess)
		}
		for _, done := range waits {
			require.NoError(t, (<-done).err)
		}
	})
}
