package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// createTime bounds the time from an intent to the last moment at which its request is signed.
	createTime = time.Minute
	// oldAge is the age from which on a key's task must be in the list. The lag is shorter.
	oldAge = 5 * time.Minute
	// unreadablePause is the pause before an expired create is settled again, if the list could not be read whole.
	unreadablePause = time.Minute
)

// exportJournal makes the exports of a client with a journal. A task belongs to a key by these rules:
//
//  1. All clients of the journal create under its lock, one at a time. So of the tasks that are new in the list, one
//     is the create's, and the others were created past the journal.
//  2. An intent is stored before its request is sent, with the head of the list as it was. It is removed only when
//     the key's task is stored, the request was refused, or its expiry has passed.
//  3. A request is signed until SendBy, and the service refuses a signature that is older than the expiry. So after
//     SendBy and the expiry no process can make a task of the intent, whether it lives, hangs or lost the lock.
//  4. A task is taken for an accepted create if it is the only new one, one lag after the create. It is taken for a
//     lost create if, besides, no other create is open: the request of that one may have made the task.
//  5. Whatever remains is ambiguous, until an operator decides.
type exportJournal struct {
	journal Journal
	lag     time.Duration
	expiry  time.Duration
	list    func(context.Context, *ListExportTasksRequest) (*ListExportTasksResponse, error)
	create  func(_ context.Context, _ *CreateExportTaskRequest, signBy time.Time) (*CreateExportTaskResponse, error)
	// patience is how long an export waits for a turn under the account's quota.
	patience time.Duration
	clock    *clock
	logger   *slog.Logger
}

func newExportJournal(c *CdnClient, o *options, clock *clock) *exportJournal {
	return &exportJournal{
		journal: o.journal,
		lag:     o.listLag,
		expiry:  o.lostCreateExpiry,
		list: func(ctx context.Context, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
			return c.list(ctx, operation{name: "ListExportTasks"}, request)
		},
		create:   c.create,
		patience: o.retryPolicy.MaxThrottleWait,
		clock:    clock,
		logger:   o.logger,
	}
}

// now returns the service's time, as far as the client knows it. It goes by the wall clock: the monotonic one may
// stand still while a machine is suspended.
func (j *exportJournal) now() time.Time { return j.clock.now().Round(0) }

// expires returns when the service has ceased to accept the request of an intent.
func (j *exportJournal) expires(sent intent) time.Time { return sent.SendBy.Add(j.expiry) }

// found is the result of one turn for a key.
type found struct {
	task *ExportTask // nil if it is not known
	// old reports whether the key had the task for so long that every list shows it.
	old bool
	// expires is when the service accepts the request of an earlier create no more, if there is no task.
	expires time.Time
}

// export returns the task of key, which it creates if the key has none. Without a key it creates one. It waits for as
// long as a request of an earlier create may still be accepted. The task may be unfinished.
func (j *exportJournal) export(ctx context.Context, request *CreateExportTaskRequest, key string) (found, error) {
	fingerprint, err := request.fingerprint()
	if err != nil {
		return found{}, err
	}
	for start := time.Now(); ; {
		got, err := j.turn(ctx, request, intent{Key: key, Request: fingerprint})
		if notSent, ok := errors.AsType[notSentError](err); ok {
			if time.Since(start) > j.patience || pauseUntil(ctx, time.Now().Add(time.Second)) != nil {
				return found{}, notSent.error
			}
			continue
		}
		if got.task != nil || err != nil {
			return got, err
		}
		pause := got.expires.Sub(j.now())
		if pause <= 0 {
			pause = unreadablePause
		}
		if err := pauseUntil(ctx, time.Now().Add(pause)); err != nil {
			return found{}, outcomeUnknown{fmt.Errorf("the list shows no task of an earlier create for key %q, which may be accepted until %s: %w",
				key, got.expires.UTC().Format(time.RFC3339), err)}
		}
	}
}

// turn settles what earlier holders of the lock left, and creates a task if the key has none.
func (j *exportJournal) turn(ctx context.Context, request *CreateExportTaskRequest, next intent) (found, error) {
	t, err := j.begin(ctx)
	if err != nil {
		return found{}, err
	}
	defer t.unlock()
	if err := t.settleOpen(ctx); err != nil {
		return found{}, fmt.Errorf("settle an earlier create: %w", err)
	}
	if next.Key != "" {
		got, err := t.known(ctx, next)
		if got.task != nil || err != nil {
			return got, err
		}
		if open := t.head.open(next.Key); open != nil {
			return found{expires: t.expires(*open)}, checkRequest(open.Request, next)
		}
	}
	return t.make(ctx, request, next)
}

