// Package servicemodel is a model of the export-tasks service that misbehaves on demand, for tests.
//
// A Service holds the tasks of one account in memory and is the http.RoundTripper that a client under test
// sends its requests to. Knobs say how it differs from an ideal service. It starts no goroutine and uses
// the time package only, so it runs in fake time inside a testing/synctest bubble. What others do to the
// tasks happens when the clock has passed it, at the next access. All chance comes from Knobs.Seed: the
// same requests at the same moments get the same responses.
package servicemodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Task is one task of the account.
type Task struct {
	ID      string
	Name    string
	Status  string
	Link    string
	Created int64  // create_time, milliseconds since 1970; 0 is absent
	Updated int64  // update_time, milliseconds since 1970; 0 is absent
	Owner   string // the domain_name of the request that created it; empty for others

	born     time.Time // the true moment of creation
	moved    int       // the number of the change that moved it last
	shownAt  time.Time // the moment from which lists show it
	scripted bool      // made by a test: others leave it alone
}

// Done reports whether the status is final.
func (t Task) Done() bool { return t.Status == "success" || t.Status == "fail" }

// change is one change of one task; before or after is nil for a creation or a removal.
type change struct {
	at            time.Time
	id            string
	before, after *Task
}

// Service is the service. It is safe for concurrent use.
type Service struct {
	knobs Knobs

	mu      sync.Mutex
	start   time.Time
	tasks   map[string]*Task // never changed in place, so that history can keep them
	history []change
	due     []scheduled // by time, for what will happen
	nextAt  time.Time   // of the next change by others
	others  drawer      // chance of the changes
	answers drawer      // chance of the responses
	skews   []time.Duration
	created int // tasks made by create
	changes int // by others
	moves   int // changes that moved a task in the list
	log     []Request
	before  func(Request)
	odd     Oddity
}

type scheduled struct {
	at time.Time
	do func(at time.Time)
}

// New returns a service without tasks that begins now.
func New(k Knobs) *Service {
	now := time.Now()
	s := &Service{
		knobs:   k,
		start:   now,
		tasks:   make(map[string]*Task),
		others:  drawer{rand.New(rand.NewPCG(k.Seed, 1))},
		answers: drawer{rand.New(rand.NewPCG(k.Seed, 2))},
	}
	for range max(1, k.Nodes) {
		skew := time.Duration(0)
		if k.Skew > 0 {
			skew = time.Duration(s.others.Int64N(int64(2*k.Skew))) - k.Skew
		}
		s.skews = append(s.skews, skew)
	}
	s.nextAt = now.Add(s.gap())
	return s
}

// Fill adds n tasks as they would be if they had been created and finished one by one in the past.
func (s *Service) Fill(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	for i := range n {
		at := now.Add(-time.Duration(n-i) * s.spacing())
		task := s.newTask(at, fmt.Sprintf("old-%d", i), "success")
		if s.others.maybe(5) {
			task.Status = "processing"
		}
		task.shownAt = time.Time{}
		s.commit(at, task.ID, task)
	}
	s.history = nil // it was before the beginning: no read is that far behind
}

// spacing returns the time between two tasks of Fill. Bursts give equal stamps.
func (s *Service) spacing() time.Duration {
	if s.knobs.Stamps == Seconds {
		return 20 * time.Millisecond
	}
	return time.Second
}

// Change is what a test does to a task.
type Change struct {
	ID     string
	Status string
	Silent bool // the stamp stays
	Remove bool
}

// Apply makes a change after a delay, or at once for 0. A task that is unknown is created. From then on others
// leave the task alone.
func (s *Service) Apply(after time.Duration, c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	if after <= 0 {
		s.apply(now, c)
		return
	}
	s.schedule(now.Add(after), func(at time.Time) { s.apply(at, c) })
}

func (s *Service) apply(at time.Time, c Change) {
	old := s.tasks[c.ID]
	switch {
	case c.Remove:
		if old != nil {
			s.commit(at, c.ID, nil)
		}
	case old == nil:
		task := s.newTask(at, c.ID, c.Status)
		task.scripted = true
		s.commit(at, c.ID, task)
	default:
		s.setStatus(at, old, c.Status, c.Silent)
		s.tasks[c.ID].scripted = true
	}
}

// Quiet ends the changes by others. What was scheduled still happens.
func (s *Service) Quiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	s.knobs.Every = 0
	s.nextAt = time.Time{}
}

// Adjust changes knobs from now on. Nodes, Skew and Seed keep their values.
func (s *Service) Adjust(change func(*Knobs)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	every := s.knobs.Every
	change(&s.knobs)
	if s.knobs.Every != every {
		s.nextAt = now.Add(s.gap())
	}
}

// advance makes everything happen that is due, and returns the present.
func (s *Service) advance() time.Time {
	now := time.Now()
	for {
		byOthers := s.knobs.Every > 0 && !s.nextAt.After(now)
		if len(s.due) > 0 && !s.due[0].at.After(now) && (!byOthers || !s.due[0].at.After(s.nextAt)) {
			first := s.due[0]
			s.due = s.due[1:]
			first.do(first.at)
			continue
		}
		if !byOthers {
			return now
		}
		at := s.nextAt
		s.byOthers(at)
		s.nextAt = at.Add(s.gap())
		if s.changes++; s.changes == s.knobs.Changes {
			s.knobs.Every = 0
		}
	}
}

func (s *Service) schedule(at time.Time, do func(time.Time)) {
	i, _ := slices.BinarySearchFunc(s.due, at, func(d scheduled, at time.Time) int {
		if d.at.After(at) {
			return 1
		}
		return -1
	})
	s.due = slices.Insert(s.due, i, scheduled{at, do})
}

// gap draws the time to the next change by others.
func (s *Service) gap() time.Duration {
	if s.knobs.Every <= 0 {
		return 0
	}
	return 1 + time.Duration(s.others.Int64N(2*int64(s.knobs.Every)))
}

// commit makes after the state of a task, nil for a removed one.
func (s *Service) commit(at time.Time, id string, after *Task) {
	s.history = append(s.history, change{at, id, s.tasks[id], after})
	if after == nil {
		delete(s.tasks, id)
		return
	}
	s.tasks[id] = after
}

// stamp is the time at by the clock of one of the nodes, in milliseconds.
func (s *Service) stamp(at time.Time) int64 {
	if s.knobs.Stamps == Equal {
		return s.start.UnixMilli()
	}
	at = at.Add(s.skews[s.others.IntN(len(s.skews))])
	if s.chance(s.others, s.knobs.Future) {
		at = at.Add(FutureBy)
	}
	if s.knobs.Stamps == Seconds {
		at = at.Truncate(time.Second)
	}
	return at.UnixMilli()
}
