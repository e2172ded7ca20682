package cdn

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// settleOpen settles the intents of earlier creates, whatever their keys are, as far as that is possible by now. Those
// that were abandoned come first: until their tasks are known, they are candidates for the others.
func (t *exportTurn) settleOpen(ctx context.Context) error {
	for _, left := range slices.Clone(t.head.Open) {
		if left.Absent {
			continue
		}
		if err := t.settleAbandoned(ctx, left); err != nil {
			return err
		}
	}
	for _, left := range slices.Clone(t.head.Open) {
		if err := t.settleExpired(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// settleAbandoned settles an intent that its creator left without a result: it died, lost the lock, or could not read
// the list. The lag counts from now, since the request may have been sent a moment ago. A creator that lost the lock
// may send it until SendBy, so the list is read until one lag later. Meanwhile other keys wait for the lock.
func (t *exportTurn) settleAbandoned(ctx context.Context, left intent) error {
	if done, err := t.finishRecorded(ctx, left); done || err != nil {
		return err
	}
	// A wrong clock, here or at the creator, must not hold the lock for hours.
	sendable := min(max(left.SendBy.Sub(t.now()), 0), createTime)
	task, candidates, err := t.search(ctx, left, t.after(1).Add(sendable), false)
	switch {
	case err != nil:
		return err
	case task != nil:
		t.logger.LogAttrs(ctx, slog.LevelWarn, "cdn: found the export task of a create that was left unfinished",
			slog.String("key", left.Key), slog.String("task_id", task.TaskID))
		return t.assign(ctx, left, task)
	case len(candidates) > 0:
		return t.storeAmbiguous(ctx, left, candidates)
	}
	return t.noteAbsent(ctx, left)
}

// settleExpired settles an intent whose request the service does not accept any more. Without a new task, its key is
// free. A new task may be its or not. If the list cannot be read whole, the intent stays as it is.
func (t *exportTurn) settleExpired(ctx context.Context, left intent) error {
	if t.now().Before(t.expires(left)) {
		return nil
	}
	if done, err := t.finishRecorded(ctx, left); done || err != nil {
		return err
	}
	candidates, whole, err := t.candidates(ctx, left)
	switch {
	case err != nil:
		return err
	case t.now().Before(t.expires(left)): // the reading has corrected a wrong clock
		return nil
	case len(candidates) > 0:
		return t.storeAmbiguous(ctx, left, candidates)
	case !whole:
		return nil
	}
	return t.finish(ctx, left, "")
}

// finishRecorded removes an intent whose key has a result, and reports whether it has. A key with an open intent had
// none before, so the result is the intent's, and its process died before it stored the head.
func (t *exportTurn) finishRecorded(ctx context.Context, left intent) (done bool, err error) {
	if left.Key == "" {
		return false, nil
	}
	record, err := t.loadKey(ctx, left.Key)
	if err != nil || record.State == stateFree {
		return false, err
	}
	return true, t.finish(ctx, left, record.TaskID)
}

// assign stores the task of an intent: first for the key, so that a crash in between leaves an intent with a result.
func (t *exportTurn) assign(ctx context.Context, done intent, task *ExportTask) error {
	if done.Key != "" {
		record := &keyRecord{State: stateTask, Request: done.Request, TaskID: task.TaskID, At: t.now()}
		if err := t.storeKey(ctx, done.Key, record); err != nil {
			return outcomeUnknown{fmt.Errorf("store task %s: %w", redact.Excerpt(task.TaskID, redact.Short), err)}
		}
	}
	if err := t.finish(ctx, done, task.TaskID); err != nil {
		// The next holder of the lock does the same again.
		t.logger.LogAttrs(ctx, slog.LevelWarn, "cdn: the journal could not be completed", slog.Any("error", err))
	}
	return nil
}

// storeAmbiguous stores that an operator must say which task is the key's.
func (t *exportTurn) storeAmbiguous(ctx context.Context, left intent, candidates []ExportTask) error {
	if left.Key != "" {
		record := &keyRecord{State: stateAmbiguous, Request: left.Request, At: t.now()}
		for _, task := range candidates {
			record.Candidates = append(record.Candidates, candidate{task.TaskID, task.TaskName, task.CreateTime})
		}
		if err := t.storeKey(ctx, left.Key, record); err != nil {
			return err
		}
	}
	return t.finish(ctx, left, "")
}

// noteAbsent notes that the list does not show the task of an intent. Only its expiry or an operator ends it then.
func (t *exportTurn) noteAbsent(ctx context.Context, left intent) error {
	t.head.find(left).Absent = true
	return t.storeDetached(ctx)
}

// finish removes an intent from the head. taskID is its task, or empty.
func (t *exportTurn) finish(ctx context.Context, done intent, taskID string) error {
	t.head.close(done)
	if taskID != "" {
		t.head.take(taskID, t.now(), keepTaken+2*t.lag)
	}
	return t.storeDetached(ctx)
}

// keepTaken is how long a task is remembered as another create's, beyond the oldest open intent.
const keepTaken = 10 * time.Minute

// decide stores an operator's decision.
func (j *exportJournal) decide(ctx context.Context, key, taskID string) error {
	t, err := j.begin(ctx)
	if err != nil {
		return err
	}
	defer t.unlock()
	record, err := t.loadKey(ctx, key)
	if err != nil {
		return err
	}
	open := t.head.open(key)
	switch known := open != nil || record.State != stateFree; {
	case !known && taskID != "":
		return invalid("key", key, "is not known to the journal, or free")
	case !known:
		return nil
	case taskID != "" && taskID != record.TaskID && t.head.taken(taskID):
		return invalid("taskID", taskID, "is the task of another export")
	}
	decided := intent{Key: key, Request: record.Request}
	if open != nil {
		decided = *open
	}
	if taskID != "" {
		return t.assign(ctx, decided, &ExportTask{TaskID: taskID})
	}
	// First the head: an open intent would give the key a task again.
	if err := t.finish(ctx, decided, ""); err != nil {
		return err
	}
	return t.storeKey(ctx, key, &keyRecord{State: stateFree, At: t.now()})
}
