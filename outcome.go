package cdn

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// createdTaskID returns the task id in the 2xx of a create, or "" if there is none. The service documents an empty
// body; a JSON object without an error means accepted too. The error is errServiceError for a clear refusal. Another
// error means that the text proves neither.
func createdTaskID(text string) (string, error) {
	var response struct {
		TaskID looseText       `json:"task_id"`
		Error  json.RawMessage `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	if err := json.Unmarshal([]byte(text), &response); err != nil || text == "null" {
		return "", errors.New("neither empty nor a JSON object")
	}
	id := response.TaskID
	var data struct {
		TaskID looseText `json:"task_id"`
	}
	if id == "" && json.Unmarshal(response.Data, &data) == nil {
		id = data.TaskID
	}
	code := parseErrorBody(text).ErrorCode
	switch {
	case isErrorCode(code) && id == "" && !mayFollowTask(code):
		return "", errServiceError
	case code != "" && !isSuccessCode(code):
		return "", errors.New("a JSON object whose code is no clear refusal")
	case code == "" && hasErrorText(response.Error):
		return "", errors.New("a JSON object with an error and no code")
	case code == "" && nestedCode.MatchString(text):
		return "", errors.New("a JSON object with an error code in an unexpected place")
	}
	return string(id), nil
}

// mayFollowTask reports whether the CDN may have made a task although a 2xx has this code. That is so for an internal
// error, and for a gateway that did not get the CDN's response.
func mayFollowTask(code string) bool {
	m, _ := meaningOf(code)
	return m.transient || gatewayCode(code) == "APIGW.0201"
}

// errorCode is the form of the vendor's error codes: CDN.0001, APIGW.0301, SVCSTG.CDN.4001.
var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*\.[0-9]+$`)

// nestedCode matches a string of JSON that is a code of the CDN or of a gateway.
var nestedCode = regexp.MustCompile(`"(?:CDN|APIGW|APIG|APIC)\.[0-9]{4,8}"`)

func isErrorCode(code string) bool { return errorCode.MatchString(code) }

// hasErrorText reports whether the member "error" has content. An empty object and null have none.
func hasErrorText(member json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(member)), "") {
	case "", "null", "{}", `""`, "[]", "false", "0":
		return false
	}
	return true
}

// withOutcome adds ErrOutcomeUnknown to err if the service may have accepted the call's last request. No earlier
// request was accepted, since only a refused or unsent one is sent again.
func (c *call) withOutcome(err error) error {
	if c.mayBeAccepted(err) {
		return outcomeUnknown{err}
	}
	return err
}

// mayBeAccepted reports whether the service may have accepted the last request. A refusal with a 4xx, or with
// a code in a 2xx, proves that it has not. A 408, an internal error, a 3xx and a 5xx prove nothing.
func (c *call) mayBeAccepted(err error) bool {
	var response *APIError
	switch {
	case errors.Is(err, ErrThrottled):
		return false
	case errors.As(err, &response) && (isSuccess(response.StatusCode) || response.StatusCode/100 == 4):
		return response.StatusCode == http.StatusRequestTimeout || response.transient()
	}
	return c.sent
}

// outcomeUnknown adds ErrOutcomeUnknown to the error of a call without changing what else it is.
type outcomeUnknown struct{ error }

func (e outcomeUnknown) Error() string {
	return e.error.Error() + "; " + ErrOutcomeUnknown.Error() + ": check the list before creating another task"
}

func (e outcomeUnknown) Unwrap() []error { return []error{ErrOutcomeUnknown, e.error} }
