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

// waiting starts a wait and sends its result once it has ended.
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

// waitScript is a wait for the task "mine": the changes of the service meanwhile, and the result.
type waitScript struct {
	name   string
	others int              // tasks beside mine, changed later
	begin  ExportTaskStatus // of mine; there is none if it is empty
	script []step
	within time.Duration // of the last step at a time
	status ExportTaskStatus
	is     error // nil for none
}

func (w *waitScript) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{}
		service.set("mine", w.begin)
		for i := range w.others {
			time.Sleep(time.Second)
			service.set(fmt.Sprintf("other-%d", i), ExportTaskSuccess)
		}
		time.Sleep(time.Minute)
		var last time.Duration
		for _, line := range w.script {
			last = max(last, line.after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		client := newTestClient(t, play(t, service, w.script...), WithRetryPolicy(RetryPolicy{MaxAttempts: 1}))
		begin := time.Now()
		task, err := client.WaitForExportTask(ctx, "mine")
		assert.LessOrEqual(t, time.Since(begin), last+w.within)
		if w.is == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, w.is)
			require.ErrorContains(t, err, "mine")
		}
		if w.status != "" {
			require.NotNil(t, task, "the task is returned with the error")
			assert.Equal(t, w.status, task.Status)
		}
	})
}

func TestWait(t *testing.T) {
	const (
		second  = time.Second
		minute  = time.Minute
		success = ExportTaskSuccess
	)
	aheadOfTime := func(task *ExportTask) { task.UpdateTime = time.Now().Add(time.Hour) }
	rowWithoutID := `{"total":2,"data":[{"task_id":""},{"task_id":"other-1","status":"x"}]}`
	for _, script := range []waitScript{
		{"finished_before", 250, success, nil, second, success, nil},
		{"failed_before", 250, ExportTaskFail, nil, second, ExportTaskFail, ErrTaskFailed},
		{"unknown_id", 250, "", nil, second, "", ErrTaskNotFound},
		{"finishes", 250, "waiting", []step{at(10*second, sets("mine", "processing")), at(30*second, sets("mine", success))}, 30 * second, success, nil},
		{"fails", 250, "waiting", []step{at(10*second, sets("mine", ExportTaskFail))}, 30 * second, ExportTaskFail, ErrTaskFailed},
		{"removed_from_the_head", 5, "waiting", []step{at(minute, removes("mine"))}, 2 * minute, "", ErrTaskNotFound},
		{"removed_while_another_is_created", 5, "waiting", []step{at(minute, removes("mine")), at(minute, sets("new", "waiting"))}, 2 * minute, "", ErrTaskNotFound},
		{"removed_from_far_below_the_head", 350, "waiting", []step{at(minute, removes("mine"))}, 4 * minute, "", ErrTaskNotFound},
		{"removed_right_after_the_look_up", 5, "processing", []step{at(second, removes("mine"))}, 2 * minute, "", ErrTaskNotFound},
		{"undocumented_status_stays", 5, "waiting", []step{at(second, sets("mine", "cancelled"))}, time.Hour, "cancelled", context.DeadlineExceeded},
		{"finishes_just_before_the_deadline", 350, "waiting", []step{at(time.Hour-5*second, silently("mine", success))}, 5 * second, success, nil},

		{"two_changes_in_one_millisecond", 0, "waiting", []step{at(minute, silently("mine", success))}, minute, success, nil},
		{"finishes_without_a_stamp_far_below_the_head", 350, "waiting", []step{at(minute, silently("mine", success))}, 4 * minute, success, nil},
		{"end_stamped_before_the_newest_change", 5, "waiting", []step{at(second, edits("mine", func(task *ExportTask) {
			task.Status, task.UpdateTime = success, time.Now().Add(-2*second)
		}))}, minute, success, nil},
		{"finishes_below_a_head_from_the_future", 5, "waiting", []step{at(minute, func(s *scripted) {
			for i := range 3 {
				edits(fmt.Sprintf("other-%d", 4-i), aheadOfTime)(s)
			}
		}), at(minute, silently("mine", success))}, 2 * minute, success, nil},
		{"finishes_after_a_head_from_the_future_was_removed", 150, "waiting", []step{
			at(0, edits("other-149", aheadOfTime)), at(5*second, removes("other-149")), at(10*second, sets("mine", success)),
		}, 30 * second, success, nil},

		{"lists_fail_and_finished_before", 5, success, []step{at(0, refusesLists(500, ""))}, second, success, nil},
		{"lists_fail_and_finishes", 5, "waiting", []step{at(0, refusesLists(500, "")), at(minute, sets("mine", success))}, 2 * minute, success, nil},
		{"look_ups_fail_and_finishes", 5, "waiting", []step{at(0, refusesLookUps(503, "")), at(minute, sets("mine", success))}, minute, success, nil},
		{"row_without_an_id", 5, "waiting", []step{at(0, refusesLists(200, rowWithoutID)), at(minute, sets("mine", success))}, 2 * minute, success, nil},
		{"throttled_for_100_s", 5, "waiting", []step{
			at(second, refuses(429, "", "Retry-After", "100")), at(90*second, recovers), at(91*second, sets("mine", success)),
		}, minute, success, nil},
	} {
		t.Run(script.name, script.run)
	}
}

// The task finishes just before the service serves a request, the look-up or one of the first polls.
func TestWait_finishes_before_request(t *testing.T) {
	for n := range 5 {
		script := waitScript{
			name: fmt.Sprint(n + 1), others: 5, begin: "processing",
			script: []step{onRequest(n+1, sets("mine", ExportTaskSuccess))},
			within: time.Minute, status: ExportTaskSuccess,
		}
		t.Run(script.name, script.run)
	}
}

func TestWait_invalid_parameters(t *testing.T) {
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

func TestWithPollInterval_invalid(t *testing.T) {
	for _, bad := range [][2]time.Duration{{0, time.Second}, {-1, 1}, {2, 1}} {
		_, err := NewCdnClient(WithPollInterval(bad[0], bad[1]))
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
}
