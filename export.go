package cdn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// Export creates an export task, finds it, and waits until it is finished, as
// [CdnClient.WaitForExportTask] does.
//
// The service does not name the task that it creates. It is found as the one task that was not in the
// list before; for that, calls on one client take turns at creating and finding. Where somebody else
// creates a task in the same moment, the error is an [*AmbiguousExportError] with the candidates.
// Where the answer to the creation is lost, the list tells whether there is a task: it is never
// created twice.
//
// A task that is known is returned with the error too, so that it can be waited for again, and its id is
// logged at info level once it is. While it is not, an error that wraps [ErrOutcomeUnknown] or
// [ErrAmbiguousExport] says that there may be one, and any other that there is none.
func (c *CdnClient) Export(ctx context.Context, request *CreateExportTaskRequest) (*ExportTask, error) {
	task, err := c.export(ctx, request)
	if err != nil {
		return task, fmt.Errorf("cdn: Export: %w", err)
	}
	return task, nil
}

func (c *CdnClient) export(ctx context.Context, request *CreateExportTaskRequest) (*ExportTask, error) {
	switch {
	case ctx == nil:
		return nil, invalid("ctx", nil, "must not be nil")
	case request == nil:
		return nil, invalid("request", nil, "must not be nil")
	}
	if err := request.validate(); err != nil {
		return nil, err
	}
	created, err := c.createAndFind(ctx, request)
	if err != nil {
		return nil, err
	}
	// The wait may be long, and a program that dies in it would not know the task.
	c.poller.logger.LogAttrs(ctx, slog.LevelInfo, "cdn: export task created", slog.String("task_id", created.TaskID))
	if created.Status == "" {
		created = c.poller.awaitListed(ctx, created)
	}
	if created.Status.Done() {
		return finished(created)
	}
	task, err := c.waitForExportTask(ctx, created.TaskID)
	if task == nil {
		task = created
	}
	return task, err
}

// createAndFind creates a task in this client's turn, and finds it in the list.
func (c *CdnClient) createAndFind(ctx context.Context, request *CreateExportTaskRequest) (*ExportTask, error) {
	select {
	case c.exportTurn <- struct{}{}:
		defer func() { <-c.exportTurn }()
	case <-ctx.Done():
		return nil, endOf(ctx)
	}
	before, err := c.poller.firstView(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.create(ctx, request)
	err = inStep("CreateExportTask", err)
	switch {
	case err == nil && answer.TaskID != "":
		return &ExportTask{TaskID: answer.TaskID}, nil
	case err != nil && !errors.Is(err, ErrOutcomeUnknown):
		return nil, err
	}
	return c.poller.find(ctx, before, err)
}

const (
	// findLooks is how often the list is read for a task that the service said it created.
	findLooks = 10
	// lostLooks is how often it is read for a task that may not be there at all.
	lostLooks = 4
)

// awaitListed gets a task whose id is known already, which the list may have only after a while. Where
// it has it not in time, the wait for the task will say what is wrong.
func (p *poller) awaitListed(ctx context.Context, created *ExportTask) *ExportTask {
	pauses := p.newPauses()
	for look := range findLooks {
		if look > 0 && !sleep(ctx, pauses.NextBackOff()) {
			break
		}
		task, err := p.get(ctx, created.TaskID)
		if err == nil {
			return task
		}
		if !errors.Is(err, ErrTaskNotFound) && !mayPassForPoll(err) {
			break
		}
	}
	return created
}

// find looks for the one task that was created since before. lost is the error of a creation whose
// answer was lost, or nil. Then the creation may still be under way, and the first task that shows be
// somebody else's, so that it must stay the only one for two looks.
func (p *poller) find(ctx context.Context, before *view, lost error) (*ExportTask, error) {
	looks, alone := findLooks, 1
	if lost != nil {
		looks, alone = lostLooks, 2
	}
	pauses := p.newPauses()
	failure := lost
	for look := range looks {
		if look > 0 && !sleep(ctx, pauses.NextBackOff()) {
			return nil, unfound(lost, endOf(ctx))
		}
		candidates, err := p.created(ctx, before)
		switch {
		case err != nil && !mayPassForPoll(err):
			return nil, unfound(lost, err)
		case err != nil:
			failure = err
		case len(candidates) > 1, len(candidates) == 1 && candidates[0].CreateTime.IsZero():
			return nil, ambiguous(lost, candidates)
		case len(candidates) == 1:
			if alone--; alone == 0 {
				return &candidates[0], nil
			}
			failure = fmt.Errorf("%s is new, and may be it or somebody else's", redact.Excerpt(candidates[0].TaskID, redact.Short))
		}
	}
	if failure == nil {
		failure = errors.New("the service took the request, but there is no new task in the list")
	}
	return nil, unfound(lost, failure)
}

// ambiguous is the error for a task that is one of several, or none of them where the answer was lost.
func ambiguous(lost error, candidates []ExportTask) error {
	err := &AmbiguousExportError{candidates}
	if lost == nil {
		return err
	}
	return fmt.Errorf("%w; %w", lost, err)
}

// unfound is the error for a task that may be there and was not found.
func unfound(lost, why error) error {
	switch {
	case lost == nil:
		return outcomeUnknown{fmt.Errorf("find the new task: %w", why)}
	case errors.Is(why, lost):
		return fmt.Errorf("%w (there is no new task in the list yet)", lost)
	}
	return fmt.Errorf("%w; find the new task: %w", lost, why)
}

// created are the tasks that were created since the view.
func (p *poller) created(ctx context.Context, since *view) ([]ExportTask, error) {
	found, _, err := p.readSince(ctx, since, since.marker)
	if err != nil {
		return nil, err
	}
	var created []ExportTask
	for _, task := range since.changes(found) {
		if since.isCreation(task) {
			created = append(created, task)
		}
	}
	return created, nil
}

// isCreation reports whether the task was not there at the time of the view. A task that was had
// changed by then at the latest at the time of the head; one that was created in that very millisecond
// is among the recent ones.
func (v *view) isCreation(task ExportTask) bool {
	if task.CreateTime.IsZero() {
		return true
	}
	if created := task.CreateTime.UnixMilli(); created != v.marker {
		return created > v.marker
	}
	_, known := v.recent[task.TaskID]
	return !known
}

// sleep pauses, and reports whether it was not cut short by the end of ctx.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