// exportTurn is the work of one holder of the journal's lock.
type exportTurn struct {
	*exportJournal
	unlock func()
	head   *journalHead
}

// begin takes the lock and loads the head.
func (j *exportJournal) begin(ctx context.Context) (*exportTurn, error) {
	unlock, err := j.journal.Lock(ctx)
	if err != nil {
		return nil, err
	}
	t := &exportTurn{exportJournal: j, unlock: unlock}
	if t.head, err = t.loadHead(ctx); err != nil {
		unlock()
		return nil, err
	}
	return t, nil
}

// known returns the task that the key has. There is none if a task is to be created or awaited.
func (t *exportTurn) known(ctx context.Context, next intent) (found, error) {
	record, err := t.loadKey(ctx, next.Key)
	if err != nil || record.State == stateFree {
		return found{}, err
	}
	if err := checkRequest(record.Request, next); err != nil {
		return found{}, err
	}
	if record.State == stateAmbiguous {
		return found{}, ambiguousKey(next.Key, record.candidates())
	}
	return found{task: &ExportTask{TaskID: record.TaskID}, old: t.now().Sub(record.At) > oldAge}, nil
}

// checkRequest returns an error unless next is for the request that belongs to its key.
func checkRequest(belonging string, next intent) error {
	if belonging != next.Request {
		return invalid("ExportKey", next.Key, "belongs to another request")
	}
	return nil
}

// ambiguousKey returns the error for a key whose task is one of the candidates, or none.
func ambiguousKey(key string, candidates []ExportTask) error {
	err := error(&AmbiguousExportError{candidates})
	if key == "" {
		return err
	}
	return fmt.Errorf("key %q: %w; SettleExport ends it", key, err)
}

// make stores an intent, creates a task and finds it.
func (t *exportTurn) make(ctx context.Context, request *CreateExportTaskRequest, next intent) (found, error) {
	base, err := t.freshBase(ctx)
	if err != nil {
		return found{}, err
	}
	next.Base, next.At = base, t.now()
	next.SendBy = next.At.Add(min(createTime, t.expiry))
	t.head.Open = append(t.head.Open, next)
	if err := t.storeHead(ctx); err != nil {
		return found{}, err
	}
	sendCtx, cancel := context.WithTimeout(ctx, next.SendBy.Sub(next.At))
	defer cancel()
	response, err := t.create(sendCtx, request, next.SendBy)
	err = inStep("CreateExportTask", err)
	switch {
	case err == nil && response.TaskID != "":
		task := &ExportTask{TaskID: response.TaskID}
		return found{task: task}, t.assign(ctx, next, task)
	case err == nil, errors.Is(err, ErrOutcomeUnknown):
		return t.find(ctx, next, err)
	}
	err = t.withdraw(ctx, next, err)
	isLate := sendCtx.Err() != nil || errors.Is(err, ErrThrottled) || errors.Is(err, errSignedTooLate)
	if isLate && ctx.Err() == nil {
		err = notSentError{err}
	}
	return found{}, err
}

// notSentError means that a request was not sent by its SendBy: the quota gave it no turn, or the machine was
// suspended. The caller's own deadline may be later.
type notSentError struct{ error }

// freshBase returns the head of the list: the last reading if it is at most one lag old, or a new one.
func (t *exportTurn) freshBase(ctx context.Context) (exportBase, error) {
	if last := t.head.Base; last != nil {
		if age := t.now().Sub(last.At); age >= 0 && age <= t.lag {
			return *last, nil
		}
	}
	reading, err := t.readHead(ctx, nil)
	if err != nil {
		return exportBase{}, err
	}
	return reading.base(), nil
}

// withdraw removes an intent whose request was refused, or not sent at all. It returns why.
func (t *exportTurn) withdraw(ctx context.Context, next intent, why error) error {
	t.head.close(next)
	if err := t.storeDetached(ctx); err != nil {
		return fmt.Errorf("%w; withdraw the intent: %w", why, err)
	}
	return why
}
