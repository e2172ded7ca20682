package servicemodel

import (
	"slices"
	"time"
)

// This file is what tests ask: the truth behind the responses.

// Version is one state of a task.
type Version struct {
	At      time.Time
	Status  string
	Created bool // the first version
	Silent  bool // the stamp is that of the version before
	Removed bool
	// ListedAt and LookedUpAt are the moments from which each list, or look-up by id, shows this version or a
	// newer one. They are zero if a replica that counts changes still misses it.
	ListedAt, LookedUpAt time.Time
}

// Tasks returns the tasks that there are, in the order of the list.
func (s *Service) Tasks() []Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	var all []*Task
	for _, task := range s.tasks {
		all = append(all, task)
	}
	slices.SortFunc(all, func(a, b *Task) int { return b.moved - a.moved })
	var tasks []Task
	for _, task := range all {
		tasks = append(tasks, *task)
	}
	return tasks
}

// Task returns the task as it is.
func (s *Service) Task(id string) (Task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	if task := s.tasks[id]; task != nil {
		return *task, true
	}
	return Task{}, false
}

// Versions returns what each task has been, the oldest first. A task of Fill begins with a version without
// times, if it has changed at all.
func (s *Service) Versions() map[string][]Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	versions := make(map[string][]Version)
	for i, c := range s.history {
		v := Version{At: c.at, Created: c.before == nil, Removed: c.after == nil}
		shownAt := c.at
		if c.after != nil {
			v.Status = c.after.Status
			v.Silent = c.before != nil && c.before.Updated == c.after.Updated
			shownAt = later(shownAt, c.after.shownAt)
		}
		v.ListedAt = s.caughtUp(i, s.knobs.List, shownAt)
		v.LookedUpAt = s.caughtUp(i, s.knobs.Lookup, c.at)
		if versions[c.id] == nil && c.before != nil {
			versions[c.id] = []Version{{Status: c.before.Status}}
		}
		versions[c.id] = append(versions[c.id], v)
	}
	return versions
}

// caughtUp returns the moment from which all replicas show change i, which lists show no earlier than from.
func (s *Service) caughtUp(i int, replica Replica, from time.Time) time.Time {
	from = later(from, s.history[i].at.Add(replica.Delay))
	if replica.Changes > 0 {
		last := i + replica.Changes
		if last >= len(s.history) {
			return time.Time{}
		}
		from = later(from, s.history[last].at)
	}
	return from
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Requests returns all requests so far.
func (s *Service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns how many requests there were so far, of the kinds given or of all.
func (s *Service) Count(kinds ...Kind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.log {
		if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
			n++
		}
	}
	return n
}

// Before has f called for each request that arrives, before it is served. f may call the service.
func (s *Service) Before(f func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// CreatedBy returns the ids of the tasks that requests of owner created, removed ones too.
func (s *Service) CreatedBy(owner string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	var ids []string
	for _, c := range s.history {
		if c.before == nil && c.after.Owner == owner {
			ids = append(ids, c.id)
		}
	}
	return ids
}
