package cdntest

import (
	"cmp"
	"slices"

	"example.com/huaweicloud/cdn"
)

// task is an export task with its file and the changes to come.
type task struct {
	cdn.ExportTask // its DownloadLink is one that a test gave; others are made for each response

	file   *file  // nil if there is none
	steps  []step // the changes of status to come, in order
	change uint64 // the number of its last change, to order changes of one millisecond
}

// byChange orders tasks by their changes, oldest first: the reverse of the list, so that the latest change is appended.
func byChange(a, b *task) int {
	return cmp.Or(a.UpdateTime.Compare(b.UpdateTime), cmp.Compare(a.change, b.change))
}

// taskList holds tasks by their ids and in the order of the list.
type taskList struct {
	byID    map[string]*task
	ordered []*task // by byChange
}

func newTaskList() taskList { return taskList{byID: make(map[string]*task)} }

// place adds a task that is not in the list.
func (l *taskList) place(t *task) {
	at, _ := slices.BinarySearchFunc(l.ordered, t, byChange)
	l.ordered = slices.Insert(l.ordered, at, t)
	l.byID[t.TaskID] = t
}

// take removes a task of the list, which must be as it was when it was placed.
func (l *taskList) take(t *task) {
	at, _ := slices.BinarySearchFunc(l.ordered, t, byChange)
	l.ordered = slices.Delete(l.ordered, at, at+1)
	delete(l.byID, t.TaskID)
}

// page returns the number of tasks that match the query's filters, and copies of those on its page, newest first.
func (l *taskList) page(q listQuery) (int, []task) {
	if q.taskID == "" && q.taskName == "" {
		return len(l.ordered), copyPage(l.ordered, q)
	}
	var kept []*task
	for _, t := range l.ordered {
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
