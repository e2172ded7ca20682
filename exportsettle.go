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
		if t.now().Before(t.expires(left)) {
			continue
		}
		if err := t.settleExpired(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

// settleAbandoned settles an intent that its creator left without a result: it died, or could not read the list. The lag
// counts from now, since it may have sent its request a moment ago. Meanwhile other keys wait for the lock.
func (t *exportTurn) settleAbandoned(ctx context.Context, left intent) error {
	if left.Key != "" {
		record, err := t.loadKey(ctx, left.Key)
		if err != nil {
			return err
		}
		// A key with an open intent had no result before. So this one is the intent's, and only the head is behind.
		if record.State != stateFree {
			return t.finish(ctx, left, record.TaskID)
		}
	}
	// A creator that lost the lock with its connection may be alive, and send the request until SendBy.
	until := t.after(lostLags)
	if sendBy := t.after(1).Add(left.SendBy.Sub(t.now())); sendBy.After(until) {
		until = sendBy
	}
	task, candidates, err := t.search(ctx, left, until)
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

// settleExpired settles an intent whose request the service does not accept any more. A task that was created in the
// meantime may be its or not; without one, its key is free.
func (t *exportTurn) settleExpired(ctx context.Context, left intent) error {
	candidates, err := t.candidates(ctx, left)
	switch {
	case err != nil:
		return err
	case len(candidates) > 0:
		return t.storeAmbiguous(ctx, left, candidates)
	}
	return t.finish(ctx, left, "")
}

// checkRequest returns an error if next is for another request than the key's.
func (i intent) checkRequest(next intent) error {
	if i.Request != next.Request {
		return invalid("ExportKey", next.Key, "belongs to another request")
	}
	return nil
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

// noteAbsent notes that the list does not show the task of an intent. Without a key, nothing waits for it.
func (t *exportTurn) noteAbsent(ctx context.Context, left intent) error {
	if left.Key == "" {
		return t.finish(ctx, left, "")
	}
	t.head.open(left.Key).Absent = true
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
