package cdntest

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// Request is a request as the server received it, with the signature and the security token.
type Request struct {
	// Method is the HTTP method.
	Method string
	// Host is the host that the request was sent to, which net/http keeps apart from Header.
	Host string
	// Path is the decoded path: that of the API, or of a download link.
	Path string
	// Query is the decoded query. A key that was sent without a value has an empty one.
	Query url.Values
	// Header is a copy of all headers but Host.
	Header http.Header
	// Body is the body, up to 1 MiB.
	Body []byte
}

// Requests returns copies of the requests so far in the order of their arrival, also of those that were refused or met a
// fault. It returns the latest ones if there were more than [WithRequestLog].
func (s *Server) Requests() []Request {
	return s.service.requests.all()
}

// requestLog keeps the latest requests.
type requestLog struct {
	keep int

	mu     sync.Mutex
	latest []Request
}

func (l *requestLog) add(r *http.Request, body []byte) {
	request := Request{
		Method: r.Method,
		Host:   r.Host,
		Path:   r.URL.Path,
		Query:  r.URL.Query(),
		Header: r.Header.Clone(),
		Body:   body,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = append(l.latest, request)
	// Half of a full log is dropped at once, so that not each request copies it.
	if len(l.latest) > 2*l.keep {
		l.latest = slices.Clone(l.latest[len(l.latest)-l.keep:])
	}
}

func (l *requestLog) all() []Request {
	requests := l.snapshot()
	// The log never changes a request that it holds, so the copying needs no lock.
	for i, request := range requests {
		requests[i] = request.clone()
	}
	return requests
}

func (l *requestLog) snapshot() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.latest[max(0, len(l.latest)-l.keep):])
}

// clone returns a deep copy of r.
func (r Request) clone() Request {
	r.Query = url.Values(http.Header(r.Query).Clone()) // it is a map of the same kind
	r.Header = r.Header.Clone()
	r.Body = slices.Clone(r.Body)
	return r
}
