package cdntest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong with a request. Its fields combine and work in this order: Handled,
// Informational, Delay, DropConnection, then Status, Header and Body, then Trickle and TruncateAfter. The zero
// Fault changes nothing about the next request. [FaultCode] returns one with an error of the service.
type Fault struct {
	// Match chooses the requests to meet the fault, as [IsList], [IsCreate] and [IsDownload] do. Nil
	// chooses all. It is called from several goroutines at once and must not read the body.
	Match func(*http.Request) bool
	// Times is how many of them meet it: 0 means one, a negative number all.
	Times int

	// Handled lets the request take effect as usual before the fault strikes: a created task is
	// there although its creator saw a reset or a 502. Otherwise a request has no effect if its response
	// is replaced or its client does not wait for the Delay.
	Handled bool
	// Informational are responses to send first, from 100 to 199 except 101.
	Informational []int
	// Delay passes before the response, in real time. It ends if the client leaves or the server is
	// closed, and then there is no response.
	Delay time.Duration
	// DropConnection resets the connection once the request has been read, instead of a response.
	// With TruncateAfter it does so after that many bytes of the body, and the client may receive less than
	// was sent. Note that net/http's own client repeats a GET if its reused connection
	// breaks before the response. Such a client meets a fault of one time without its caller noticing.
	DropConnection bool
	// Status replaces the response. With 0 the normal response is sent, or 200 if there is a Body.
	Status int
	// Header is set on the response, the normal one or its replacement. A name without values removes
	// the header. "Transfer-Encoding: identity" with no Content-Length sends a body that ends with the
	// connection.
	Header http.Header
	// Body is the body of the replacement.
	Body string
	// Trickle is the pause before each byte of the body, in real time. It ends as the Delay does.
	Trickle time.Duration
	// TruncateAfter is after how many bytes of its body the response is cut and the connection closed,
	// although the header announces the whole. A response no longer than that, and any for 0 or less,
	// stays whole.
	TruncateAfter int64

	code string // of the error to respond with, unless there is a Body
}

// FaultCode returns a Fault that refuses a request with an error of the service. The code comes in the body and
// with the HTTP status that belong to it. Set the other fields of the Fault as needed.
//
// It knows the CDN's documented codes such as CDN.0005, most of which come with 200. It knows the gateway's such as
// APIGW.0308, also with the prefixes APIG and APIC, and the object store's such as SlowDown. It panics if it does
// not know the code.
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
// the first one, in the order of injection, that matches it and is not used up. Inject panics if
// the Status is no final HTTP status or an Informational one is none.
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

// ClearFaults ends all faults, for requests to come.
func (s *Server) ClearFaults() {
	s.service.faults.clear()
}
