package cdntest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Fault is something that goes wrong with a request. Its fields combine, and work in this order:
// Handled, Delay, DropConnection, then Status, Header and Body, then TruncateAfter. The zero Fault
// changes nothing about the next request.
type Fault struct {
	// Match chooses the requests to meet the fault, as [IsList], [IsCreate] and [IsDownload] do; nil
	// chooses all. It is called from several goroutines at once and must not read the body.
	Match func(*http.Request) bool
	// Times is how many of them meet it: 0 means one, a negative number all.
	Times int

	// Handled lets the request take effect as usual before the fault strikes: a created task is
	// there although its creator saw a reset or a 502. Otherwise a request whose answer is replaced,
	// or who does not wait for the Delay, has no effect.
	Handled bool
	// Delay passes before the answer, in real time. It ends when the client leaves or the server is
	// closed, and then there is no answer.
	Delay time.Duration
	// DropConnection resets the connection once the request has been read, instead of an answer.
	// With TruncateAfter it resets it where the answer would be cut; the client may then receive
	// less than was sent. Mind that net/http's own client quietly repeats a GET whose reused
	// connection breaks before the answer, and so meets a fault of one time without its caller
	// noticing.
	DropConnection bool
	// Status replaces the answer. With 0 the normal answer is given, or 200 if there is a Body.
	Status int
	// Header is set on the answer, the normal one or its replacement. A name without values removes
	// the header.
	Header http.Header
	// Body is the body of the replacement.
	Body string
	// TruncateAfter is after how many bytes of its body the answer is cut and the connection closed,
	// although the header announces the whole. An answer no longer than that, and any for 0 or less,
	// stays whole.
	TruncateAfter int64
}

// IsList reports whether r asks for a page of tasks, or for one task by its id. It is for [Fault.Match].
func IsList(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == exportTasksPath
}

// IsCreate reports whether r asks for a new task. It is for [Fault.Match].
func IsCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == exportTasksPath
}

// IsDownload reports whether r asks for a file. It is for [Fault.Match].
func IsDownload(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, filesPrefix) }

// Inject makes the next requests that f matches fail as f says. A request meets one fault at most:
// the first one, in the order of injection, that matches it and is not used up. Inject panics where
// the Status is no final HTTP status.
func (s *Server) Inject(f Fault) {
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		panic(fmt.Sprintf("cdntest: Fault.Status: %d is not from 200 to 599", f.Status))
	}
	s.service.faults.add(f)
}

// ClearFaults ends all faults, for requests to come.
func (s *Server) ClearFaults() {
	s.service.faults.clear()
}

// serve answers r as the fault has it, where next would answer it normally.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	answer := next
	if f.Handled {
		answer = handled(w, r, next)
	}
	if f.Status != 0 || f.Body != "" {
		answer = f.replacement
	}
	if !pause(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler) // returning would send an empty 200
	}
	if f.DropConnection && f.TruncateAfter <= 0 {
		reset(w)
		return
	}
	answer(&faultyWriter{ResponseWriter: w, fault: f, left: f.TruncateAfter}, r)
}

// handled does what the request asks for and returns the answer for later.
func handled(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) http.HandlerFunc {
	done := httptest.NewRecorder()
	copyHeader(done.Header(), w.Header())
	next(done, r)
	return func(w http.ResponseWriter, _ *http.Request) {
		copyHeader(w.Header(), done.Header())
		w.WriteHeader(done.Code)
		_, _ = w.Write(done.Body.Bytes()) // a client that has left cannot be told
	}
}

func (f Fault) replacement(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(len(f.Body)))
	w.WriteHeader(max(f.Status, http.StatusOK))
	_, _ = w.Write([]byte(f.Body)) // a client that has left cannot be told
}

// pause reports whether d passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reset ends the connection so that the client sees a reset and not an orderly close.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the next best end
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what is not sent by now is not to be sent
	}
	_ = conn.Close()
}

// faultyWriter sets a fault's headers and cuts the body.
type faultyWriter struct {
	http.ResponseWriter
	fault       Fault
	left        int64 // of the body, in bytes
	wroteHeader bool
}

func (w *faultyWriter) WriteHeader(status int) {
	if w.wroteHeader {
		return
	}
	w.wroteHeader = true
	copyHeader(w.Header(), w.fault.Header)
	w.ResponseWriter.WriteHeader(status)
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.fault.TruncateAfter <= 0 {
		return w.ResponseWriter.Write(p)
	}
	if int64(len(p)) > w.left {
		w.cut(p[:w.left])
	}
	w.left -= int64(len(p))
	return w.ResponseWriter.Write(p)
}

// cut sends the last bytes and ends the connection; it does not return.
func (w *faultyWriter) cut(last []byte) {
	_, _ = w.ResponseWriter.Write(last)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	if w.fault.DropConnection {
		reset(w.ResponseWriter)
	}
	panic(http.ErrAbortHandler) // net/http's own way to give up an answer
}

// copyHeader sets every header of src on dst. The values of a name without any are a nil slice,
// which also keeps net/http from adding a header of its own.
func copyHeader(dst, src http.Header) {
	for name, values := range src {
		dst[http.CanonicalHeaderKey(name)] = values
	}
}
