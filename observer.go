package cdn

import (
	"errors"
	"time"
)

// Observer is told what a client does, for metrics; see [WithObserver]. Functions that are nil are not called.
// The others are called by the goroutine that does the work, from several at once: they must be fast, safe for
// concurrent use, and must not call the client.
type Observer struct {
	// Request is called after each request, to the service and, with the operation Download, to the store.
	Request func(RequestEvent)
	// ExportCreated is called when an export's task is known, before the wait for it begins.
	ExportCreated func(ExportEvent)
	// ExportDone is called when an Export or ExportFile returns, whatever the outcome.
	ExportDone func(ExportEvent)
}

// RequestEvent describes one request that was sent.
type RequestEvent struct {
	// Operation is the name of the call, such as ListExportTasks.
	Operation string
	// Attempt counts the requests of the call, from 1.
	Attempt int
	// StatusCode is the HTTP status; 0 if no response came.
	StatusCode int
	// ErrorCode is the service's code, such as CDN.0001; empty if it sent none.
	ErrorCode string
	// Throttled reports whether the request was refused for the account's quota.
	Throttled bool
	// Duration is the time from sending to the end of the response.
	Duration time.Duration
	// QuotaWait is how long the request waited for its turn under the quota before it was sent.
	QuotaWait time.Duration
	// Err is nil after a success.
	Err error
}

// ExportEvent describes one export.
type ExportEvent struct {
	// Key is the key of [WithExportKey], or empty.
	Key string
	// TaskID is the export's task; empty if it is not known.
	TaskID string
	// Duration is the time since Export was called.
	Duration time.Duration
	// Err is nil in ExportCreated and after a success.
	Err error
}

// WithObserver has the client report to observer. A later WithObserver replaces it.
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
