package movinglist

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
)

// model is a list as a service may keep it: sorted by stamp, newest first. ties is the order of equal stamps.
type model struct {
	tasks   []task
	ms      int64
	changes int
	nextID  int
	ties    order
	pageCap int
	removed map[string]bool
}

type task struct {
	id      string
	stamp   int64
	created int64
	number  int // the order of creation
	changed int // the order of changes
}

// order compares two tasks with equal stamps.
type order func(a, b task) int

func lastChangeFirst(a, b task) int { return cmp.Compare(b.changed, a.changed) }
func oldestFirst(a, b task) int     { return cmp.Compare(a.number, b.number) }
func byID(a, b task) int            { return strings.Compare(a.id, b.id) }

func (m *model) sort() {
	slices.SortFunc(m.tasks, func(a, b task) int { return cmp.Or(cmp.Compare(b.stamp, a.stamp), m.ties(a, b)) })
}

func (m *model) insert() {
	m.nextID++
	m.changes++
	// The ids do not sort by age.
	m.tasks = append(m.tasks, task{fmt.Sprintf("%02x-%d", m.nextID*37%256, m.nextID), m.ms, m.ms, m.nextID, m.changes})
	m.sort()
}

func (m *model) update(i int) {
	m.changes++
	m.tasks[i].stamp, m.tasks[i].changed = m.ms, m.changes
	m.sort()
}

func (m *model) remove(i int) {
	m.removed[m.tasks[i].id] = true
	m.tasks = slices.Delete(m.tasks, i, i+1)
}

func (m *model) page(offset, limit int) Page[int] {
	if m.pageCap > 0 {
		limit = min(limit, m.pageCap)
	}
	page := Page[int]{Total: len(m.tasks)}
	for i := offset; i < min(offset+limit, len(m.tasks)); i++ {
		page.Rows = append(page.Rows, Row[int]{ID: m.tasks[i].id, Stamp: m.tasks[i].stamp, Created: m.tasks[i].created, Value: i})
	}
	return page
}

// readAll reads the model with All. between runs before each request but the first.
func readAll(m *model, limit int, between func()) (ids []string, requests int, err error) {
	err = all(func(time.Duration) error { return nil }, func(offset int) (Page[int], error) {
		if requests > 0 {
			between()
		}
		requests++
		return m.page(offset, limit), nil
	}, limit, func(row Row[int]) bool {
		ids = append(ids, row.ID)
		return true
	})
	return ids, requests, err
}

// newModel returns a list of n tasks, one changed each millisecond or all in the same one.
func newModel(n int, spread bool) *model {
	m := &model{ms: 1, ties: lastChangeFirst, removed: map[string]bool{}}
	for range n {
		if spread {
			m.ms++
		}
		m.nextID++
		m.changes++
		m.tasks = append(m.tasks, task{fmt.Sprintf("task-%d", m.nextID), m.ms, m.ms, m.nextID, m.changes})
	}
	m.sort()
	return m
}

func (m *model) ids() []string {
	var ids []string
	for _, task := range m.tasks {
		ids = append(ids, task.id)
	}
	return ids
}

// checkComplete checks that got has each id once, and each id of begin that was not removed.
func (m *model) checkComplete(t assert.TestingT, begin, got []string) {
	sorted := slices.Sorted(slices.Values(got))
	assert.Len(t, slices.Compact(sorted), len(got), "each id once")
	for _, id := range begin {
		if _, ok := slices.BinarySearch(sorted, id); !ok {
			assert.True(t, m.removed[id], "%s is missing", id)
		}
	}
}
