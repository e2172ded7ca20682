package cdntest

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
)

// task is an export task and what is behind it.
type task struct {
	cdn.ExportTask // its DownloadLink is one that a test gave; others are made for each answer

	file   *file  // nil where there is none
	steps  []step // the changes of status to come, in order
	change uint64 // the number of its last change, to order changes of one millisecond
}

// byChange orders tasks as the list does, but oldest change first, so that the usual change, which
// is the latest, goes to the end of the slice.
func byChange(a, b *task) int {
	return cmp.Or(a.UpdateTime.Compare(b.UpdateTime), cmp.Compare(a.change, b.change))
}

// store holds the tasks in the order of the list. Each of its methods first lets happen what is due
// by the clock.
type store struct {
	clock func() time.Time

	mu      sync.Mutex
	byID    map[string]*task
	ordered []*task // by byChange
	running []*task // those with steps to come, in the order of their last changes
	changes uint64
}

func newStore(clock func() time.Time) *store {
	return &store{clock: clock, byID: make(map[string]*task)}
}

// lock takes the mutex, brings the store up to date and returns the present.
func (s *store) lock() time.Time {
	s.mu.Lock()
	now := milliseconds(s.clock())
	for t := s.nextDue(now); t != nil; t = s.nextDue(now) {
		s.takeStep(t)
	}
	return now
}

// nextDue is a running task with a step that is due, nil if there is none; of several, the one that
// has not changed for longest.
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
	s.place(t)
}

// put adds a task, in place of one with the same id, and returns it as it then is.
func (s *store) put(t *task) task {
	s.lock()
	defer s.mu.Unlock()
	if old := s.byID[t.TaskID]; old != nil {
		s.take(old)
	}
	t.CreateTime, t.UpdateTime = milliseconds(t.CreateTime), milliseconds(t.UpdateTime)
	s.place(t)
	return *t
}

// place puts a task where its update time belongs. It counts as a change.
func (s *store) place(t *task) {
	s.changes++
	t.change = s.changes
	at, _ := slices.BinarySearchFunc(s.ordered, t, byChange)
	s.ordered = slices.Insert(s.ordered, at, t)
	s.byID[t.TaskID] = t
	if len(t.steps) > 0 {
		s.running = append(s.running, t)
	}
}

// take is the reverse of place.
func (s *store) take(t *task) {
	at, _ := slices.BinarySearchFunc(s.ordered, t, byChange)
	s.ordered = slices.Delete(s.ordered, at, at+1)
	delete(s.byID, t.TaskID)
	s.running = slices.DeleteFunc(s.running, func(other *task) bool { return other == t })
}

func (s *store) update(id string, fn func(*cdn.ExportTask)) bool {
	now := s.lock()
	defer s.mu.Unlock()
	t := s.byID[id]
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
	s.place(t)
	return true
}

func (s *store) remove(id string) bool {
	s.lock()
	defer s.mu.Unlock()
	t := s.byID[id]
	if t == nil {
		return false
	}
	s.take(t)
	return true
}

// setFile replaces a task's file; that is no change of the task.
func (s *store) setFile(id string, content []byte) bool {
	now := s.lock()
	defer s.mu.Unlock()
	t := s.byID[id]
	if t == nil {
		return false
	}
	t.file = newFile(content, now)
	return true
}

// fileOf returns the file of a task, nil if there is none.
func (s *store) fileOf(id string) *file {
	s.lock()
	defer s.mu.Unlock()
	t := s.byID[id]
	if t == nil {
		return nil
	}
	return t.file
}

// page returns how many tasks pass the query's filters, and copies of those on its page, newest
// first.
func (s *store) page(q listQuery) (int, []task) {
	s.lock()
	defer s.mu.Unlock()
	if q.taskID == "" && q.taskName == "" {
		return len(s.ordered), copyPage(s.ordered, q)
	}
	var kept []*task
	for _, t := range s.ordered {
		if q.keeps(t) {
			kept = append(kept, t)
		}
	}
	return len(kept), copyPage(kept, q)
}

// copyPage copies a page from tasks in the order of byChange.
func copyPage(tasks []*task, q listQuery) []task {
	end := len(tasks) - min(q.offset, len(tasks))
	start := end - min(q.limit, end)
	page := make([]task, 0, end-start)
	for _, t := range slices.Backward(tasks[start:end]) {
		page = append(page, *t)
	}
	return page
}
