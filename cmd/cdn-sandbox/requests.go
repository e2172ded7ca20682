package main

import (
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

// keepRequests is how many requests the page shows.
const keepRequests = 30

// seenRequest is a request and what became of it.
type seenRequest struct {
	At     time.Time
	Method string
	Target string // what was asked for, escaped by visible
	Status int    // of the response; 0: there was none
	Took   time.Duration
}

// String returns the line of -v.
func (r seenRequest) String() string {
	return fmt.Sprintf("%s %s %s %s %v", r.At.Format("15:04:05.000"), r.Method, r.Target, r.Outcome(), r.Took.Round(10*time.Microsecond))
}

// Outcome returns the status, or a dash if there was no response.
func (r seenRequest) Outcome() string {
	if r.Status == 0 {
		return "-"
	}
	return fmt.Sprint(r.Status)
}

// requestLog keeps the last requests and prints a line for each if it has a logger.
type requestLog struct {
	lines *log.Logger

	mu   sync.Mutex
	last []seenRequest // oldest first
}

// middleware notes each request that next handles.
func (l *requestLog) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := seenRequest{At: time.Now(), Method: visible(r.Method), Target: target(r)}
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() { // next panics to break a connection
			seen.Status, seen.Took = recorder.status, time.Since(seen.At)
			l.add(seen)
		}()
		next.ServeHTTP(recorder, r)
	})
}

// target returns what r asks for. A link is shown without its signature.
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

// statusRecorder notes the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// Unwrap lets faults reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes a final status and passes it on.
func (w *statusRecorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write passes p on, after a status of 200 if none was written.
func (w *statusRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}
