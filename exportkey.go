package cdn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Journal remembers which export task belongs to which key, for [WithJournal]. A *journal.Dir is one in a folder, a
// *pgjournal.Journal one in PostgreSQL.
//
// An implementation is safe for concurrent use.
type Journal interface {
	// Lock waits until the caller alone holds the journal, among all processes that share it, or until ctx ends. A
	// holder that dies loses the lock.
	Lock(ctx context.Context) (unlock func(), err error)
	// Load returns the record that was stored last for key, or nil if there was none. A record that cannot be read
	// whole is an error. The caller holds the lock.
	Load(ctx context.Context, key string) ([]byte, error)
	// Store replaces the record of key. The record is durable when Store returns nil. The caller holds the lock; if
	// the lock was lost, Store returns an error.
	Store(ctx context.Context, key string, record []byte) error
}

// maxExportKey is the limit of a key, in bytes. The journals take longer ones.
const maxExportKey = 500

// ExportOption changes one call of [CdnClient.Export] or [CdnClient.ExportFile].
type ExportOption func(*exportOptions) error

// exportOptions has the values of the options of one export.
type exportOptions struct {
	key string
}

func newExportOptions(opts []ExportOption) (*exportOptions, error) {
	o := &exportOptions{}
	for i, option := range opts {
		if option == nil {
			return nil, fmt.Errorf("%w: option %d is nil", ErrInvalidParameter, i)
		}
		if err := option(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// WithExportKey gives the export a key. The client needs [WithJournal]. The first call with a key creates a task. Each
// later call with it waits for that same task, in any process that uses the journal and at any time. A key is UTF-8
// text of 1 to 500 bytes without control characters, such as "traffic/2026-11-26".
//
// The same key with another request is [ErrInvalidParameter]. The error wraps [ErrAmbiguousExport] if the list does not
// prove which task is the key's, until [CdnClient.SettleExport] says so. If a create of the key was lost, the call waits
// until the service can no longer accept that request, about 16 minutes by default. If ctx ends first, the error wraps
// [ErrOutcomeUnknown]. A task that failed, or that the service has removed, remains the key's until
// [CdnClient.SettleExport] frees the key.
func WithExportKey(key string) ExportOption {
	return func(o *exportOptions) error {
		switch {
		case key == "":
			return invalid("ExportKey", key, "must not be empty")
		case len(key) > maxExportKey:
			return invalid("ExportKey", key, fmt.Sprintf("must have at most %d bytes", maxExportKey))
		}
		o.key = key
		return validateText("ExportKey", key)
	}
}

// WithJournal sets the journal for [WithExportKey]: a folder (journal.OpenDir), a PostgreSQL table (pgjournal.Open), or
// an implementation of your own. A journal serves one account. All exports of its clients, also those without a key,
// create and find their tasks one after the other. Each export holds the journal's lock for about the time of
// [WithListLag]. So the only new task in the list is that export's.
//
// Tasks can still be created past the journal: in the console, by other programs, with [CdnClient.CreateExportTask].
// Such a task makes an export ambiguous that creates its own at the same moment. If the create of that export is lost,
// the export may take such a task for its own.
func WithJournal(journal Journal) Option {
	return func(o *options) error {
		if journal == nil {
			return invalid("Journal", nil, "must not be nil")
		}
		o.journal = journal
		return nil
	}
}

// WithLostCreateExpiry sets how long after its signature the service may accept a request. After a lost create, a key
// gets no other task before. The default is 15 minutes: the service refuses older signatures. Add as much as the clock
// of a machine may be ahead of the service's. A shorter time is for tests against a service of their own.
func WithLostCreateExpiry(expiry time.Duration) Option {
	return func(o *options) error {
		if expiry <= 0 {
			return invalid("LostCreateExpiry", expiry, "must be positive")
		}
		o.lostCreateExpiry = expiry
		return nil
	}
}

// exportOnce returns the finished task of key, which it creates if the key has none; without a key it creates one.
func (c *CdnClient) exportOnce(ctx context.Context, request *CreateExportTaskRequest, key string, report *exportReport) (*ExportTask, error) {
	if c.journal == nil {
		return nil, invalid("ExportKey", key, "needs WithJournal")
	}
	found, err := c.journal.export(ctx, request, key)
	if err != nil {
		return found.task, err
	}
	defer c.poller.join()()
	created := found.task
	if found.old {
		created = nil
	}
	task, err := c.awaitCreated(ctx, found.task.TaskID, created, report)
	if key != "" && (errors.Is(err, ErrTaskFailed) || errors.Is(err, ErrTaskNotFound)) {
		err = fmt.Errorf("%w; it remains the task of key %q until SettleExport frees the key", err, key)
	}
	return task, err
}

// SettleExport stores which task is the one of key: an operator's decision after [ErrAmbiguousExport]. An empty taskID
// frees the key, also from a task that failed or was removed, or from another request. The next export with the key
// then creates a task, so be sure that no task or request of the key is left. After an error the same call can be
// repeated.
//
// Errors wrap [ErrInvalidParameter] if the client has no journal, if the journal does not know the key, or if the task
// is known to be another export's. They wrap [ErrTaskNotFound] if the service does not know the task.
func (c *CdnClient) SettleExport(ctx context.Context, key, taskID string) error {
	if err := c.settleExport(ctx, key, taskID); err != nil {
		return fmt.Errorf("cdn: SettleExport: %w", err)
	}
	return nil
}

func (c *CdnClient) settleExport(ctx context.Context, key, taskID string) error {
	switch {
	case ctx == nil:
		return invalid("ctx", nil, "must not be nil")
	case c.journal == nil:
		return invalid("key", key, "needs WithJournal")
	}
	if err := WithExportKey(key)(&exportOptions{}); err != nil {
		return err
	}
	if taskID != "" {
		if _, err := c.getTask(ctx, operation{name: "GetExportTask"}, taskID); err != nil {
			return err
		}
	}
	return c.journal.decide(ctx, key, taskID)
}
