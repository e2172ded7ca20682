package cdntest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is a failure of a request, for [Server.Inject]. Its fields combine and apply in this order: Handled,
// Informational, Delay, DropConnection, then Rewrite, Status, Header and Body, then Trickle and TruncateAfter. The
// zero Fault changes nothing about the next request. [FaultCode] returns a Fault with an error of the service.
type Fault struct {
	// Match reports whether the fault is for the request, as [IsList], [IsCreate] and [IsDownload] do. Nil
	// is for all requests. It is called from several goroutines at once and must not read the body. It may
	// call the server, for example to change the list between two pages.
	Match func(*http.Request) bool
	// Times is the number of requests that meet the fault: 0 means one, a negative number all.
	Times int

	// Handled lets the request take effect before the fault applies: a task is created although the client
	// sees a reset or a 502. Otherwise a request has no effect if its response is replaced or its client
	// does not wait for the Delay.
	Handled bool
	// Informational are the statuses of responses to send first, from 100 to 199 except 101.
	Informational []int
	// Delay is the time before the response, in real time. There is no response if the client leaves or the
	// server is closed meanwhile.
	Delay time.Duration
	// DropConnection resets the connection once the request has been read, instead of a response.
	// With TruncateAfter it does so after that many bytes of the body, and the client may receive less than
	// was sent. Note that net/http's client repeats a GET if a reused connection breaks before the response:
	// its caller does not see a fault of one time.
	DropConnection bool
	// Rewrite returns the body to send instead of the normal one, for example with a task twice or without
	// a field. Content-Length becomes that of the result. A Status or a Body replaces both.
	Rewrite func(body []byte) []byte
	// Status replaces the response. With 0 the normal response is sent, or 200 if there is a Body.
	Status int
	// Header is set on the response, the normal one or its replacement. A name without values removes
	// the header. "Transfer-Encoding: identity" with no Content-Length sends a body that ends with the
	// connection.
	Header http.Header
	// Body is the body of the replacement.
	Body string
	// Trickle is the pause before each byte of the body, in real time.
	Trickle time.Duration
	// TruncateAfter is the number of bytes of the body after which the connection is closed, although the
	// header announces the whole body. With 0 or less, or a number not below its length, the body is whole.
	TruncateAfter int64

	code string // of the error to respond with, unless there is a Body
}

// FaultCode returns a Fault that refuses a request with an error of the service, in the body and with the HTTP status
// that the service's error table lists for the code. Set the other fields of the Fault as needed.
//
// The codes are those of the CDN, such as CDN.0005, most of which come with status 200; those of the gateway, such as
// APIGW.0308, also with the prefixes APIG and APIC; and those of the object store, such as SlowDown. It panics if
// the code is none of them.
func FaultCode(code string) Fault {
	f, err := faultCode(code)
	if err != nil {
		panic("cdntest: FaultCode: " + err.Error())
	}
	return f
}

func faultCode(code string) (Fault, error) {
	status, _ := statusOf(code)
	if status == 0 {
		return Fault{}, fmt.Errorf("no error of the service has the code %q", code)
	}
	return Fault{Status: status, code: code}, nil
}

// IsList reports whether r lists tasks, also if it looks one up by its id. It is for [Fault.Match].
func IsList(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == exportTasksPath
}

// IsCreate reports whether r creates a task. It is for [Fault.Match].
func IsCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == exportTasksPath
}

// IsDownload reports whether r downloads a file. It is for [Fault.Match].
func IsDownload(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, filesPrefix) }

// Inject adds f to the server's faults. A request meets at most one fault: the first one injected that matches it and
// is not used up. Inject panics if Status is not from 200 to 599, or an Informational status not from 100 to 199.
func (s *Server) Inject(f Fault) {
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		panic(fmt.Sprintf("cdntest: Fault.Status: %d is not from 200 to 599", f.Status))
	}
	for _, status := range f.Informational {
		if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
			panic(fmt.Sprintf("cdntest: Fault.Informational: %d is not from 100 to 199, or is 101", status))
		}
	}
	f.Informational = slices.Clone(f.Informational)
	f.Header = f.Header.Clone()
	s.service.faults.add(f)
}

// ClearFaults removes all faults. Requests that have met one already are not affected.
func (s *Server) ClearFaults() {
	s.service.faults.clear()
}
