package transfer

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
)

// maxConnections is how many connections one request may ask for. Without it, net/http dials a server that closes
// each connection at once until the attempt's timeout.
const maxConnections = 4

// errRepeated ends an attempt whose request net/http is about to repeat by itself, at once and without bound. It
// does so after an HTTP/2 reset or GOAWAY, and if the server has closed an idle connection.
var errRepeated = errors.New("the connection failed before a response came")

// wire observes what net/http does with the requests of one attempt.
type wire struct {
	end         context.CancelCauseFunc
	connections atomic.Int32
	written     atomic.Bool
}

// redirected resets what belongs to one request, before the request of a redirect.
func (w *wire) redirected() {
	w.connections.Store(0)
	w.written.Store(false)
}

// trace returns a context whose requests w observes.
func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if w.connections.Add(1) > maxConnections || w.written.Load() {
				w.end(errRepeated)
			}
		},
		WroteHeaders: func() { w.written.Store(true) },
	})
}
