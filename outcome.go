package cdn

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// createdTaskID returns the id that a 2xx to a create may hold. An empty body is documented. A JSON object
// without an error means accepted too. It returns errServiceError for a clear refusal, and another error if
// the text proves neither.
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

// mayFollowTask reports whether the service may have made a task before it sent code in a 2xx: after an internal
// error, or a gateway's failure to get the response of the CDN.
func mayFollowTask(code string) bool {
	m, _ := meaningOf(code)
	return m.transient || gatewayCode(code) == "APIGW.0201"
}

// errorCode is the form of the vendor's error codes: CDN.0001, APIGW.0301, SVCSTG.CDN.4001.
var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*\.[0-9]+$`)

// nestedCode matches a string of JSON that is a code of the CDN or of a gateway.
var nestedCode = regexp.MustCompile(`"(?:CDN|APIGW|APIG|APIC)\.[0-9]{4,8}"`)

func isErrorCode(code string) bool { return errorCode.MatchString(code) }

// hasErrorText reports whether the member "error" says anything. An empty object and null do not.
func hasErrorText(member json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(member)), "") {
	case "", "null", "{}", `""`, "[]", "false", "0":
		return false
	}
	return true
}

// withOutcome adds ErrOutcomeUnknown to err if the service may have accepted the call's last request. The
// requests before it were not accepted, or there would have been no later one.
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
	return e.error.Error() + "; " + ErrOutcomeUnknown.Error() + ": look in the list before asking again"
}

func (e outcomeUnknown) Unwrap() []error { return []error{ErrOutcomeUnknown, e.error} }
