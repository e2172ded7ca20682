package servicemodel

import (
	"cmp"
	"slices"
	"time"
)

// maxPage is the most tasks of a page, as the service documents it.
const maxPage = 100

// readAll returns the tasks that an unfiltered list shows now, in its order, and its total.
func (s *Service) readAll(now time.Time) (tasks []*Task, total int) {
	tasks = shown(s.read(now, s.knobs.List), now)
	total = len(tasks)
	if s.knobs.TotalLag > 0 {
		then := now.Add(-s.knobs.TotalLag)
		total = len(shown(s.stateAt(then, 0), then))
	}
	if s.knobs.EmptyRow {
		tasks = append(tasks, &Task{Status: "success", Created: s.start.UnixMilli(), Updated: s.start.UnixMilli()})
		total++
	}
	s.sort(tasks)
	return tasks, max(0, total+s.knobs.TotalOff)
}

// readOne returns the task that a look-up by id shows now, or nil.
func (s *Service) readOne(now time.Time, id string) *Task {
	for _, task := range s.read(now, s.knobs.Lookup) {
		if task.ID == id {
			return task
		}
	}
	return nil
}

// read returns the tasks that one replica has.
func (s *Service) read(now time.Time, replica Replica) []*Task {
	missed := 0
	if replica.Changes > 0 {
		missed = s.answers.IntN(replica.Changes + 1)
	}
	return s.stateAt(now.Add(-s.age(replica.Delay)), missed)
}

// age draws how old a read is: a third is current, and a third as old as can be.
func (s *Service) age(oldest time.Duration) time.Duration {
	if oldest <= 0 || s.answers.maybe(3) {
		return 0
	}
	if s.answers.maybe(2) {
		return oldest
	}
	return time.Duration(s.answers.Int64N(int64(oldest)))
}

// stateAt returns the tasks at the time then, without the last changes, missed at least.
func (s *Service) stateAt(then time.Time, missed int) []*Task {
	undone := make(map[string]*Task)
	for _, c := range slices.Backward(s.history) {
		if !c.at.After(then) && missed <= 0 {
			break
		}
		missed--
		undone[c.id] = c.before
	}
	tasks := make([]*Task, 0, len(s.tasks)+len(undone))
	for id, task := range s.tasks {
		if _, ok := undone[id]; !ok {
			tasks = append(tasks, task)
		}
	}
	for _, task := range undone {
		if task != nil {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// shown returns the tasks that lists show at the time then.
func shown(tasks []*Task, then time.Time) []*Task {
	return slices.DeleteFunc(tasks, func(task *Task) bool { return task.shownAt.After(then) })
}

// sort puts tasks into the order of the list.
func (s *Service) sort(tasks []*Task) {
	byMove := func(a, b *Task) int { return cmp.Compare(b.moved, a.moved) }
	slices.SortFunc(tasks, byMove) // they come from maps
	if s.knobs.Order == ByChange {
		return
	}
	switch s.knobs.Ties {
	case TiesOldestFirst:
		slices.Reverse(tasks)
	case TiesShuffled:
		s.answers.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	}
	slices.SortStableFunc(tasks, func(a, b *Task) int { return cmp.Compare(b.changed(), a.changed()) })
}

// changed is the stamp that counts for the order.
func (t *Task) changed() int64 {
	if t.Updated == 0 {
		return t.Created
	}
	return t.Updated
}

// page returns the tasks of the page at offset.
func (s *Service) page(tasks []*Task, offset, limit int) []*Task {
	most := maxPage
	if s.knobs.PageCap > 0 {
		most = min(most, s.knobs.PageCap)
	}
	offset = min(offset, len(tasks))
	return tasks[offset:min(offset+min(limit, most), len(tasks))]
}
