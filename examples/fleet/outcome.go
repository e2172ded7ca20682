package main

import (
	"context"
	"errors"
	"time"

	"example.com/huaweicloud/cdn"
)

// outcome is the end of an export, for metrics and lines.
type outcome string

const (
	outcomeFinished    outcome = "finished"
	outcomeThrottled   outcome = "throttled"   // try again when the quota has room
	outcomeInterrupted outcome = "interrupted" // a timeout, the end of the process or a lost response: try again
	outcomeAmbiguous   outcome = "ambiguous"   // an operator must settle the key
	outcomeFailed      outcome = "failed"      // the task failed or is gone: an operator must free the key
	outcomeRejected    outcome = "rejected"    // the request or the settings are wrong
	outcomeError       outcome = "error"       // any other error: try again
)

const (
	quotaPause = time.Minute
	runbook    = "see docs/runbook-ambiguous-exports.md"
)

// outcomeOf returns the outcome of an export that returned err.
func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return outcomeFinished
	case errors.Is(err, cdn.ErrAmbiguousExport):
		return outcomeAmbiguous
	case errors.Is(err, cdn.ErrTaskFailed), errors.Is(err, cdn.ErrTaskNotFound):
		return outcomeFailed
	case errors.Is(err, cdn.ErrThrottled), errors.Is(err, cdn.ErrQuotaExceeded):
		return outcomeThrottled
	case errors.Is(err, cdn.ErrInvalidParameter), errors.Is(err, cdn.ErrBadRequest):
		return outcomeRejected
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, cdn.ErrOutcomeUnknown):
		return outcomeInterrupted
	}
	return outcomeError
}

// final reports whether a retry cannot help.
func (o outcome) final() bool {
	return o == outcomeAmbiguous || o == outcomeFailed || o == outcomeRejected
}

// hint returns what an operator should do, or "".
func (o outcome) hint() string {
	if o == outcomeAmbiguous || o == outcomeFailed {
		return "; " + runbook
	}
	return ""
}
