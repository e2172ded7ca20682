package main

import (
	"fmt"
	"log"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

// keepRequests is the number of requests that the page shows.
const keepRequests = 30

// seenRequest is a request and its outcome.
type seenRequest struct {
	At     time.Time
	Method string
	Target string // path and query, escaped by visible
	Status int    // of the response, or 0 if there was none
	Code   string // of the error in the response, also of one that came with 200
	Took   time.Duration
}

// String returns the line of -v.
func (r seenRequest) String() string {
	return fmt.Sprintf("%s %s %s %s %v", r.At.Format("15:04:05.000"), r.Method, r.Target, r.Outcome(), r.Took.Round(10*time.Microsecond))
}

// Outcome returns the status and the error code, or a dash if there was no response.
func (r seenRequest) Outcome() string {
	if r.Status == 0 {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprint(r.Status, " ", r.Code))
}

// requestLog keeps the last requests and prints a line for each if it has a logger.
type requestLog struct {
	lines *log.Logger

	mu   sync.Mutex
	last []seenRequest // oldest first
}

// middleware records each request that next handles.
func (l *requestLog) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := seenRequest{At: time.Now(), Method: visible(r.Method), Target: target(r)}
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() { // next panics to break a connection
			seen.Status, seen.Code, seen.Took = recorder.status, recorder.code(), time.Since(seen.At)
			l.add(seen)
		}()
		next.ServeHTTP(recorder, r)
	})
}

// target returns the path and query of r. A link is shown without its signature.
func target(r *http.Request) string {
	if cdntest.IsDownload(r) {
		return visible(r.URL.EscapedPath())
	}
	return visible(r.URL.RequestURI())
}

func (l *requestLog) add(r seenRequest) {
	l.mu.Lock()
	l.last = append(l.last, r)
	if len(l.last) > keepRequests {
		l.last = slices.Delete(l.last, 0, len(l.last)-keepRequests)
	}
	l.mu.Unlock()
	if l.lines != nil {
		l.lines.Print(r)
	}
}

// newestFirst returns a copy of the last requests.
func (l *requestLog) newestFirst() []seenRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := slices.Clone(l.last)
	slices.Reverse(last)
	return last
}

// errorCode finds the error code in the body of a response.
var errorCode = regexp.MustCompile(`"error_code":"([A-Z]+\.\d+)"|<Code>(\w+)</Code>`)

// keepBody is the number of bytes of a body that are searched for an error code.
const keepBody = 256

// statusRecorder records the status of a response and the start of its body.
type statusRecorder struct {
	http.ResponseWriter
	status int
	start  []byte
}

// code returns the error code of the response, or "" if it has none. A file has none, whatever its content.
func (w *statusRecorder) code() string {
	match := errorCode.FindSubmatch(w.start)
	if match == nil || w.Header().Get("Content-Type") == "application/octet-stream" {
		return ""
	}
	return string(match[1]) + string(match[2])
}

// Unwrap lets faults reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader records a final status.
func (w *statusRecorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write records a status of 200 if none was written, and the start of the body.
func (w *statusRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.start = append(w.start, p[:min(len(p), keepBody-len(w.start))]...)
	return w.ResponseWriter.Write(p)
}
