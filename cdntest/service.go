package cdntest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	exportTasksPath = "/v1/cdn/statistics/export-tasks"
	headerRequestID = "X-Request-Id"

	// maxBody is the largest request body, in bytes.
	maxBody = 1 << 20
)

// service handles the requests. A [Server] makes it reachable.
type service struct {
	config
	url      string
	store    *store
	lock     keyLock
	throttle *quota
	links    linker
	faults   faultList
	requests requestLog
}

func newService(c config, url string) *service {
	return &service{
		config:   c,
		url:      url,
		store:    newStore(c.clock, c.listLag),
		throttle: newQuota(c),
		links:    newLinker(c.linkExpiry, c.amzLinks),
		requests: requestLog{keep: c.requestLog},
	}
}

// ServeHTTP records a request, waits for the latency, and responds with the fault for it or, if there is none,
// routes it.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nameResponse(w.Header(), IsDownload(r))
	w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.requests.add(r, body)
	if !pause(r.Context(), s.latency) {
		panic(http.ErrAbortHandler) // returning would send an empty 200
	}
	if err != nil {
		refuseBody(w, err)
		return
	}
	if fault, ok := s.faults.take(r); ok {
		fault.serve(w, r, s.route)
		return
	}
	s.route(w, r)
}

// nameResponse sets the id of a response, as the gateway or the object store does.
func nameResponse(header http.Header, fromStore bool) {
	if !fromStore {
		header.Set(headerRequestID, newID())
		return
	}
	header.Set(headerObsRequestID, strings.ToUpper(newID()))
	header.Set(headerObsID2, newHostID())
}

func refuseBody(w http.ResponseWriter, err error) {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		gatewayError(w, http.StatusRequestEntityTooLarge, codeTooLarge, "The request body is larger than 1 MiB")
		return
	}
	gatewayError(w, http.StatusBadRequest, codeBadRequest, "The request body cannot be read")
}

func (s *service) route(w http.ResponseWriter, r *http.Request) {
	switch {
	case IsDownload(r):
		s.serveFile(w, r)
	case IsList(r):
		s.authenticated(s.listExportTasks)(w, r)
	case IsCreate(r):
		s.authenticated(s.createExportTask)(w, r)
	default:
		gatewayError(w, http.StatusNotFound, codeNoSuchAPI, "The API does not exist: "+r.Method+" "+r.URL.Path)
	}
}

// newID returns a random id of a task or a request: 32 hexadecimal digits.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails: see its documentation
	return hex.EncodeToString(id[:])
}

// newHostID returns a random id of a server of the store: 24 bytes in base64.
func newHostID() string {
	var id [24]byte
	_, _ = rand.Read(id[:]) // it never fails: see its documentation
	return base64.StdEncoding.EncodeToString(id[:])
}

// milliseconds returns t cut to the millisecond, as the API expresses times.
func milliseconds(t time.Time) time.Time {
	return time.UnixMilli(t.UnixMilli()).UTC()
}
