package cdn

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
)

// The sentinels that errors of this package wrap; test for them with [errors.Is].
var (
	// ErrInvalidParameter means that an argument or option is outside its range. Nothing was sent.
	ErrInvalidParameter = errors.New("invalid parameter")
	// ErrNoCredentials means that no source of credentials has an AK/SK. Nothing was sent.
	ErrNoCredentials = errors.New("no credentials found")
	// ErrUnauthorized means that the service refused the signature. The AK/SK is wrong or locked, the security
	// token has expired, or the clock is more than 15 minutes off (APIGW.0301, CDN.0002, status 401).
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden means that the account may not do this. It lacks a permission or an enterprise project, the
	// domain is another account's, or its CDN is not activated or locked (CDN.0004, CDN.0108, CDN.0114, status 403).
	ErrForbidden = errors.New("forbidden")
	// ErrThrottled means that the account's quota of requests is used up (APIGW.0308, status 429). If the call was not
	// sent because its turn comes too late, [ThrottledError] has the expected wait.
	ErrThrottled = errors.New("throttled")
	// ErrBadRequest means that the service refused the content of the request, such as a parameter, a domain, a
	// time range or an interval (CDN.0001, CDN.0202, status 400).
	ErrBadRequest = errors.New("bad request")
	// ErrQuotaExceeded means that the account has reached a limit, such as the number of tasks (CDN.0005).
	ErrQuotaExceeded = errors.New("quota exceeded")
	// ErrTaskNotFound means that the service knows no export task with this id.
	ErrTaskNotFound = errors.New("export task not found")
	// ErrTaskFailed means that the export task has ended without a file. With [WithExportKey], the task remains the
	// key's until [CdnClient.SettleExport] frees the key.
	ErrTaskFailed = errors.New("export task failed")
	// ErrMalformedResponse means that the response is not one of the service: it is empty, cut short, HTML, larger
	// than 32 MiB, or JSON of another shape.
	ErrMalformedResponse = errors.New("malformed response")
	// ErrAmbiguousExport means that the list does not prove which task is the export's. [AmbiguousExportError] has the
	// candidates. If the error wraps [ErrOutcomeUnknown] too, none of them may be the export's.
	ErrAmbiguousExport = errors.New("ambiguous export")
	// ErrTaskNotFinished means that the file of a task was requested before the task was finished.
	ErrTaskNotFinished = errors.New("export task not finished")
	// ErrOutcomeUnknown means that a create was sent, and its response does not tell whether there is a task now.
	// Check the list before creating another.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// ErrMsg is the error object of the API reference.
type ErrMsg struct {
	// ErrorCode is the service's code, such as CDN.0001 or APIGW.0301. It is empty if the response had none.
	ErrorCode string `json:"error_code"`
	// ErrorMsg is the service's message in one printable line of at most 4 KiB. If the response had no
	// message, it is an excerpt of at most 200 bytes of the body, or empty.
	ErrorMsg string `json:"error_msg"`
}

// APIError is a response that reports an error. [errors.As] finds it in every error that such a response
// causes. [errors.Is] compares it with [ErrBadRequest], [ErrUnauthorized], [ErrForbidden], [ErrThrottled]
// and [ErrQuotaExceeded]: by its code if the code is known, else by its status. [errors.As] also fills the
// official SDK's *sdkerr.ServiceResponseError.
type APIError struct {
	// Operation is the name of the call, such as ListExportTasks. It is Download if the object store sent
	// the response.
	Operation string
	// StatusCode is the HTTP status. Most errors of the CDN itself come with status 200.
	StatusCode int
	// RequestID names the request to the vendor's support. It is empty if the response had none.
	RequestID string
	// HostID names the object store's server to the vendor's support; empty for the service's own responses.
	HostID string
	ErrMsg
	// Details is what the response says beside its message, in one printable line of at most 4 KiB. JSON
	// that is no string is kept as JSON. The text of the error shows at most 200 bytes of it.
	Details string
	// EncodedAuthorizationMessage comes with a denied permission. The vendor's identity service can decode
	// it. The text of the error does not show it.
	EncodedAuthorizationMessage string
	// RetryAfter is the delay that the response asks for, or 0.
	RetryAfter time.Duration
	// Attempts is the number of requests sent for the call, this response's included. For a download it
	// counts the requests to the object store.
	Attempts int
}

// Error returns one line: the status, the code, the message, the request id, and a hint what to check. The name of the
// method comes before it, if a method of [CdnClient] has returned the error.
func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(e.StatusCode))
	if text := http.StatusText(e.StatusCode); text != "" {
		b.WriteString(" " + text)
	}
	if e.ErrorCode != "" {
		b.WriteString(": " + e.ErrorCode)
	}
	if e.ErrorMsg != "" {
		b.WriteString(": " + e.ErrorMsg)
	}
	if e.Details != "" {
		b.WriteString(": " + redact.Excerpt(e.Details, redact.Short))
	}
	if notes := responseNotes(0, e.RequestID, e.RetryAfter, e.Attempts); notes != "" {
		b.WriteString(" (" + notes + ")")
	}
	if hint := e.hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

