package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// Export creates an export task, finds it, and waits until it is finished, as [CdnClient.WaitForExportTask] does.
//
// The service does not name the task that it creates, and shows it in the list a little later. So the task is found
// by counting: the exports of one client create one after the other, and once [WithListLag] has passed since the
// last create, the list must show exactly as many new tasks as were created. If it shows more, another user or
// client has created one meanwhile, and the error is an [*AmbiguousExportError] with the candidates. So each call
// takes at least the lag, and exports at the same time share it. If the response to the create is lost, the error
// wraps [ErrOutcomeUnknown] and names a task that is new in the list, if there is one: it may be another user's. A
// task is never created twice.
//
// A task that is known is returned with the error too, so that it can be waited for again, and its id is logged at
// info level as soon as it is certain. If no task is returned, an error that wraps [ErrOutcomeUnknown] or
// [ErrAmbiguousExport] says that there may be one, and any other error that there is none.
func (c *CdnClient) Export(ctx context.Context, request *CreateExportTaskRequest, opts ...ExportOption) (*ExportTask, error) {
	report := c.observer.export()
	task, err := c.export(ctx, request, opts, report)
	if err != nil {
		err = fmt.Errorf("cdn: Export: %w", err)
	}
	report.done(task, err)
	return task, err
}

// ExportFile does what [CdnClient.Export] does, and writes the task's file to path as [CdnClient.DownloadFile] does.
// The file takes no further request to the service, since the link comes with the finished task. The task is
// returned, also with an error as soon as it is known. An error of the download says so, and can be followed by
// a DownloadFile of the task.
func (c *CdnClient) ExportFile(ctx context.Context, request *CreateExportTaskRequest, path string, opts ...ExportOption) (*ExportTask, error) {
	report := c.observer.export()
	task, err := c.exportFile(ctx, request, path, opts, report)
	if err != nil {
		err = fmt.Errorf("cdn: ExportFile: %w", err)
	}
	report.done(task, err)
	return task, err
}

func (c *CdnClient) exportFile(ctx context.Context, request *CreateExportTaskRequest, path string, opts []ExportOption, report *exportReport) (*ExportTask, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	task, err := c.export(ctx, request, opts, report)
	if err != nil {
		return task, err
	}
	_, err = c.downloadFile(ctx, task.TaskID, path, []DownloadOption{withLinkOf(task)})
	return task, inStep("download", err)
}

// checkFolder finds out before the export whether the folder of its file exists.
func checkFolder(path string) error {
	if path == "" {
		return invalid("path", path, "must not be empty")
	}
	_, err := os.Stat(filepath.Dir(path))
	return err
}

func (c *CdnClient) export(ctx context.Context, request *CreateExportTaskRequest, opts []ExportOption, report *exportReport) (*ExportTask, error) {
	switch {
	case ctx == nil:
		return nil, invalid("ctx", nil, "must not be nil")
	case request == nil:
		return nil, invalid("request", nil, "must not be nil")
	}
	if err := request.validate(); err != nil {
		return nil, err
	}
	o, err := newExportOptions(opts)
	if err != nil {
		return nil, err
	}
	report.event.Key = o.key
	if c.journal != nil || o.key != "" {
		return c.exportOnce(ctx, request, o.key, report)
	}
	defer c.poller.join()()
	created, err := c.createAndFind(ctx, request)
	if err != nil {
		return nil, err
	}
	c.logCreated(ctx, created.TaskID)
	report.created(created.TaskID)
	return c.awaitCreated(ctx, created.TaskID, created)
}

// logCreated logs the id of a new task: the wait may be long, and a program that dies in it would not know the task.
func (c *CdnClient) logCreated(ctx context.Context, taskID string) {
	c.poller.logger.LogAttrs(ctx, slog.LevelInfo, "cdn: export task created", slog.String("task_id", taskID))
}

// awaitCreated waits for a task. created is what is known of a new one, nil if the task is older. The caller is a
// subscriber of the poller.
func (c *CdnClient) awaitCreated(ctx context.Context, taskID string, created *ExportTask) (*ExportTask, error) {
	w := c.poller.waitFor(taskID, created)
	defer c.poller.forget(w)
	task, err := w.await(ctx)
	if task == nil {
		task = &ExportTask{TaskID: taskID}
		if created != nil {
			task = created
		}
	}
	return task, err
}

// createAndFind creates a task and returns it once it is certain which it is. The caller is a subscriber of the
// poller. The task has no status if the response to the create named it; then the list may show it later.
//
// If no task is returned, the error wraps ErrOutcomeUnknown or ErrAmbiguousExport if there may be one; errors.As
// finds an AmbiguousExportError with the candidates in it. Any other error says that there is none.
func (c *CdnClient) createAndFind(ctx context.Context, request *CreateExportTaskRequest) (*ExportTask, error) {
	claim, task, err := c.createInTurn(ctx, request)
	if claim == nil {
		return task, err
	}
	select {
	case <-claim.done:
	case <-ctx.Done():
		return nil, c.poller.unproved(claim, c.poller.endOf(ctx))
	}
	if claim.err != nil {
		return nil, claim.err
	}
	return c.poller.latest(claim.task), nil
}

