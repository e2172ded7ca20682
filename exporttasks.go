package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ListExportTasks lists one page of the account's export tasks, the last changed first. A nil
// request lists the first page of all tasks.
//
// Errors wrap [ErrInvalidParameter], [ErrNoCredentials] or [ErrMalformedResponse], or are an
// [*APIError]; otherwise the service could not be reached, or ctx ended.
func (c *CdnClient) ListExportTasks(ctx context.Context, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
	if request == nil {
		request = &ListExportTasksRequest{}
	}
	return c.list(ctx, "ListExportTasks", request)
}

// list reads one page for the operation with this name.
func (c *CdnClient) list(ctx context.Context, name string, request *ListExportTasksRequest) (*ListExportTasksResponse, error) {
	if err := request.validate(); err != nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, err)
	}
	got, err := c.do(ctx, operation{name: name, method: http.MethodGet, query: request.query()})
	if err != nil {
		return nil, err
	}
	page, err := decodePage(got.text)
	if err != nil {
		return nil, got.notAPage(err)
	}
	return &ListExportTasksResponse{Total: page.total, Data: page.tasks, ResponseMetadata: got.ResponseMetadata}, nil
}

// notAPage is the error for a 2xx that is not a page: an error object, in whatever shape, or nothing
// that the service would send.
func (a *answer) notAPage(err error) error {
	if errors.Is(err, errServiceError) || parseErrorBody(a.text).found() {
		return a.apiError()
	}
	return a.malformed(err)
}

// GetExportTask gets the task with the id taskID. An id that the service does not know is
// [ErrTaskNotFound], an empty one [ErrInvalidParameter]; other errors are those of
// [CdnClient.ListExportTasks].
func (c *CdnClient) GetExportTask(ctx context.Context, taskID string) (*ExportTask, error) {
	const name = "GetExportTask"
	if taskID == "" {
		return nil, fmt.Errorf("cdn: %s: %w", name, invalid("taskID", taskID, "must not be empty"))
	}
	found, err := c.list(ctx, name, &ListExportTasksRequest{TaskID: taskID})
	if err != nil {
		return nil, err
	}
	for _, task := range found.Data {
		if task.TaskID == taskID {
			return &task, nil
		}
	}
	notFound := fmt.Errorf("cdn: %s: %w: %s", name, ErrTaskNotFound, excerpt(taskID, maxExcerpt))
	if found.RequestID != "" {
		return nil, fmt.Errorf("%w (request id %s)", notFound, found.RequestID)
	}
	return nil, notFound
}
