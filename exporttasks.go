package cdn

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// ListExportTasks returns one page of the account's export tasks, the most recently changed first. A nil request
// returns the first page of all tasks. The call is retried as [RetryPolicy] describes.
//
// An error wraps [ErrInvalidParameter], [ErrNoCredentials] or [ErrMalformedResponse], or an [*APIError] if the service
// reports one. Any other error means that the service could not be reached, or that ctx has ended.
func (c *CdnClient) ListExportTasks(ctx context.Context, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
	const name = "ListExportTasks"
	if request == nil {
		request = &ListExportTasksRequest{}
	}
	page, err := c.list(ctx, operation{name: name}, request)
	if err != nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, err)
	}
	return page, nil
}

// list reads one page. The name and the hooks of op are kept; what is sent comes from request.
func (c *CdnClient) list(ctx context.Context, op operation, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
	if err := request.validate(); err != nil {
		return nil, err
	}
	var decoded page
	op.method, op.query = http.MethodGet, request.query()
	op.decode = func(text string) (err error) {
		decoded, err = decodePage(text)
		return err
	}
	got, err := c.do(ctx, op)
	if err != nil {
		return nil, err
	}
	return &ListExportTasksResponse{Total: decoded.total, Data: decoded.tasks, ResponseMetadata: got.metadata()}, nil
}

// GetExportTask returns the task with the id taskID. The error wraps [ErrTaskNotFound] if the service does not know
// the id, and [ErrInvalidParameter] if it is empty. It wraps [ErrMalformedResponse] if the response has other tasks
// only. Other errors are those of [CdnClient.ListExportTasks].
func (c *CdnClient) GetExportTask(ctx context.Context, taskID string) (*ExportTask, error) {
	const name = "GetExportTask"
	task, err := c.getTask(ctx, operation{name: name}, taskID)
	if err != nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, err)
	}
	return task, nil
}

// getTask looks a task up by its id. The error wraps ErrTaskNotFound if there is none. It wraps ErrMalformedResponse
// if the service shows other tasks instead, so it has not looked that one up.
func (c *CdnClient) getTask(ctx context.Context, op operation, taskID string) (*ExportTask, error) {
	if taskID == "" {
		return nil, invalid("taskID", taskID, "must not be empty")
	}
	found, err := c.list(ctx, op, &ListExportTasksRequest{TaskID: taskID})
	if err != nil {
		return nil, err
	}
	for _, task := range found.Data {
		if task.TaskID == taskID {
			return new(task.unshared()), nil
		}
	}
	if len(found.Data) > 0 {
		return nil, fmt.Errorf("%w: the tasks shown do not include %s", ErrMalformedResponse, redact.Excerpt(taskID, redact.Short))
	}
	notFound := fmt.Errorf("%w: %s", ErrTaskNotFound, redact.Excerpt(taskID, redact.Short))
	if found.RequestID != "" {
		return nil, fmt.Errorf("%w (request id %s)", notFound, found.RequestID)
	}
	return nil, notFound
}

// CreateExportTask creates an export task. The call is not idempotent: each request that the service accepts makes a
// task. So a request is sent again only if the service cannot have accepted the one before.
//
// The service's response names no task; [CdnClient.Export] also finds it. A 2xx without a body, as documented, means
// accepted. So does a JSON object without an error code.
//
// Errors are those of [CdnClient.ListExportTasks]. If an error wraps [ErrOutcomeUnknown], there may be a task now. Any
// other error means that there is none.
func (c *CdnClient) CreateExportTask(ctx context.Context, request *CreateExportTaskRequest) (*CreateExportTaskResponse, error) {
	response, err := c.create(ctx, request, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("cdn: CreateExportTask: %w", err)
	}
	return response, nil
}

// create creates a task. Its request is not signed after signBy, unless that is zero.
func (c *CdnClient) create(ctx context.Context, request *CreateExportTaskRequest, signBy time.Time) (*CreateExportTaskResponse, error) {
	if request == nil {
		return nil, invalid("request", nil, "must not be nil")
	}
	if err := request.validate(); err != nil {
		return nil, err
	}
	body, err := request.body()
	if err != nil {
		return nil, err
	}
	var taskID string
	decode := func(text string) (err error) {
		taskID, err = createdTaskID(text)
		return err
	}
	got, err := c.do(ctx, operation{name: "CreateExportTask", method: http.MethodPost, body: body, decode: decode, signBy: signBy})
	if err != nil {
		return nil, got.withOutcome(err)
	}
	return &CreateExportTaskResponse{TaskID: taskID, ResponseMetadata: got.metadata()}, nil
}
