package cdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/huaweicloud/cdn/internal/redact"
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
	page, err := decodePage(got.answer.text)
	if err != nil {
		return nil, got.notAPage(err)
	}
	return &ListExportTasksResponse{Total: page.total, Data: page.tasks, ResponseMetadata: got.metadata()}, nil
}

// notAPage is the error for a 2xx that is not a page: an error object, in whatever shape, or nothing
// that the service would send.
func (c *call) notAPage(err error) error {
	if errors.Is(err, errServiceError) || parseErrorBody(c.answer.text).found() {
		return c.apiError()
	}
	return c.malformed(err)
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
			return new(task.unshared()), nil
		}
	}
	notFound := fmt.Errorf("cdn: %s: %w: %s", name, ErrTaskNotFound, redact.Excerpt(taskID, redact.Short))
	if found.RequestID != "" {
		return nil, fmt.Errorf("%w (request id %s)", notFound, found.RequestID)
	}
	return nil, notFound
}

// CreateExportTask asks the service for an export. The call is not idempotent: each request that the
// service accepts makes a task, so it is sent again only where the service cannot have accepted it.
//
// A 2xx without a body, as documented, means that the service has accepted the request. Errors are those
// of [CdnClient.ListExportTasks]. An error that wraps [ErrOutcomeUnknown] leaves it open whether there is
// a task now; any other means that there is none.
func (c *CdnClient) CreateExportTask(ctx context.Context, request *CreateExportTaskRequest) (*CreateExportTaskResponse, error) {
	const name = "CreateExportTask"
	if request == nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, invalid("request", nil, "must not be nil"))
	}
	if err := request.validate(); err != nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, err)
	}
	body, err := request.body()
	if err != nil {
		return nil, fmt.Errorf("cdn: %s: %w", name, err)
	}
	got, err := c.do(ctx, operation{name: name, method: http.MethodPost, body: body})
	if err != nil {
		return nil, got.withOutcome(err)
	}
	id, err := createdTaskID(got.answer.text)
	switch {
	case errors.Is(err, errServiceError):
		return nil, got.apiError()
	case err != nil:
		return nil, got.withOutcome(got.malformed(err))
	}
	return &CreateExportTaskResponse{TaskID: id, ResponseMetadata: got.metadata()}, nil
}

// createdTaskID is the id that the answer to a create may hold. No body is documented: an empty one is
// fine, and an object without an id is too.
func createdTaskID(text string) (string, error) {
	var answer struct {
		TaskID looseText       `json:"task_id"`
		Error  json.RawMessage `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || text == "null" {
		return "", errors.New("neither empty nor a JSON object")
	}
	if len(answer.Error) > 0 && string(answer.Error) != "null" || parseErrorBody(text).found() {
		return "", errServiceError
	}
	var data struct {
		TaskID looseText `json:"task_id"`
	}
	if answer.TaskID == "" && json.Unmarshal(answer.Data, &data) == nil {
		return string(data.TaskID), nil
	}
	return string(answer.TaskID), nil
}

// withOutcome adds ErrOutcomeUnknown to err where the service may have accepted the call's last request.
func (c *call) withOutcome(err error) error {
	if c.mayBeAccepted() {
		return outcomeUnknown{err}
	}
	return err
}

// mayBeAccepted goes by the last attempt: before it came only such as were not accepted.
func (c *call) mayBeAccepted() bool {
	if c.answer == nil {
		return c.sent
	}
	switch c.answer.status {
	case http.StatusNotImplemented:
		return false
	case http.StatusServiceUnavailable:
		return c.answer.header.Get("Retry-After") == ""
	}
	return isSuccess(c.answer.status) || c.answer.status >= http.StatusInternalServerError
}

// outcomeUnknown adds ErrOutcomeUnknown to the error of a call without changing what else it is.
type outcomeUnknown struct{ error }

func (e outcomeUnknown) Error() string {
	return e.error.Error() + "; " + ErrOutcomeUnknown.Error() + ": look in the list before asking again"
}

func (e outcomeUnknown) Unwrap() []error { return []error{ErrOutcomeUnknown, e.error} }
