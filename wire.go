package cdn

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// maxConnections is how many connections one attempt may ask for. A server that closes each one before the
// request is written would otherwise be dialled until the attempt's timeout.
const maxConnections = 4

// errRepeated ends an attempt whose request is about to be sent a second time below this package. net/http does so
// after an HTTP/2 reset or GOAWAY, and if an idle connection turns out to be closed. A transport of the user's may
// retry too. The retry loop repeats the request instead, with a delay and within its bounds.
var errRepeated error = repeatedError{}

type repeatedError struct{}

func (repeatedError) Error() string   { return "the transport was about to send the request again" }
func (repeatedError) Transient() bool { return true }

// wire observes how net/http sends the request of one attempt.
type wire struct {
	end context.CancelCauseFunc
	// own reports whether the transport is net/http's own, which asks for a connection before it sends anything.
	own         bool
	connections atomic.Int32
	written     atomic.Int32
}

func newWire(end context.CancelCauseFunc, own bool) *wire { return &wire{end: end, own: own} }

// trace returns ctx with the callbacks of net/http.
func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      w.getConn,
		WroteHeaders: func() { w.written.Add(1) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil { // after an error in the headers, this is the only callback
				w.written.CompareAndSwap(0, 1)
			}
		},
	})
}

// getConn ends the attempt if the request was written already, or if too many connections have failed.
func (w *wire) getConn(string) {
	if w.connections.Add(1) > maxConnections || w.written.Load() > 0 {
		w.end(errRepeated)
	}
}

// repeats returns how many requests were written after the first.
func (w *wire) repeats() int { return max(0, int(w.written.Load())-1) }

// mayBeSent reports whether the service may have received req, which ended without a response. A transport that is
// not net/http's own may send it without a report.
func (w *wire) mayBeSent(req *http.Request) bool {
	body, ok := req.Body.(*body)
	unreported := w.connections.Load() == 0 && !w.own
	return unreported || w.written.Load() > 0 || ok && body.read.Load()
}
