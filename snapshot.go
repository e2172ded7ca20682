package cdn

import (
	"cmp"
	"slices"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// row is a row of the list of tasks.
type row = movinglist.Row[ExportTask]

// snapshot holds the tasks that the list has shown. Each page is merged into it. It tells changes from old news by
// id and content, not by the newest stamp. The package comment of internal/movinglist says why no change is missed.
type snapshot struct {
	entries map[string]*entry
	oldest  *entry // the entries are linked in the order of their last changes
	newest  *entry
	changes int64 // how many changes were seen
	tick    int64 // how many merges there were, to compare two moments
	floor   int64 // every task with a later stamp is known; NoStamp if all tasks are

	// As the last reading showed the list.
	total int
	head  int64 // the first stamp, or the time of the reading if the stamp is in the future
	low   int64 // the last stamp; NoStamp if the reading reached the end
}

// entry is a task as the list showed it last. Its strings share no memory with the page.
type entry struct {
	task  ExportTask
	stamp int64
	// before is the content before the last change. A stale read shows it again.
	before content
	// reverted is the time since when the list shows before again, or zero.
	reverted time.Time
	// shown and confirmed are the ticks of the last merges of the task, and of the task with this content.
	shown, confirmed int64
	// confirmedBefore is the tick of the last merge of the content before the last change, or 0.
	confirmedBefore int64
	change          int64 // the number of the last change
	older, newer    *entry
}

// content is the part of a row that changes with the task. A download link may differ in each response.
type content struct {
	name   string
	status ExportTaskStatus
	stamp  int64
}

func contentOf(r row) content { return content{r.Value.TaskName, r.Value.Status, r.Stamp} }

func (e *entry) content() content { return content{e.task.TaskName, e.task.Status, e.stamp} }

// revertAfter is how long the list must show an earlier content before it counts as a change and not as stale.
const revertAfter = 10 * time.Second

func newSnapshot() *snapshot {
	return &snapshot{entries: make(map[string]*entry), floor: maxStamp}
}

// maxStamp is the floor of a snapshot that knows nothing.
const maxStamp = 1<<63 - 1

// news is the result of a merge.
type news struct {
	shown   int        // how many tasks the rows had
	changed bool       // whether any task is new or has changed
	created []creation // the tasks that were created since the first reading, the oldest first
}

// creation is a task that was created since the first reading.
type creation struct {
	task ExportTask
	// unsure reports whether the task may be an old one that changed, since it has no time of creation.
	unsure bool
}

// merge adds the rows of one reading, in the order of the list. The last of several rows of a task counts, since it
// was read last. Changes are numbered in the order of their stamps.
func (s *snapshot) merge(rows []row, now time.Time) news {
	s.tick++
	last := make(map[string]int, len(rows))
	for i, r := range rows {
		last[r.ID] = i
	}
	var latest []row
	for i, r := range slices.Backward(rows) {
		if r.ID != "" && last[r.ID] == i {
			latest = append(latest, r)
		}
	}
	slices.SortStableFunc(latest, func(a, b row) int { return cmp.Compare(a.Stamp, b.Stamp) })
	all := news{shown: len(latest)}
	for _, r := range latest {
		s.note(r, now, &all)
	}
	return all
}

// note adds one row.
func (s *snapshot) note(r row, now time.Time, all *news) {
	e := s.entries[r.ID]
	if e == nil {
		isNew := s.isAboveFloor(r.Stamp)
		all.changed = all.changed || isNew
		e = &entry{task: r.Value.unshared(), stamp: r.Stamp, shown: s.tick, confirmed: s.tick}
		s.entries[r.ID] = e
		s.moveToNewest(e)
		untimed := r.Created == movinglist.NoStamp
		if isNew && (untimed || s.isAboveFloor(r.Created)) {
			all.created = append(all.created, creation{e.task, untimed && s.floor != movinglist.NoStamp})
		}
		return
	}
	e.shown = s.tick
	if contentOf(r) == e.content() {
		e.confirmed, e.reverted = s.tick, time.Time{}
		if e.task.DownloadLink != r.Value.DownloadLink {
			e.task = r.Value.unshared()
		}
		return
	}
	if e.isStale(r, now) {
		return
	}
	all.changed = true
	e.before, e.confirmedBefore = e.content(), e.confirmed
	e.task, e.stamp = r.Value.unshared(), r.Stamp
	e.confirmed, e.reverted = s.tick, time.Time{}
	s.moveToNewest(e)
}

func (s *snapshot) isAboveFloor(stamp int64) bool {
	return s.floor == movinglist.NoStamp || stamp > s.floor
}

// isStale reports whether a row with another content is a stale read. A final status reverts only with a newer
// stamp. The content before the last change is a change back once the list has shown it for revertAfter.
func (e *entry) isStale(r row, now time.Time) bool {
	switch {
	case r.Stamp > e.stamp:
		return false
	case e.task.Status.Done() && !r.Value.Status.Done():
		return true
	case contentOf(r) != e.before:
		return false
	case e.reverted.IsZero():
		e.reverted = now
		return true
	}
	return now.Sub(e.reverted) < revertAfter
}

// isOld reports whether a row is old news: a known task with the same content, or an unknown one that is not new.
func (s *snapshot) isOld(r row) bool {
	e := s.entries[r.ID]
	if e == nil {
		return r.ID == "" || !s.isAboveFloor(r.Stamp)
	}
	return contentOf(r) == e.content()
}

// moveToNewest gives the entry the next number of a change.
func (s *snapshot) moveToNewest(e *entry) {
	s.unlink(e)
	s.changes++
	e.change = s.changes
	e.older = s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

func (s *snapshot) unlink(e *entry) {
	if e.older != nil {
		e.older.newer = e.newer
	} else if s.oldest == e {
		s.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else if s.newest == e {
		s.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// prune forgets tasks that the list has not shown since tick, beginning with those that it showed the longest time
// ago. It keeps more tasks than the list has: a cycle may miss a task, which would then count as new.
func (s *snapshot) prune(tick int64) {
	surplus := len(s.entries) - s.total - max(100, s.total/2)
	if surplus <= 0 {
		return
	}
	var gone []*entry
	for _, e := range s.entries {
		if e.shown < tick {
			gone = append(gone, e)
		}
	}
	slices.SortFunc(gone, func(a, b *entry) int { return cmp.Compare(a.shown, b.shown) })
	for _, e := range gone[:min(surplus, len(gone))] {
		s.unlink(e)
		delete(s.entries, e.task.TaskID)
	}
}

// bookmark is a moment of the snapshot, from which a watch yields changes.
type bookmark struct {
	tick   int64 // the tick of the reading
	change int64 // the number of the last change by then
	floor  int64 // the lower boundary of the reading
	head   int64 // the stamp of its first row
	start  int   // which run of the poller it was
}

// since returns the entries of the tasks that have changed since b, the first change first. A change of a task
// below the boundary of the bookmark counts if the task was seen unchanged after the bookmark.
func (s *snapshot) since(b bookmark) []*entry {
	var entries []*entry
	for e := s.newest; e != nil && e.change > b.change; e = e.older {
		if e.stamp > b.floor || b.floor == movinglist.NoStamp || e.confirmedBefore >= b.tick {
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	return entries
}
