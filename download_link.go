package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/transfer"
)

// linkSource fetches the links to the file of a task.
type linkSource struct {
	client *CdnClient
	taskID string
	// ended is when the task ended. It is zero if the service was not asked.
	ended time.Time
}

// link fetches a link from the service.
func (s *linkSource) link(ctx context.Context) (*url.URL, error) {
	const name = "GetExportTask"
	task, err := s.client.getTask(ctx, operation{name: name}, s.taskID)
	if err != nil {
		return nil, inStep(name, err)
	}
	s.ended = task.UpdateTime
	return linkOf(task)
}

// linkOf returns the link to the file of a task, or an error that says why there is none.
func linkOf(task *ExportTask) (*url.URL, error) {
	switch {
	case task.Status == ExportTaskFail:
		return nil, ErrTaskFailed
	case task.Status != ExportTaskSuccess:
		return nil, fmt.Errorf("%w: it has the status %q", ErrTaskNotFinished, redact.Excerpt(string(task.Status), redact.Short))
	case task.DownloadLink == "":
		return nil, fmt.Errorf("%w: the task is finished and has no download link", ErrMalformedResponse)
	}
	link, err := url.Parse(task.DownloadLink)
	if err != nil {
		return nil, fmt.Errorf("%w: the download link is not a URL", ErrMalformedResponse)
	}
	return link, nil
}

// withLinkOf starts a download with the link of a task that the service has just returned. A fault of the link is
// not an ErrInvalidParameter.
func withLinkOf(task *ExportTask) DownloadOption {
	return func(o *downloadOptions) (err error) {
		o.link, err = linkOf(task)
		o.served = true
		return err
	}
}

// fileLifetime is how long an export can be downloaded, according to the console.
const fileLifetime = 7 * 24 * time.Hour

// withAge adds the age of the file to an error of the store if the age is the likely cause.
func (s *linkSource) withAge(err error) error {
	var response *APIError
	if !errors.As(err, &response) || response.Operation != storeOperation || s.ended.IsZero() {
		return err
	}
	age := time.Since(s.ended)
	if age <= fileLifetime || response.StatusCode != http.StatusForbidden && response.StatusCode != http.StatusNotFound {
		return err
	}
	return fmt.Errorf("%w; the task ended %d days ago, and an export can be downloaded for 7 days", err, age/(24*time.Hour))
}

// ofTransfer turns an error of [transfer.Copy] into one of this package:
//
//	transfer                                  this package
//	*StoreError                               *APIError with the operation Download
//	ErrMalformed                              ErrMalformedResponse
//	errors of the source, the sink            unchanged
//	the end of the context, its cause         unchanged
//	errors of the connection, timeouts        unchanged, since their texts show no secrets
//
// The result still wraps [transfer.Error], which says why there was no other attempt.
func ofTransfer(err error) error {
	var failure *transfer.Error
	if !errors.As(err, &failure) {
		return err
	}
	ours := *failure
	var response *transfer.StoreError
	switch {
	case errors.As(failure.Cause, &response):
		ours.Cause = inStep("object store", ofStore(response))
	case errors.Is(failure.Cause, transfer.ErrMalformed):
		ours.Cause = malformedFile{failure.Cause}
	}
	return &ours
}

// malformedFile gives an error that wraps [transfer.ErrMalformed] the identity of [ErrMalformedResponse].
type malformedFile struct{ error }

func (e malformedFile) Is(target error) bool { return target == ErrMalformedResponse }
func (e malformedFile) Unwrap() error        { return e.error }

// ofStore returns the error for a response of the object store.
func ofStore(response *transfer.StoreError) *APIError {
	return &APIError{
		Operation:  storeOperation,
		StatusCode: response.StatusCode,
		RequestID:  response.RequestID,
		HostID:     response.HostID,
		ErrMsg:     ErrMsg{ErrorCode: response.Code, ErrorMsg: response.Message},
		RetryAfter: response.RetryAfter,
		Attempts:   response.Attempts,
	}
}