// Is reports whether target is the sentinel of the response. A response of the object store has none: the
// sentinels are about the account and the service.
func (e *APIError) Is(target error) bool {
	sentinel := e.sentinel()
	return sentinel != nil && target == sentinel
}

// As fills a **sdkerr.ServiceResponseError, so that code for the official SDK's errors works unchanged.
func (e *APIError) As(target any) bool {
	official, ok := target.(**sdkerr.ServiceResponseError)
	if !ok {
		return false
	}
	*official = &sdkerr.ServiceResponseError{
		StatusCode:                  e.StatusCode,
		RequestId:                   e.RequestID,
		ErrorCode:                   e.ErrorCode,
		ErrorMessage:                e.ErrorMsg,
		EncodedAuthorizationMessage: e.EncodedAuthorizationMessage,
	}
	return true
}

// AmbiguousExportError has the tasks that may be the export's. It wraps [ErrAmbiguousExport]. Compare the file of a
// candidate with the request before you use it. If the error that wraps it matches [ErrOutcomeUnknown] too, the
// response to the create was lost, and even a single candidate may be another user's task.
type AmbiguousExportError struct {
	// Candidates are the tasks that were not in the list before, the oldest first.
	Candidates []ExportTask
}

// Error returns the ids of the candidates.
func (e *AmbiguousExportError) Error() string {
	ids := make([]string, 0, len(e.Candidates))
	for _, task := range e.Candidates {
		ids = append(ids, redact.Excerpt(task.TaskID, redact.Short))
	}
	return ErrAmbiguousExport.Error() + ": it may be any of " + strings.Join(ids, ", ")
}

// Unwrap returns ErrAmbiguousExport.
func (e *AmbiguousExportError) Unwrap() error { return ErrAmbiguousExport }

// ThrottledError means that a request was not sent, because its turn under the account's quota comes after the deadline
// of its context or after RetryPolicy.MaxThrottleWait. It wraps [ErrThrottled].
type ThrottledError struct {
	// Wait is the expected wait for the turn, from the moment of the error.
	Wait time.Duration
	// Quota describes the quota, such as "20 requests per 1m0s (from the 429's text)".
	Quota string
}

// Error returns the expected wait and the quota.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%v: no turn in time: the expected wait is %v under %s", ErrThrottled, e.Wait, e.Quota)
}

// Unwrap returns ErrThrottled.
func (e *ThrottledError) Unwrap() error { return ErrThrottled }

// isOwn reports whether this package has found the fault, not the network or the service.
func isOwn(err error) bool {
	return errors.Is(err, ErrInvalidParameter) || errors.Is(err, ErrNoCredentials) || errors.Is(err, ErrMalformedResponse)
}

// inStep adds the name of the call that failed to the error of a method that makes several. It returns nil for nil.
func inStep(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// ofTask adds the id of the task to err. An error that wraps ErrTaskNotFound has the id already.
func ofTask(id string, err error) error {
	if id == "" || errors.Is(err, ErrTaskNotFound) {
		return err
	}
	return fmt.Errorf("%s: %w", redact.Excerpt(id, redact.Short), err)
}

// responseNotes returns notes about the last response for the text of an error: the status, the request id, the delay
// that it asks for, and the number of attempts. Zero values and a single attempt are left out.
func responseNotes(status int, requestID string, retryAfter time.Duration, attempts int) string {
	var notes []string
	if status != 0 {
		notes = append(notes, "status "+strconv.Itoa(status))
	}
	if requestID != "" {
		notes = append(notes, "request id "+requestID)
	}
	if retryAfter > 0 {
		notes = append(notes, "retry after "+retryAfter.String())
	}
	if attempts > 1 {
		notes = append(notes, strconv.Itoa(attempts)+" attempts")
	}
	return strings.Join(notes, ", ")
}

// invalid returns the error for a parameter outside its range. The value must not be a secret.
func invalid(field string, value any, why string) error {
	if text, ok := value.(string); ok {
		value = strconv.Quote(redact.Cut(text, redact.Short))
	}
	return fmt.Errorf("%w: %s %v: %s", ErrInvalidParameter, field, value, why)
}
