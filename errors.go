package cdn

import (
	"encoding/json"
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
	// ErrInvalidParameter: an argument or option is outside its range. Nothing was sent.
	ErrInvalidParameter = errors.New("invalid parameter")
	// ErrNoCredentials: none of the places that may hold an AK/SK has one. Nothing was sent.
	ErrNoCredentials = errors.New("no credentials found")
	// ErrUnauthorized: the service refused the signature: wrong AK/SK, an expired security token,
	// or a clock more than 15 minutes off (status 401, code APIGW.0301).
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: the account may not do this (status 403).
	ErrForbidden = errors.New("forbidden")
	// ErrThrottled: too many calls for this account (status 429, code APIGW.0308).
	ErrThrottled = errors.New("throttled")
	// ErrTaskNotFound: the service knows no export task with the id asked for.
	ErrTaskNotFound = errors.New("export task not found")
	// ErrTaskFailed: the export task has ended without a file.
	ErrTaskFailed = errors.New("export task failed")
	// ErrMalformedResponse: the answer is not what the service would send: empty, cut short,
	// HTML, too large, or JSON of another shape.
	ErrMalformedResponse = errors.New("malformed response")
	// ErrAmbiguousExport: a task was created, and it cannot be told from another that was created at
	// the same time. [AmbiguousExportError] has the candidates.
	ErrAmbiguousExport = errors.New("ambiguous export")
	// ErrTaskNotFinished: the file was asked for of a task that is not finished yet.
	ErrTaskNotFinished = errors.New("export task not finished")
	// ErrOutcomeUnknown: a task was to be created and the service's answer was lost, so that there may
	// be one now or not. Look in the list before asking again.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// ErrMsg is the error object of the API reference: what the service says went wrong.
type ErrMsg struct {
	// ErrorCode is the service's code, such as CDN.0001 or APIGW.0301; empty where it sent none.
	ErrorCode string `json:"error_code"`
	// ErrorMsg is the service's message in one printable line of at most 4 KiB. Where the answer
	// had no message, it is an excerpt of at most 200 bytes of the body, or empty.
	ErrorMsg string `json:"error_msg"`
}

// APIError is the answer of a service that did not do what it was asked. [errors.As] finds it in
// every error that stands for such an answer; [errors.Is] compares it with [ErrUnauthorized],
// [ErrForbidden] and [ErrThrottled], by code where the code is known and else by status. It can be
// read as the official SDK's *sdkerr.ServiceResponseError too.
type APIError struct {
	// Operation is the name of the call, such as ListExportTasks. It is Download where the answer is the
	// object store's and not the service's.
	Operation string
	// StatusCode is the HTTP status. It is a 2xx where the service put an error object into one.
	StatusCode int
	// RequestID names the request to the vendor's support; empty where the answer had none.
	RequestID string
	ErrMsg
	// EncodedAuthorizationMessage comes with a denied permission and can be decoded with the
	// vendor's identity service; it may be long and is left out of the text of the error.
	EncodedAuthorizationMessage string
	// RetryAfter is the pause that the service asked for; 0 where it asked for none.
	RetryAfter time.Duration
	// Attempts is how many requests were sent for the call, this answer's included; of a download, how
	// many to the object store.
	Attempts int
}

// Error says in one line how the service responded and how to name that to the vendor's support. The method that
// returns the error puts its own name before it.
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
	if notes := responseNotes(0, e.RequestID, e.RetryAfter, e.Attempts); notes != "" {
		b.WriteString(" (" + notes + ")")
	}
	return b.String()
}

// storeOperation is the operation of an answer that is the object store's.
const storeOperation = "Download"

// Is reports whether the answer is of the kind that target stands for. The sentinels are about the
// account and the service, so an answer of the object store, with the operation Download, is of none.
func (e *APIError) Is(target error) bool {
	if e.Operation == storeOperation {
		return false
	}
	switch e.ErrorCode {
	case "APIGW.0301":
		return target == ErrUnauthorized
	case "APIGW.0308":
		return target == ErrThrottled
	}
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return target == ErrUnauthorized
	case http.StatusForbidden:
		return target == ErrForbidden
	case http.StatusTooManyRequests:
		return target == ErrThrottled
	}
	return false
}

// As lets code that was written for the official SDK keep its handling: it fills a
// *sdkerr.ServiceResponseError.
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

