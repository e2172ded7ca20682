package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// createTime bounds the time from an intent to the last moment at which its request is sent.
	createTime = time.Minute
	// storeTime bounds the stores after a create, which go on after the end of the caller's context.
	storeTime = 15 * time.Second
	// oldAge is the age of a key's task from which on it must be in the list. The lag is shorter.
	oldAge = 5 * time.Minute
	// acceptedLags and lostLags are for how many lags the list is read for a task.
	acceptedLags = 10
	lostLags     = 3
	// minLag is the least pause between two readings.
	minLag = 100 * time.Millisecond
)

// exportJournal makes exports of a client with a journal. All creates of the clients that share the journal happen under
// its lock, one at a time, each between two readings of the list.
type exportJournal struct {
	journal Journal
	lag     time.Duration
	expiry  time.Duration
	list    func(context.Context, *ListExportTasksRequest) (*ListExportTasksResponse, error)
	create  func(context.Context, *CreateExportTaskRequest) (*CreateExportTaskResponse, error)
	// patience is how long an export waits for a turn under the account's quota.
	patience time.Duration
	now      func() time.Time // by the service's clock, so that machines agree
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
		now:      clock.now,
		logger:   o.logger,
	}
}

// found is what one holder of the lock found out about a key.
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
		if err := pauseUntil(ctx, time.Now().Add(got.expires.Sub(j.now()))); err != nil {
			return found{}, outcomeUnknown{fmt.Errorf("the list shows no task of an earlier create for key %q, which may be accepted until %s: %w",
				key, got.expires.UTC().Format(time.RFC3339), err)}
		}
	}
}

// turn does under the lock what the state of the key calls for.
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
			return found{expires: t.expires(*open)}, open.checkRequest(next)
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
	data, err := j.journal.Load(ctx, headName)
	if err == nil {
		if t.head, err = decodeHead(data); err != nil {
			err = fmt.Errorf("the journal's record %q: %w", headName, err)
		}
	}
	if err != nil {
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
	if err := (intent{Request: record.Request}).checkRequest(next); err != nil {
		return found{}, err
	}
	if record.State == stateAmbiguous {
		return found{}, ambiguousKey(next.Key, record.candidates())
	}
	return found{task: &ExportTask{TaskID: record.TaskID}, old: t.now().Sub(record.At) > oldAge}, nil
}

// ambiguousKey returns the error for a key whose task is one of the candidates, or none.
func ambiguousKey(key string, candidates []ExportTask) error {
	err := error(&AmbiguousExportError{candidates})
	if key == "" {
		return err
	}
	return fmt.Errorf("key %q: %w; SettleExport ends it", key, err)
}

// make creates a task and finds it.
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
	// The intent's expiry counts from SendBy: a request that is sent later would outlive it.
	sendCtx, cancel := context.WithTimeout(ctx, next.SendBy.Sub(next.At))
	defer cancel()
	response, err := t.create(sendCtx, request)
	err = inStep("CreateExportTask", err)
	switch {
	case err == nil && response.TaskID != "":
		task := &ExportTask{TaskID: response.TaskID}
		return found{task: task}, t.assign(ctx, next, task)
	case err == nil, errors.Is(err, ErrOutcomeUnknown):
		return t.find(ctx, next, err)
	}
	err = t.refused(ctx, next, err)
	if ctx.Err() == nil && (sendCtx.Err() != nil || errors.Is(err, ErrThrottled)) {
		err = notSentError{err}
	}
	return found{}, err
}

// notSentError means that the quota gave a create no turn until its SendBy. The caller's own deadline may be later.
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

// refused ends an intent whose request was clearly refused, or not sent at all.
func (t *exportTurn) refused(ctx context.Context, refused intent, why error) error {
	t.head.close(refused)
	if err := t.storeDetached(ctx); err != nil {
		return fmt.Errorf("%w; forget the refused create: %w", why, err)
	}
	return why
}

// expires returns when the service has ceased to accept the request of an intent.
func (t *exportTurn) expires(sent intent) time.Time { return sent.SendBy.Add(t.expiry) }
