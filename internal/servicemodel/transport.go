package servicemodel

import (
	"fmt"
	"net/http"
	"time"
)

// Path is the path of both calls.
const Path = "/v1/cdn/statistics/export-tasks"

// Kind is the kind of a request.
type Kind string

// The kinds of requests.
const (
	List   Kind = "list"   // without task_id
	Lookup Kind = "lookup" // with task_id
	Create Kind = "create"
	Other  Kind = "other"
)

// Request is one request that the service received.
type Request struct {
	At     time.Time
	Kind   Kind
	ID     string // of a look-up
	Owner  string // of a create: its domain_name
	Offset int
	Limit  int
	Name   string // task_name
	Status int    // of the response; 0 if the connection was lost
	Failed bool   // the response was a failure that the knobs call for, or a refusal
}

// RoundTrip serves req. It blocks for the time that Knobs.Latency gives, or until the request's context
// ends.
func (s *Service) RoundTrip(req *http.Request) (*http.Response, error) {
	r, err := parse(req)
	if err != nil {
		return nil, err
	}
	n, before, delay, after := s.receive(&r)
	if before != nil {
		before(r)
	}
	if err := sleep(req, delay); err != nil {
		return nil, err
	}
	out := s.serve(n, r)
	if err := sleep(req, after); err != nil {
		return nil, err
	}
	if out.err != nil {
		return nil, out.err
	}
	return out.response(req), nil
}

// receive counts a request and draws the time that it takes.
func (s *Service) receive(r *Request) (n int, before func(Request), delay, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.At = s.advance()
	s.log = append(s.log, *r)
	if latency := int64(s.knobs.Latency); latency > 0 {
		delay, after = time.Duration(s.answers.Int64N(latency)), time.Duration(s.answers.Int64N(latency))
	}
	return len(s.log) - 1, s.before, delay, after
}

// serve handles request n.
func (s *Service) serve(n int, r Request) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	out := s.handle(now, r)
	s.log[n].Status, s.log[n].Failed = out.status, out.failed
	return out
}

func (s *Service) handle(now time.Time, r Request) outcome {
	if out, refused := s.knobs.Quota.refuse(now); refused {
		return out
	}
	switch {
	case r.Kind == Other:
		return refusal(http.StatusNotFound, `{"error_code":"APIGW.0101","error_msg":"The API does not exist"}`)
	case r.Kind == Create:
		return s.serveCreate(now, r)
	case r.Limit < 0 || r.Limit > maxPage || r.Offset < 0:
		return refusal(http.StatusBadRequest, errorBody("CDN.0001", "limit is 0 to 100, offset is not negative"))
	case s.isFailing(now, r.Kind):
		return s.failure()
	}
	tasks, total := s.matching(now, r)
	page := Page{total, rowsOf(s.page(tasks, r.Offset, r.Limit))}
	if s.odd != nil {
		all, _ := s.readAll(now)
		s.odd(r, rowsOf(all), &page)
	}
	return page.outcome()
}

// isFailing reports whether a read fails now.
func (s *Service) isFailing(now time.Time, kind Kind) bool {
	k := s.knobs
	if age := now.Sub(s.start); k.FailsFor > 0 && age >= k.FailsFor || k.FailsEvery > 0 && age/k.FailsEvery%2 == 0 {
		return false
	}
	chance := k.ListFails
	if kind == Lookup {
		chance = k.LookupFails
	}
	return s.chance(s.answers, chance)
}

// matching returns the tasks that a list or a look-up by id is about, and their number as the service says it.
func (s *Service) matching(now time.Time, r Request) (tasks []*Task, total int) {
	if r.Kind == Lookup {
		if task := s.readOne(now, r.ID); task != nil {
			tasks = append(tasks, task)
		}
		return tasks, len(tasks)
	}
	tasks, total = s.readAll(now)
	if r.Name != "" {
		tasks = named(tasks, r.Name)
		total = len(tasks)
	}
	return tasks, total
}

func (s *Service) serveCreate(now time.Time, r Request) outcome {
	switch k := s.knobs; {
	case s.chance(s.answers, k.Refused):
		return refusal(http.StatusBadRequest, errorBody("CDN.0001", "the time range is wrong"))
	case s.chance(s.answers, k.Dropped):
		return s.lost()
	case s.chance(s.answers, k.Lost):
		at := now
		if k.LostLate > 0 && s.answers.maybe(2) {
			at = now.Add(time.Duration(s.answers.Int64N(int64(k.LostLate))))
		}
		s.schedule(at, func(at time.Time) { s.create(at, r.Owner) })
		s.advance()
		return s.lost()
	}
	task := s.create(now, r.Owner)
	if s.knobs.NamesTask {
		return outcome{status: http.StatusOK, body: fmt.Sprintf(`{"task_id":%q}`, task.ID)}
	}
	return outcome{status: http.StatusOK}
}

// sleep waits for d, or until the context of req ends.
func sleep(req *http.Request, d time.Duration) error {
	if d <= 0 {
		return req.Context().Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-req.Context().Done():
		return req.Context().Err()
	}
}