// createInTurn creates a task and looks for it until the list shows one for each create of the batch. One export
// of a client does that at a time. The task is returned if the response names it; otherwise it is the claim's.
func (c *CdnClient) createInTurn(ctx context.Context, request *CreateExportTaskRequest) (*claim, *ExportTask, error) {
	select {
	case c.exportTurn <- struct{}{}:
		defer func() { <-c.exportTurn }()
	case <-ctx.Done():
		return nil, nil, endOf(ctx)
	}
	p := c.poller
	if err := p.openBatch(ctx); err != nil {
		return nil, nil, err
	}
	response, err := c.create(ctx, request, time.Time{})
	err = inStep("CreateExportTask", err)
	switch {
	case errors.Is(err, ErrOutcomeUnknown):
		return nil, nil, p.settleLost(ctx, err)
	case err != nil:
		p.closeCreate(false, "")
		return nil, nil, err
	case response.TaskID != "":
		p.closeCreate(true, response.TaskID)
		return nil, &ExportTask{TaskID: response.TaskID}, nil
	}
	claim := p.closeCreate(true, "")
	p.find(ctx, claim)
	return claim, nil, nil
}

// Pauses between two readings for a task that the list does not show yet.
const (
	minFindPause = 500 * time.Millisecond
	maxFindPause = 15 * time.Second
)

// find reads the list until it shows a task for the claim, or the claim or ctx has ended. It begins with a pause
// if the list was late to show the task of the last create.
func (p *poller) find(ctx context.Context, c *claim) {
	pause := minFindPause
	for reading := 1; ; reading++ {
		if reading > 1 || p.listIsLate {
			p.pauseFor(ctx, c, pause)
		}
		if ctx.Err() != nil {
			return
		}
		// A permanent failure of a reading ends the claim. After a transient one the next reading may do better.
		_ = p.read(ctx, &demand{depth: maxStamp})
		if p.isShown(c) {
			p.listIsLate = reading > 1
			return
		}
		if reading > 1 {
			pause = min(2*pause, maxFindPause)
		}
	}
}

// pauseFor waits until the pause is over, or the claim or ctx has ended.
func (p *poller) pauseFor(ctx context.Context, c *claim, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
	case <-ctx.Done():
	}
}

// isShown reports whether the list shows a task for the claim, or the claim has ended.
func (p *poller) isShown(c *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.candidateOf(c) != nil || p.indexOf(c) < 0
}

// indexOf returns the place of an open claim in the batch, or -1. The caller holds the lock.
func (p *poller) indexOf(c *claim) int {
	if p.batch != nil {
		for i, other := range p.batch.claims {
			if other == c {
				return i
			}
		}
	}
	return -1
}

// candidateOf returns the task that is the claim's if no other user created one, or nil. The caller holds the lock.
func (p *poller) candidateOf(c *claim) *ExportTask {
	i := p.indexOf(c)
	if i < 0 || i >= len(p.batch.created) {
		return nil
	}
	return &p.batch.created[i].task
}

// unproved returns the error for a claim whose caller leaves before it is decided.
func (p *poller) unproved(c *claim, why error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if task := p.candidateOf(c); task != nil {
		why = fmt.Errorf("%w (%s is new, and not certain yet)", why, redact.Excerpt(task.TaskID, redact.Short))
	}
	return unfound(why)
}

// batchDepth returns down to which stamp a reading must go to show all that is new since the batch began.
func (p *poller) batchDepth() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.batch.depth
}

// settleLost waits for a reading one lag after a create whose response was lost. The other claims of the batch are
// certain if it shows no task beyond theirs. A new task is named in the error, and never taken.
func (p *poller) settleLost(ctx context.Context, cause error) error {
	readable := retry.Sleep(ctx, p.lag)
	var failure error
	if readable {
		failure = p.read(ctx, &demand{depth: p.batchDepth()})
	} else {
		failure = p.endOf(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	candidates := p.batch.candidates()
	p.batch.inFlight = false
	switch n := len(p.batch.claims); {
	case len(candidates) <= n:
		candidates = nil
	case n > 0 && failure == nil:
		p.batch.end(&AmbiguousExportError{candidates})
	}
	p.batch.settleAt = time.Now()
	if len(p.batch.claims) == 0 {
		p.batch = nil
	}
	if failure != nil {
		return fmt.Errorf("%w; find the new task: %w", cause, failure)
	}
	return lost(cause, candidates)
}
