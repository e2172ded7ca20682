package cdntest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// serve responds to r with the fault. next is the handler of requests that meet none.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	respond := next
	if f.Rewrite != nil {
		respond = f.rewritten(next)
	}
	if f.Handled {
		respond = handled(w, r, respond)
	}
	if f.Status != 0 || f.Body != "" {
		respond = f.replacement
	}
	for _, status := range f.Informational {
		w.WriteHeader(status)
	}
	if !pause(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler) // returning would send an empty 200
	}
	if f.DropConnection && f.TruncateAfter <= 0 {
		reset(w)
		return
	}
	respond(&faultyWriter{ResponseWriter: w, ctx: r.Context(), fault: f, left: f.TruncateAfter}, r)
}

// handled handles r now and returns a handler that sends the response.
func handled(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) http.HandlerFunc {
	done := record(w, r, next)
	return func(w http.ResponseWriter, _ *http.Request) { replay(w, done, done.Body.Bytes()) }
}

// rewritten returns a handler that sends the response of next with the body that Rewrite returns.
func (f Fault) rewritten(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		done := record(w, r, next)
		body := f.Rewrite(done.Body.Bytes())
		done.Header().Set("Content-Length", strconv.Itoa(len(body)))
		replay(w, done, body)
	}
}

// record returns the response of next to r, with the headers that w has so far.
func record(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) *httptest.ResponseRecorder {
	done := httptest.NewRecorder()
	copyHeader(done.Header(), w.Header())
	next(done, r)
	return done
}

// replay sends a recorded response with body.
func replay(w http.ResponseWriter, done *httptest.ResponseRecorder, body []byte) {
	copyHeader(w.Header(), done.Header())
	w.WriteHeader(done.Code)
	_, _ = w.Write(body) // a client that has left cannot be told
}

// replacement responds with the fault's body, or with the error of its code.
func (f Fault) replacement(w http.ResponseWriter, _ *http.Request) {
	status := max(f.Status, http.StatusOK)
	if f.Body == "" && f.code != "" {
		f.refuse(w, status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(f.Body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(f.Body)) // a client that has left cannot be told
}

// refuse responds with the error of the fault's code, in the shape of the gateway, the CDN or the store.
func (f Fault) refuse(w http.ResponseWriter, status int) {
	_, message := statusOf(f.code)
	switch {
	case strings.HasPrefix(f.code, "CDN."):
		cdnError(w, status, f.code, message)
	case strings.Contains(f.code, "."):
		gatewayError(w, status, f.code, message)
	default:
		storeError(w, status, f.code, message)
	}
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

// reset closes the connection so that the client sees a reset, not an orderly close.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // an orderly close
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // discards what is not sent yet
	}
	_ = conn.Close()
}

// faultyWriter sets a fault's headers, and slows and cuts the body.
type faultyWriter struct {
	http.ResponseWriter
	ctx         context.Context // the request's
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
		return w.trickle(p)
	}
	if int64(len(p)) > w.left {
		w.cut(p[:w.left])
	}
	w.left -= int64(len(p))
	return w.trickle(p)
}

// trickle writes p, byte by byte if the fault has a Trickle.
func (w *faultyWriter) trickle(p []byte) (int, error) {
	if w.fault.Trickle <= 0 {
		return w.ResponseWriter.Write(p)
	}
	w.flush() // the header does not wait
	for i := range p {
		if !pause(w.ctx, w.fault.Trickle) {
			return i, w.ctx.Err()
		}
		if _, err := w.ResponseWriter.Write(p[i : i+1]); err != nil {
			return i, err
		}
		w.flush()
	}
	return len(p), nil
}

// cut sends the last bytes and closes the connection. It does not return.
func (w *faultyWriter) cut(last []byte) {
	_, _ = w.trickle(last)
	w.flush()
	if w.fault.DropConnection {
		reset(w.ResponseWriter)
	}
	panic(http.ErrAbortHandler) // net/http then closes the connection
}

// flush sends what is written so far. If it cannot, the next write says so.
func (w *faultyWriter) flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// copyHeader sets every header of src on dst. The values of a name without any are a nil slice,
// which also keeps net/http from adding a header of its own.
func copyHeader(dst, src http.Header) {
	for name, values := range src {
		dst[http.CanonicalHeaderKey(name)] = values
	}
}
