package cdn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// acceptedLags and lostLags are for how many lags the list is read for the task of a create.
	acceptedLags = 10
	lostLags     = 3
	// minLag is the least pause between two readings.
	minLag = 100 * time.Millisecond
)

// find reads the list until it shows the task of a create. lost is the error of the create, nil if it was accepted.
func (t *exportTurn) find(ctx context.Context, sent intent, lost error) (found, error) {
	lags := acceptedLags
	if lost != nil {
		lags = lostLags
	}
	task, candidates, err := t.search(ctx, sent, t.after(lags), lost == nil)
	switch {
	case err != nil && lost != nil:
		return found{}, fmt.Errorf("%w; find the new task: %w", lost, err)
	case err != nil:
		return found{}, unfound(err)
	case task != nil:
		return found{task: task}, t.assign(ctx, sent, task)
	case len(candidates) > 0:
		err = ambiguousKey(sent.Key, candidates)
		if failure := t.storeAmbiguous(ctx, sent, candidates); failure != nil {
			err = fmt.Errorf("%w; store that: %w", err, failure)
		}
		return found{}, err
	}
	return found{expires: t.expires(sent)}, t.absent(ctx, sent, lost)
}

// absent notes that the list does not show the task of a create. With a key it returns nil: the export goes on when
// the create has expired. Without a key it returns lost, or an error of its own if the create was accepted.
func (t *exportTurn) absent(ctx context.Context, sent intent, lost error) error {
	if err := t.noteAbsent(ctx, sent); err != nil {
		return outcomeUnknown{err}
	}
	switch {
	case sent.Key != "":
		return nil
	case lost == nil:
		return outcomeUnknown{errors.New("the service accepted the request, but the list shows no new task")}
	}
	return lost
}

// search reads the list one lag from now, and then less and less often until a time. It returns the task that is the
// intent's for certain. If there is none, it returns the tasks of which one may be. accepted reports whether the
// service is known to have made a task.
func (t *exportTurn) search(ctx context.Context, sent intent, until time.Time, accepted bool) (*ExportTask, []ExportTask, error) {
	pause := max(t.lag, minLag)
	for next := time.Now().Add(pause); ; next = earliest(time.Now().Add(pause), until) {
		if err := pauseUntil(ctx, next); err != nil {
			return nil, nil, err
		}
		last := !time.Now().Before(until)
		candidates, whole, err := t.candidates(ctx, sent)
		switch {
		case err != nil:
			return nil, nil, err
		case len(candidates) == 1 && whole && (accepted || t.head.isAlone(sent)):
			return &candidates[0], nil, nil
		case len(candidates) > 1, last:
			return nil, candidates, nil
		}
		pause *= 2
	}
}

// after returns the time after so many lags.
func (j *exportJournal) after(lags int) time.Time {
	return time.Now().Add(time.Duration(lags) * max(j.lag, minLag))
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// candidates reads the list. It returns the tasks that were created between the intent's base and its expiry, and do
// not belong to another create. whole reports whether the reading shows all of them.
func (t *exportTurn) candidates(ctx context.Context, sent intent) (tasks []ExportTask, whole bool, err error) {
	reading, err := t.readHead(ctx, &sent.Base.Boundary)
	if err != nil {
		return nil, false, err
	}
	base := reading.base()
	t.head.Base = &base
	// The clocks of machines and service differ. A stamp in the future says nothing.
	latest, now := t.expires(sent).Add(time.Minute), t.now()
	return slices.DeleteFunc(reading.created(sent.Base), func(task ExportTask) bool {
		tooLate := task.CreateTime.After(latest) && task.CreateTime.Before(now)
		return tooLate || t.head.taken(task.TaskID)
	}), reading.whole, nil
}

// pauseUntil waits until a time, or returns the error for the end of ctx.
func pauseUntil(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return endOf(ctx)
	}
}
