package servicemodel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// byOthers is one change by another user of the account, or by the service itself.
func (s *Service) byOthers(at time.Time) {
	kind := s.others.IntN(max(1, s.knobs.Creates+s.knobs.Flips+s.knobs.Removals))
	if kind < s.knobs.Creates {
		s.create(at, "")
		return
	}
	id, ok := s.anyTask()
	switch {
	case !ok:
	case kind < s.knobs.Creates+s.knobs.Flips:
		if task := s.tasks[id]; !task.Done() {
			s.setStatus(at, task, s.someStatus(), s.chance(s.others, s.knobs.Silent))
		}
	default:
		s.commit(at, id, nil)
	}
}

// anyTask draws a task that others may change.
func (s *Service) anyTask() (id string, ok bool) {
	ids := slices.Sorted(maps.Keys(s.tasks))
	ids = slices.DeleteFunc(ids, func(id string) bool { return s.tasks[id].scripted || s.tasks[id].Owner != "" })
	if len(ids) == 0 {
		return "", false
	}
	return ids[s.others.IntN(len(ids))], true
}

func (s *Service) someStatus() string {
	return []string{"waiting", "processing", "cancelled", "", "success", "success", "fail"}[s.others.IntN(7)]
}

func (s *Service) chance(d drawer, p float64) bool { return p > 0 && d.Float64() < p }

// create adds a task for a request, or for another user if owner is empty.
func (s *Service) create(at time.Time, owner string) *Task {
	s.created++
	// The ids tell nothing of the order.
	task := s.newTask(at, fmt.Sprintf("%04x-%d", s.others.IntN(1<<16), s.created), "waiting")
	task.Owner = owner
	s.commit(at, task.ID, task)
	s.retain(at)
	if s.knobs.WorkMax > 0 {
		s.work(at, task.ID)
	}
	return task
}

// work schedules the life of a task.
func (s *Service) work(at time.Time, id string) {
	total := s.knobs.WorkMin + time.Duration(s.others.Int64N(int64(s.knobs.WorkMax-s.knobs.WorkMin)+1))
	final := "success"
	if s.chance(s.others, s.knobs.Fails) {
		final = "fail"
	}
	s.goesOn(at.Add(total/3), id, "processing")
	s.goesOn(at.Add(total), id, final)
}

// goesOn schedules a change of status of a task that is not finished by then.
func (s *Service) goesOn(at time.Time, id, status string) {
	silent := s.chance(s.others, s.knobs.Silent)
	s.schedule(at, func(at time.Time) {
		if task := s.tasks[id]; task != nil && !task.Done() {
			s.setStatus(at, task, status, silent)
		}
	})
}

// retain drops the oldest tasks that are too many.
func (s *Service) retain(at time.Time) {
	for s.knobs.Retention > 0 && len(s.tasks) > s.knobs.Retention {
		oldest := slices.MinFunc(slices.Collect(maps.Values(s.tasks)), func(a, b *Task) int {
			return cmp.Or(a.born.Compare(b.born), cmp.Compare(a.ID, b.ID))
		})
		s.commit(at, oldest.ID, nil)
	}
}

func (s *Service) newTask(at time.Time, id, status string) *Task {
	task := &Task{ID: id, Name: "task " + id, Status: status, Created: s.stamp(at), born: at, shownAt: at}
	s.moves++
	task.moved = s.moves
	if !s.knobs.NoStamp {
		task.Updated = task.Created
	}
	if lag := s.knobs.ListLag; lag > 0 {
		// Half of the tasks are as late as can be.
		if s.others.maybe(2) {
			lag = time.Duration(s.others.Int64N(int64(lag)))
		}
		task.shownAt = at.Add(lag)
	}
	task.finish()
	return task
}

// finish gives a task that has succeeded its link.
func (t *Task) finish() {
	if t.Status == "success" {
		t.Link = "https://obs.example.com/" + t.ID
	}
}

func (s *Service) setStatus(at time.Time, old *Task, status string, silent bool) {
	task := *old
	task.Status = status
	if !silent {
		task.Updated = s.stamp(at)
		s.moves++
		task.moved = s.moves
	}
	task.finish()
	s.commit(at, task.ID, &task)
}
