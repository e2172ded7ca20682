package transfer

import (
	"cmp"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// StoreError is a response of the store that is not the file. Its texts are excerpts without secrets of links.
type StoreError struct {
	StatusCode int
	// Code and Message are the store's; empty if it sent none.
	Code, Message string
	// RequestID and HostID name the request to the vendor's support; empty if the store sent none.
	RequestID, HostID string
	// RetryAfter is the delay that the store asks for, or 0.
	RetryAfter time.Duration
	// Attempts is how many requests were sent for the file.
	Attempts int
}

// Error returns the status and what the store says.
func (e *StoreError) Error() string {
	text := "the store responded with status " + strconv.Itoa(e.StatusCode)
	for _, part := range []string{e.Code, e.Message} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// isTransient reports whether the same request may succeed later.
func (e *StoreError) isTransient() bool {
	return e.Code == "SlowDown" || e.Code == "ServiceUnavailable" || retry.IsTransientStatus(e.StatusCode)
}

// refusesLink reports whether the store refuses the link, so that a new link may help. Stores with the API of S3 send
// ExpiredToken with status 400 if the temporary credentials that signed the link have expired.
func (e *StoreError) refusesLink() bool {
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		return !e.isTransient()
	}
	return e.Code == "ExpiredToken"
}

const (
	// maxErrorBody is how much of an error's body is read, in bytes.
	maxErrorBody = 64 << 10
	// maxID is how much of an id is kept, in bytes.
	maxID = 128
)

// storeError returns the error for a response. A body that is not the XML of an object store is not shown. The
// limit of silence is that of the whole body.
func (d *download) storeError(resp *http.Response, silence *silence) *StoreError {
	silence.timer.Reset(silence.limit)
	defer silence.timer.Stop()
	body := parseErrorBody(resp.Body)
	excerpt := func(limit int, texts ...string) string {
		return redact.Excerpt(d.keys.redact(strings.ToValidUTF8(cmp.Or(texts...), "")), limit)
	}
	return &StoreError{
		StatusCode: resp.StatusCode,
		Code:       excerpt(redact.Short, body.Code),
		Message:    excerpt(redact.Short, body.Message),
		RequestID:  excerpt(maxID, body.RequestID, resp.Header.Get("X-Obs-Request-Id"), resp.Header.Get("X-Request-Id")),
		HostID:     excerpt(maxID, body.HostID, resp.Header.Get("X-Obs-Id-2")),
		RetryAfter: retry.After(resp.Header, time.Now()),
		Attempts:   d.attempts,
	}
}

// errorBody is the XML of an object store's error.
type errorBody struct {
	Code      string
	Message   string
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

// parseErrorBody reads the body of an error. It returns no texts if the body is something else or is cut.
func parseErrorBody(r io.Reader) errorBody {
	text, _ := io.ReadAll(io.LimitReader(r, maxErrorBody)) // a status is known without its body
	var body errorBody
	if xml.Unmarshal(text, &body) != nil {
		return errorBody{}
	}
	return body
}
