package cdntest

import (
	"fmt"
	"slices"
	"time"
)

// WithListLag makes lists show the tasks as they were d ago, as a replica that is d behind. A list by task_id or
// task_name is as late. The tasks keep the times at which they changed. A task that [Server.AddTask] adds with an
// update time in the past has existed since then.
//
// [Server.Tasks] and downloads have no lag. The default is 0: a list shows each change at once.
func WithListLag(d time.Duration) Option {
	return func(c *config) { c.listLag = d }
}

func (c *config) checkListLag() error {
	if c.listLag < 0 {
		return fmt.Errorf("WithListLag: %v is negative", c.listLag)
	}
	return nil
}

// replica has the tasks that lists show, as they were some time ago. A nil replica ignores changes.
type replica struct {
	lag   time.Duration
	shown taskList
	late  []lateChange // those of one task are in the order of their times
}

// lateChange is a change that the replica does not show yet.
type lateChange struct {
	at      time.Time
	task    task // as it is after the change
	removed bool
}

// newReplica returns nil if there is no lag.
func newReplica(lag time.Duration) *replica {
	if lag == 0 {
		return nil
	}
	return &replica{lag: lag, shown: newTaskList()}
}

// note adds a change of t, which was made at the given time.
func (r *replica) note(at time.Time, t task) {
	if r != nil {
		r.add(lateChange{at: at, task: t})
	}
}

// noteRemoval adds the removal of t.
func (r *replica) noteRemoval(at time.Time, t task) {
	if r != nil {
		r.add(lateChange{at: at, task: t, removed: true})
	}
}

// add keeps the changes of one task in order, also if a test sets times that are not.
func (r *replica) add(c lateChange) {
	for _, pending := range r.late {
		if pending.task.TaskID == c.task.TaskID && pending.at.After(c.at) {
			c.at = pending.at
		}
	}
	r.late = append(r.late, c)
}

// catchUp shows the changes that are at least one lag old.
func (r *replica) catchUp(now time.Time) {
	if r == nil {
		return
	}
	r.late = slices.DeleteFunc(r.late, func(c lateChange) bool {
		if c.at.Add(r.lag).After(now) {
			return false
		}
		r.show(c)
		return true
	})
}

func (r *replica) show(c lateChange) {
	if old := r.shown.byID[c.task.TaskID]; old != nil {
		r.shown.take(old)
	}
	if !c.removed {
		r.shown.place(&c.task)
	}
}
