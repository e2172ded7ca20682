package cdntest

import (
	"slices"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
)

// store holds the tasks. Each method first makes the changes that are due by the clock.
type store struct {
	clock func() time.Time

	mu      sync.Mutex
	tasks   taskList
	running []*task // those with steps to come, in the order of their last changes
	changes uint64
	replica *replica // what lists show; nil: the tasks themselves
}

func newStore(clock func() time.Time, lag time.Duration) *store {
	return &store{clock: clock, tasks: newTaskList(), replica: newReplica(lag)}
}

// lock locks the mutex, makes the changes that are due, and returns the time.
func (s *store) lock() time.Time {
	s.mu.Lock()
	now := milliseconds(s.clock())
	for t := s.nextDue(now); t != nil; t = s.nextDue(now) {
		s.takeStep(t)
	}
	s.replica.catchUp(now)
	return now
}

// nextDue returns the running task with the oldest change that has a step due, or nil.
func (s *store) nextDue(now time.Time) *task {
	at := slices.IndexFunc(s.running, func(t *task) bool { return !t.steps[0].at.After(now) })
	if at < 0 {
		return nil
	}
	return s.running[at]
}

func (s *store) takeStep(t *task) {
	next := t.steps[0]
	s.take(t)
	t.Status, t.UpdateTime, t.steps = next.status, milliseconds(next.at), t.steps[1:]
	s.place(t, t.UpdateTime)
}

// put adds a task, replaces one with the same id, and returns a copy.
func (s *store) put(t *task) task {
	now := s.lock()
	defer s.mu.Unlock()
	if old := s.tasks.byID[t.TaskID]; old != nil {
		s.take(old)
	}
	t.CreateTime, t.UpdateTime = milliseconds(t.CreateTime), milliseconds(t.UpdateTime)
	// A task with an update time in the past has existed since then.
	s.place(t, earlier(now, t.UpdateTime))
	s.replica.catchUp(now)
	return *t
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// place adds a task to the list by its update time. It counts as a change, made at the given time.
func (s *store) place(t *task, at time.Time) {
	s.changes++
	t.change = s.changes
	s.tasks.place(t)
	if len(t.steps) > 0 {
		s.running = append(s.running, t)
	}
	s.replica.note(at, *t)
}

// take is the reverse of place.
func (s *store) take(t *task) {
	s.tasks.take(t)
	s.running = slices.DeleteFunc(s.running, func(other *task) bool { return other == t })
}

func (s *store) update(id string, fn func(*cdn.ExportTask)) bool {
	now := s.lock()
	defer s.mu.Unlock()
	t := s.tasks.byID[id]
	if t == nil {
		return false
	}
	changed := t.ExportTask
	fn(&changed)
	changed.TaskID = id
	changed.CreateTime = milliseconds(changed.CreateTime)
	if changed.UpdateTime.Equal(t.UpdateTime) {
		changed.UpdateTime = now
	}
	changed.UpdateTime = milliseconds(changed.UpdateTime)

	s.take(t)
	if changed.Status != t.Status {
		t.steps = nil // a status that was set stays
	}
	t.ExportTask = changed
	s.place(t, now)
	return true
}

func (s *store) remove(id string) bool {
	now := s.lock()
	defer s.mu.Unlock()
	t := s.tasks.byID[id]
	if t == nil {
		return false
	}
	s.take(t)
	s.replica.noteRemoval(now, *t)
	return true
}

// setFile replaces a task's file. The task itself does not change.
func (s *store) setFile(id string, content []byte) bool {
	now := s.lock()
	defer s.mu.Unlock()
	t := s.tasks.byID[id]
	if t == nil {
		return false
	}
	t.file = newFile(content, now)
	s.replica.note(now, *t)
	return true
}

// fileOf returns the file of a task, nil if there is none.
func (s *store) fileOf(id string) *file {
	s.lock()
	defer s.mu.Unlock()
	t := s.tasks.byID[id]
	if t == nil {
		return nil
	}
	return t.file
}

// all returns copies of all tasks, newest first.
func (s *store) all() []task {
	s.lock()
	defer s.mu.Unlock()
	_, all := s.tasks.page(listQuery{limit: len(s.tasks.ordered)})
	return all
}

// page returns the number of tasks that match the query's filters, and copies of those on its page, newest first, both
// as lists show them.
func (s *store) page(q listQuery) (int, []task) {
	s.lock()
	defer s.mu.Unlock()
	if s.replica != nil {
		return s.replica.shown.page(q)
	}
	return s.tasks.page(q)
}
