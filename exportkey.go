package cdn

import (
	"context"
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

// exportOptions is what the options of one export add up to.
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

// WithExportKey makes the export the one of this key, for a client with [WithJournal]: the first call with the key creates a
// task, and each later one, in whichever process and at whatever time, waits for that same task. A key is UTF-8 text
// without control characters of at most 500 bytes, such as "traffic/2026-11-26".
//
// The same key with another request is [ErrInvalidParameter]. A key whose task cannot be told from others is
// [ErrAmbiguousExport] until [CdnClient.SettleExport] says which it is. A task that failed, or that the service has
// removed, remains the key's: [CdnClient.SettleExport] frees the key. Several accounts need several journals.
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

// WithJournal makes [WithExportKey] possible. All exports of the client then take turns at creating and finding their tasks
// with those of the other clients on the same journal, those without a key too: each holds the journal's lock for about
// the time of [WithListLag]. So a new task in the list is known to be the export's.
//
// Exports that are made past the journal (in the console, by other programs, with [CdnClient.CreateExportTask]) remain
// possible. At the same moment as an export of the journal they make it ambiguous. If the export's own response was lost
// and its request too, such a task may be taken for its own.
func WithJournal(journal Journal) Option {
	return func(o *options) error {
		if journal == nil {
			return invalid("Journal", nil, "must not be nil")
		}
		o.journal = journal
		return nil
	}
}

// WithLostCreateExpiry sets how long the service may accept a request whose response was lost. An export with a key
// creates no other task before. The default is 15 minutes: the service refuses older signatures. A shorter time is for
// tests against a service of their own.
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
	report.created(found.task.TaskID)
	defer c.poller.join()()
	if found.old {
		return c.awaitCreated(ctx, found.task.TaskID, nil)
	}
	c.logCreated(ctx, found.task.TaskID)
	return c.awaitCreated(ctx, found.task.TaskID, found.task)
}

// SettleExport says which task is the one of key: an operator's decision after [ErrAmbiguousExport]. An empty taskID says
// that there is none; the next export with the key then creates one, so be sure that no task or request of it is left. It
// also frees a key whose task has failed or was removed, or whose request is another one now.
//
// Errors wrap [ErrInvalidParameter] if the client has no journal, or if the journal does not know the key or knows the
// task as another key's; [ErrTaskNotFound] if the service does not know the task.
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