// AmbiguousExportError names the tasks of which one may be the one that was created. It wraps
// [ErrAmbiguousExport].
type AmbiguousExportError struct {
	// Candidates are the tasks that were not there before, the first one created first.
	Candidates []ExportTask
}

// Error names the candidates by their ids.
func (e *AmbiguousExportError) Error() string {
	ids := make([]string, 0, len(e.Candidates))
	for _, task := range e.Candidates {
		ids = append(ids, redact.Excerpt(task.TaskID, redact.Short))
	}
	return ErrAmbiguousExport.Error() + ": it may be any of " + strings.Join(ids, ", ")
}

// Unwrap is ErrAmbiguousExport.
func (e *AmbiguousExportError) Unwrap() error { return ErrAmbiguousExport }

// isOwn reports whether this package found the fault, and not the network.
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

// ofTask names the task that an error is about, where there is one to name. One that was not found is
// named already.
func ofTask(id string, err error) error {
	if id == "" || errors.Is(err, ErrTaskNotFound) {
		return err
	}
	return fmt.Errorf("%s: %w", redact.Excerpt(id, redact.Short), err)
}

// responseNotes is what the text of an error adds about the last answer: its status, 0 where it is
// said already or there was none, the request id, the pause that it asked for, and the attempts where
// they were several.
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

// invalid is the error for a parameter outside its range. The value must not be a secret.
func invalid(field string, value any, why string) error {
	if text, ok := value.(string); ok {
		value = strconv.Quote(redact.Cut(text, redact.Short))
	}
	return fmt.Errorf("%w: %s %v: %s", ErrInvalidParameter, field, value, why)
}

const (
	maxMessage   = 4 << 10 // bytes kept of a code or a message
	maxRequestID = 128     // bytes kept of a request id
)

// errorBody is what can be learned from the body of an answer that is an error.
type errorBody struct {
	ErrMsg
	requestID                   string
	encodedAuthorizationMessage string
}

// found reports whether the body said anything that only an error says.
func (b errorBody) found() bool { return b.ErrorCode != "" || b.ErrorMsg != "" }

// parseErrorBody reads every shape in which the CDN, the gateway before it and the identity service
// before that report an error. A body of another shape is an errorBody without code and message.
func parseErrorBody(text string) errorBody {
	var outer struct {
		errorFields
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &outer); err != nil {
		return errorBody{}
	}
	body := outer.errorBody()
	var inner errorFields
	var message looseText
	switch {
	case body.found() || len(outer.Error) == 0:
		return body
	case json.Unmarshal(outer.Error, &inner) == nil:
		nested := inner.errorBody()
		nested.requestID = firstOf(nested.requestID, body.requestID)
		nested.encodedAuthorizationMessage = firstOf(nested.encodedAuthorizationMessage, body.encodedAuthorizationMessage)
		return nested
	case json.Unmarshal(outer.Error, &message) == nil:
		body.ErrorMsg = redact.Excerpt(string(message), maxMessage)
	}
	return body
}

// errorFields are the names under which the services put code and message.
type errorFields struct {
	SnakeCode   looseText `json:"error_code"`
	SnakeMsg    looseText `json:"error_msg"`
	CamelCode   looseText `json:"errorCode"`
	CamelMsg    looseText `json:"errorMsg"`
	Code        looseText `json:"code"`
	Message     looseText `json:"message"`
	RequestID   looseText `json:"request_id"`
	EncodedAuth looseText `json:"encoded_authorization_message"`
}

func (f errorFields) errorBody() errorBody {
	return errorBody{
		ErrMsg: ErrMsg{
			ErrorCode: redact.Excerpt(firstOf(f.SnakeCode, f.CamelCode, f.Code), maxMessage),
			ErrorMsg:  redact.Excerpt(firstOf(f.SnakeMsg, f.CamelMsg, f.Message), maxMessage),
		},
		requestID:                   redact.Excerpt(string(f.RequestID), maxRequestID),
		encodedAuthorizationMessage: string(f.EncodedAuth),
	}
}

// looseText is a string or a number; anything else counts as absent, since an error's text is worth
// having even where a neighbour of it is odd.
type looseText string

func (t *looseText) UnmarshalJSON(data []byte) error {
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(data, &text) == nil:
		*t = looseText(text)
	case json.Unmarshal(data, &number) == nil:
		*t = looseText(number)
	}
	return nil
}

func firstOf[T ~string](texts ...T) string {
	for _, text := range texts {
		if text != "" {
			return string(text)
		}
	}
	return ""
}
