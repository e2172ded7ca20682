package cdn

import (
	"errors"
	"time"

	"example.com/huaweicloud/cdn/internal/transfer"
)

// Observer has functions that a client calls, for metrics; see [WithObserver]. A nil function is not called. The
// goroutine that does the work calls them, several at the same time. They must be fast and safe for concurrent use, and
// must not call the client.
type Observer struct {
	// Request is called after each request to the service, and after each request of a download to the object store.
	Request func(RequestEvent)
	// ExportCreated is called when the task of an export is known, before the wait for it begins. With a key, an
	// earlier call may have created the task.
	ExportCreated func(ExportEvent)
	// ExportDone is called when an Export or ExportFile returns, after a failure too.
	ExportDone func(ExportEvent)
}

// RequestEvent describes one request that was sent.
type RequestEvent struct {
	// Operation is the name of the call, such as ListExportTasks. It is Download for a request to the object store.
	Operation string
	// Attempt counts the requests of the call, from 1. For a download, it counts the requests to the object store.
	Attempt int
	// StatusCode is the HTTP status; 0 if no response came. A redirect of the object store is followed within one
	// request, and the status is that of the last response.
	StatusCode int
	// ErrorCode is the code of the service, such as CDN.0001, or of the object store, such as AccessDenied. It is
	// empty if the response has none.
	ErrorCode string
	// Throttled reports whether the request was refused for the account's quota.
	Throttled bool
	// Bytes is how many bytes of a file were written; 0 for requests to the service.
	Bytes int64
	// Duration is the time from sending to the end of the response. For a download, that includes the time of the
	// writes to the file.
	Duration time.Duration
	// QuotaWait is how long the request waited for its turn under the quota before it was sent.
	QuotaWait time.Duration
	// Err is the failure of the request; nil after a success.
	Err error
}

// ExportEvent describes one export.
type ExportEvent struct {
	// Key is the key of [WithExportKey], or empty.
	Key string
	// TaskID is the id of the export's task; empty if it is not known.
	TaskID string
	// Duration is the time since Export or ExportFile was called.
	Duration time.Duration
	// Err is the error that the method returns; nil in ExportCreated and after a success.
	Err error
}

// WithObserver makes the client call the functions of observer. A later WithObserver replaces it.
func WithObserver(observer Observer) Option {
	return func(o *options) error {
		o.observer = observer
		return nil
	}
}

// request reports a request that took duration and ended with err.
func (o *Observer) request(c *call, duration time.Duration, err error) {
	if o.Request == nil {
		return
	}
	event := RequestEvent{
		Operation: c.name, Attempt: c.requests, Duration: duration, QuotaWait: c.waited,
		Throttled: errors.Is(err, ErrThrottled), Err: err,
	}
	if c.response != nil {
		event.StatusCode = c.response.status
	}
	var response *APIError
	if errors.As(err, &response) {
		event.ErrorCode = response.ErrorCode
	}
	o.Request(event)
}

// download reports a request to the object store.
func (o *Observer) download(r transfer.Request) {
	if o.Request == nil {
		return
	}
	event := RequestEvent{Operation: storeOperation, Attempt: r.Attempt, StatusCode: r.StatusCode, Bytes: r.Bytes, Duration: r.Duration}
	if r.Err != nil {
		event.Err = ofTransfer(&transfer.Error{Cause: r.Err})
	}
	var response *APIError
	if errors.As(event.Err, &response) {
		event.ErrorCode = response.ErrorCode
	}
	o.Request(event)
}

// exportReport reports one export to an observer.
type exportReport struct {
	observer *Observer
	start    time.Time
	event    ExportEvent
}

// export returns the report of an export that begins now.
func (o *Observer) export() *exportReport {
	return &exportReport{observer: o, start: time.Now()}
}

// created reports that the export's task is known.
func (r *exportReport) created(taskID string) {
	r.event.TaskID = taskID
	if r.observer.ExportCreated != nil {
		event := r.event
		event.Duration = time.Since(r.start)
		r.observer.ExportCreated(event)
	}
}

// done reports that the export returns task and err.
func (r *exportReport) done(task *ExportTask, err error) {
	if r.observer.ExportDone == nil {
		return
	}
	event := r.event
	if task != nil {
		event.TaskID = task.TaskID
	}
	event.Duration, event.Err = time.Since(r.start), err
	r.observer.ExportDone(event)
}
