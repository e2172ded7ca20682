package cdn

import (
	"bytes"
	"encoding/json"

	"example.com/huaweicloud/cdn/internal/redact"
)

const (
	maxMessage   = 4 << 10 // bytes kept of a code, a message or details
	maxRequestID = 128     // bytes kept of a request id
)

// errorBody has the parts of a response's body that describe an error.
type errorBody struct {
	ErrMsg
	details                     string
	requestID                   string
	encodedAuthorizationMessage string
}

// found reports whether the body has a code or a message.
func (b errorBody) found() bool { return b.ErrorCode != "" || b.ErrorMsg != "" }

// refuses reports whether the body has a code that means an error in a 2xx.
func (b errorBody) refuses() bool { return b.ErrorCode != "" && !isSuccessCode(b.ErrorCode) }

// parseErrorBody reads the error shapes of the CDN, of the API gateway and of the identity service. It returns an
// errorBody without code and message for other texts. Codes, messages and details are redacted excerpts.
func parseErrorBody(text string) errorBody {
	var outer struct {
		errorFields
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &outer); err != nil {
		return errorBody{}
	}
	body, nested := outer.errorBody(), nestedErrorBody(outer.Error)
	if body.refuses() || !nested.found() {
		return body.or(nested)
	}
	return nested.or(body)
}

// nestedErrorBody reads the member "error": an object, or a text.
func nestedErrorBody(member json.RawMessage) errorBody {
	var fields errorFields
	var message looseText
	switch {
	case len(member) == 0:
	case json.Unmarshal(member, &fields) == nil:
		return fields.errorBody()
	case json.Unmarshal(member, &message) == nil:
		return errorBody{ErrMsg: ErrMsg{ErrorMsg: shown(string(message), maxMessage)}}
	}
	return errorBody{}
}

// or returns b with its empty fields taken from other. A message is not taken from beside another code.
func (b errorBody) or(other errorBody) errorBody {
	if other.ErrorCode == "" {
		b.ErrorMsg = firstOf(b.ErrorMsg, other.ErrorMsg)
	}
	b.details = firstOf(b.details, other.details)
	b.requestID = firstOf(b.requestID, other.requestID)
	b.encodedAuthorizationMessage = firstOf(b.encodedAuthorizationMessage, other.encodedAuthorizationMessage)
	return b
}

// errorFields are the names that the services use.
type errorFields struct {
	SnakeCode   looseText `json:"error_code"`
	SnakeMsg    anyText   `json:"error_msg"`
	CamelCode   looseText `json:"errorCode"`
	CamelMsg    anyText   `json:"errorMsg"`
	Code        looseText `json:"code"`
	Message     anyText   `json:"message"`
	Details     anyText   `json:"details"`
	RequestID   looseText `json:"request_id"`
	EncodedAuth looseText `json:"encoded_authorization_message"`
}

func (f errorFields) errorBody() errorBody {
	return errorBody{
		ErrMsg: ErrMsg{
			ErrorCode: shown(firstOf(f.SnakeCode, f.CamelCode, f.Code), maxMessage),
			ErrorMsg:  shown(firstOf(f.SnakeMsg, f.CamelMsg, f.Message), maxMessage),
		},
		details:                     shown(string(f.Details), maxMessage),
		requestID:                   redact.Excerpt(string(f.RequestID), maxRequestID),
		encodedAuthorizationMessage: string(f.EncodedAuth),
	}
}

// shown returns a redacted excerpt of text of at most limit bytes: without the queries of links, which open files, and
// without the signatures and tokens of an echoed request.
func shown(text string, limit int) string {
	const redactedPart = 16 // how much more than the limit is redacted, so that most secrets are whole
	text = redact.Headers(redact.Links(redact.Cut(text, redactedPart*limit)))
	return redact.Excerpt(text, limit)
}

// looseText is a string or a number. Other JSON counts as absent: an odd member must not hide the others.
type looseText string

// UnmarshalJSON never fails.
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

// anyText is a string, or any other JSON as compact text. A null and empty JSON are the empty text.
type anyText string

// UnmarshalJSON never fails.
func (t *anyText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*t = anyText(text)
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil
	}
	switch compact.String() {
	case "{}", "[]":
	default:
		*t = anyText(compact.String())
	}
	return nil
}

// firstOf returns the first text that is not empty.
func firstOf[T ~string](texts ...T) string {
	for _, text := range texts {
		if text != "" {
			return string(text)
		}
	}
	return ""
}
