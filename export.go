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

// Export creates an export task, finds it, and waits until it is finished, as [CdnClient.WaitForExportTask] does. One
// call never creates two tasks. With [WithExportKey], all calls with the same key share one task.
//
// The response to a create does not name the task, and the list shows it a little later. So Export finds the task by
// counting. Exports of one client create their tasks one after the other. Once [WithListLag] has passed since the last
// create, the list must show exactly as many new tasks as were created. So each call takes at least that lag; calls at
// the same time share it. If the list shows more new tasks, another user or client has created one, and the error is
// an [*AmbiguousExportError] with the candidates. If the response to the create was lost, the error wraps
// [ErrOutcomeUnknown]; a new task that it names may be another user's.
//
// If the task is known, it is returned with an error too, and can be waited for again. Its id is logged at info level
// before the wait. If no task is returned, this call may have created one if the error wraps [ErrOutcomeUnknown] or
// [ErrAmbiguousExport], and has created none otherwise.
func (c *CdnClient) Export(ctx context.Context, request *CreateExportTaskRequest, opts ...ExportOption) (*ExportTask, error) {
	report := c.observer.export()
	task, err := c.export(ctx, request, opts, report)
	if err != nil {
		err = fmt.Errorf("cdn: Export: %w", err)
	}
	report.done(task, err)
	return task, err
}

// ExportFile exports as [CdnClient.Export] does, and writes the task's file to path as [CdnClient.DownloadFile] does. A
// file that exists at path is replaced once the new one is complete. The download needs no further request to the
// service, because the finished task has the link. The errors are those of both methods. If the task is known, it is
// returned with an error too; after a failed download, DownloadFile can fetch its file.
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
	if err := checkPath(path); err != nil {
		return nil, err
	}
	task, err := c.export(ctx, request, opts, report)
	if err != nil {
		return task, err
	}
	_, err = c.downloadFile(ctx, task.TaskID, path, []DownloadOption{withLinkOf(task)})
	return task, inStep("download", err)
}

// checkPath returns an error if path cannot be the name of a file. It is called before the create, because a later
// failure would leave a task without a file.
func checkPath(path string) error {
	if path == "" {
		return invalid("path", path, "must not be empty")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return invalid("path", path, "is a directory")
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
	return c.awaitCreated(ctx, created.TaskID, created, report)
}

// awaitCreated reports an export's task, and waits for it. created is what is known of a new task, nil if the task is
// older. The caller is a subscriber of the poller.
func (c *CdnClient) awaitCreated(ctx context.Context, taskID string, created *ExportTask, report *exportReport) (*ExportTask, error) {
	// The wait may be long, and a program that dies in it could not name the task otherwise.
	c.poller.logger.LogAttrs(ctx, slog.LevelInfo, "cdn: waiting for the export's task", slog.String("task_id", taskID))
	report.created(taskID)
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

// createAndFind creates a task and returns it once the list proves which task it is. The caller is a subscriber of
// the poller. If the response to the create names the task, it is returned without a status.
//
// If no task is returned, there may be one if the error wraps ErrOutcomeUnknown or ErrAmbiguousExport, and there is
// none otherwise.
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

// createInTurn creates a task and reads the list until it shows a task for each create of the batch. One export of a
// client does that at a time. It returns the task if the response names it, and a claim otherwise.
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

// find reads the list until it shows a task for the claim, or until the claim or ctx ends. It begins with a pause if
// the list showed the task of the previous create late.
func (p *poller) find(ctx context.Context, c *claim) {
	pause := minFindPause
	for reading := 1; ; reading++ {
		if reading > 1 || p.listIsLate {
			p.pauseFor(ctx, c, pause)
		}
		if ctx.Err() != nil {
			return
		}
		// A permanent failure ends the claim. After a transient one the next reading may succeed.
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

// pauseFor waits for the pause, or until the claim or ctx ends.
func (p *poller) pauseFor(ctx context.Context, c *claim, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.done:
	case <-ctx.Done():
	}
}

// isShown reports whether the list shows a task for the claim, or whether the claim has ended.
func (p *poller) isShown(c *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.candidateOf(c) != nil || p.indexOf(c) < 0
}

// indexOf returns the index of an open claim in the batch, or -1. The caller holds the lock.
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

// candidateOf returns the claim's task on the assumption that no other user created one, or nil. The caller holds the
// lock.
func (p *poller) candidateOf(c *claim) *ExportTask {
	i := p.indexOf(c)
	if i < 0 || i >= len(p.batch.created) {
		return nil
	}
	return &p.batch.created[i].task
}

// unproved returns the error for a claim whose context ended before it was settled.
func (p *poller) unproved(c *claim, why error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if task := p.candidateOf(c); task != nil {
		why = fmt.Errorf("%w (%s is new, and not certain yet)", why, redact.Excerpt(task.TaskID, redact.Short))
	}
	return unfound(why)
}

// batchDepth returns the stamp down to which a reading shows all tasks that are new since the batch began.
func (p *poller) batchDepth() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.batch.depth
}

// settleLost returns the error for a create whose response was lost, after a reading one lag later. If the reading
// shows no task beyond those of the other claims, the claims remain valid. A further task is named in the error and
// never taken.
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
