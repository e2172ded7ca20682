package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

func TestOutcomeOf_and_what_the_queue_does(t *testing.T) {
	const done, again, snooze, cancel = "done", "again", "snooze", "cancel"
	for _, test := range []struct {
		err   error
		want  outcome
		queue string
	}{
		{nil, outcomeFinished, done},
		{cdn.ErrAmbiguousExport, outcomeAmbiguous, cancel},
		{errors.Join(cdn.ErrOutcomeUnknown, cdn.ErrAmbiguousExport), outcomeAmbiguous, cancel},
		{cdn.ErrTaskFailed, outcomeFailed, cancel},
		{cdn.ErrTaskNotFound, outcomeFailed, cancel},
		{cdn.ErrThrottled, outcomeThrottled, snooze},
		{errors.Join(cdn.ErrThrottled, context.DeadlineExceeded), outcomeThrottled, snooze},
		{cdn.ErrQuotaExceeded, outcomeThrottled, snooze},
		{cdn.ErrInvalidParameter, outcomeRejected, cancel},
		{cdn.ErrBadRequest, outcomeRejected, cancel},
		{context.DeadlineExceeded, outcomeInterrupted, again},
		{context.Canceled, outcomeInterrupted, again},
		{cdn.ErrOutcomeUnknown, outcomeInterrupted, again},
		{cdn.ErrForbidden, outcomeError, again}, // until an administrator has allowed it
		{cdn.ErrUnauthorized, outcomeError, again},
		{errors.New("disk full"), outcomeError, again},
	} {
		t.Run(fmt.Sprint(test.err), func(t *testing.T) {
			err := test.err
			if err != nil {
				err = fmt.Errorf("cdn: ExportFile: %w", err)
			}
			require.Equal(t, test.want, outcomeOf(err))
			got := jobError(err)
			var snoozed *rivertype.JobSnoozeError
			var canceled *rivertype.JobCancelError
			switch {
			case errors.As(got, &snoozed):
				require.Equal(t, snooze, test.queue)
				require.Equal(t, quotaPause, snoozed.Duration)
			case errors.As(got, &canceled):
				require.Equal(t, cancel, test.queue)
				require.Equal(t, test.want != outcomeRejected, strings.Contains(got.Error(), "docs/runbook-ambiguous-exports.md"))
			case got != nil:
				require.Equal(t, again, test.queue)
			default:
				require.Equal(t, done, test.queue)
			}
		})
	}
}

func TestExportWorker_unknown_account_is_canceled(t *testing.T) {
	err := (&exportWorker{}).Work(t.Context(), &river.Job[export]{Args: export{Account: "gone"}})
	var canceled *rivertype.JobCancelError
	require.ErrorAs(t, err, &canceled)
	require.ErrorContains(t, err, `account "gone" is not in -accounts`)
}
