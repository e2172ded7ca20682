package cdn

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"
)

// Scripts for waits and watches: this request, this response, then that change of a task.

// step is one line of a script. It changes the service after a time, or just before the service serves a request.
type step struct {
	after   time.Duration // since the script began
	request int           // the number of the request, from 1; 0 for a step at a time
	do      func(*scripted)
	reply   func() *http.Response // replaces the service's response if it is not nil
}

func at(after time.Duration, do func(*scripted)) step { return step{after: after, do: do} }

func onRequest(n int, do func(*scripted)) step { return step{request: n, do: do} }

func onRequestReply(n, status int, body string, header ...string) step {
	return step{request: n, do: func(*scripted) {}, reply: func() *http.Response { return reply(status, body, header...) }}
}

// scripted is a service that a script changes.
type scripted struct {
	*fakeService
	script []step

	turn    sync.Mutex
	arrived int
	hold    time.Duration // the delay of the response to the next list
	held    chan struct{} // closed once that response is delayed
}

// play starts a script. The times of its steps count from now.
func play(t *testing.T, service *fakeService, script ...step) *scripted {
	s := &scripted{fakeService: service, script: script, held: make(chan struct{})}
	for _, line := range script {
		if line.request == 0 {
			after(t, line.after, func() { line.do(s) })
		}
	}
	return s
}

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	s.turn.Lock()
	s.arrived++
	n, hold := s.arrived, s.hold
	if req.URL.Query().Get("task_id") == "" {
		s.hold = 0
	} else {
		hold = 0
	}
	s.turn.Unlock()
	for _, line := range s.script {
		if line.request != n {
			continue
		}
		if line.do(s); line.reply != nil {
			return line.reply(), nil
		}
	}
	resp, err := s.fakeService.RoundTrip(req)
	if hold > 0 {
		close(s.held)
		retry.Sleep(req.Context(), hold)
	}
	return resp, err
}

// holdsList delays the response to the next list.
func holdsList(delay time.Duration) func(*scripted) {
	return func(s *scripted) {
		s.turn.Lock()
		defer s.turn.Unlock()
		s.hold = delay
	}
}

// sets changes a task, or creates it.
func sets(id string, status ExportTaskStatus) func(*scripted) {
	return func(s *scripted) { s.set(id, status) }
}

func removes(id string) func(*scripted) { return sets(id, "") }

// edits changes a task, which keeps its place in the list.
func edits(id string, change func(*ExportTask)) func(*scripted) {
	return func(s *scripted) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range s.tasks {
			if s.tasks[i].TaskID == id {
				change(&s.tasks[i])
			}
		}
	}
}

// silently changes the status of a task, which keeps its place and its times.
func silently(id string, status ExportTaskStatus) func(*scripted) {
	return edits(id, func(task *ExportTask) { task.Status = status })
}

// refuses makes all requests fail from now on.
func refuses(status int, body string, header ...string) func(*scripted) {
	return refusesSome(func(*http.Request) bool { return true }, status, body, header...)
}

func refusesLists(status int, body string) func(*scripted) {
	return refusesSome(func(req *http.Request) bool { return req.URL.Query().Get("task_id") == "" }, status, body)
}

func refusesLookUps(status int, body string) func(*scripted) {
	return refusesSome(func(req *http.Request) bool { return req.URL.Query().Get("task_id") != "" }, status, body)
}

func refusesSome(matches func(*http.Request) bool, status int, body string, header ...string) func(*scripted) {
	return func(s *scripted) {
		s.setBefore(func(req *http.Request) (*http.Response, error) {
			if !matches(req) {
				return nil, nil
			}
			return reply(status, body, header...), nil
		})
	}
}

// recovers ends the failures.
func recovers(s *scripted) { s.setBefore(nil) }
