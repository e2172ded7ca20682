package cdn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// listModel is the service's list as far as the reader can tell: sorted by time of change, newest
// first, with one of the orders that the service may have within a millisecond.
type listModel struct {
	tasks   []modelTask
	ms      int64
	changes int
	nextID  int
	ties    tieOrder
	pageCap int
	removed map[string]bool
}

type modelTask struct {
	id      string
	updated int64
	created int // the order of creation
	changed int // the order of changes
}

// tieOrder compares two tasks that changed in the same millisecond.
type tieOrder func(a, b modelTask) int

var tieOrders = map[string]tieOrder{
	"the later change first": func(a, b modelTask) int { return cmp.Compare(b.changed, a.changed) },
	"the older task first":   func(a, b modelTask) int { return cmp.Compare(a.created, b.created) },
	"by id":                  func(a, b modelTask) int { return strings.Compare(a.id, b.id) },
}

func (m *listModel) sort() {
	slices.SortFunc(m.tasks, func(a, b modelTask) int {
		return cmp.Or(cmp.Compare(b.updated, a.updated), m.ties(a, b))
	})
}

func (m *listModel) insert() {
	m.nextID++
	m.changes++
	// Ids that do not sort by age.
	id := fmt.Sprintf("%02x-%d", m.nextID*37%256, m.nextID)
	m.tasks = append(m.tasks, modelTask{id, m.ms, m.nextID, m.changes})
	m.sort()
}

func (m *listModel) update(i int) {
	m.changes++
	m.tasks[i].updated, m.tasks[i].changed = m.ms, m.changes
	m.sort()
}

func (m *listModel) remove(i int) {
	m.removed[m.tasks[i].id] = true
	m.tasks = slices.Delete(m.tasks, i, i+1)
}

func (m *listModel) page(offset, limit int) *ListExportTasksResponse {
	if m.pageCap > 0 {
		limit = min(limit, m.pageCap)
	}
	page := &ListExportTasksResponse{Total: len(m.tasks)}
	for i := offset; i < min(offset+limit, len(m.tasks)); i++ {
		page.Data = append(page.Data, ExportTask{TaskID: m.tasks[i].id, UpdateTime: time.UnixMilli(m.tasks[i].updated)})
	}
	return page
}

// readList reads the model as ExportTasks reads the service; between runs before each request but the
// first.
func readList(m *listModel, limit int, between func()) (ids []string, requests int, err error) {
	r := newListReader(0, func(task ExportTask, _ error) bool {
		ids = append(ids, task.TaskID)
		return true
	})
	r.list = func(offset int) (*ListExportTasksResponse, error) {
		if requests > 0 {
			between()
		}
		requests++
		return m.page(offset, limit), nil
	}
	err = r.read()
	return ids, requests, err
}

// TestExportTasksMissesNothing draws lists, ways of moving them, and orders within a millisecond.
func TestExportTasksMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SampledFrom(slices.Sorted(mapKeys(tieOrders))).Draw(t, "order within a millisecond")
		m := &listModel{ms: 1, ties: tieOrders[order], removed: map[string]bool{}}
		// How often the clock ticks: from never to at each change.
		tick := rapid.IntRange(0, 3).Draw(t, "ticks per change")
		advance := func() {
			if tick > 0 && rapid.IntRange(0, 3).Draw(t, "tick") < tick {
				m.ms++
			}
		}
		for range rapid.IntRange(0, 25).Draw(t, "tasks") {
			advance()
			m.insert()
		}
		limit := rapid.IntRange(2, 8).Draw(t, "limit")
		m.pageCap = rapid.SampledFrom([]int{0, 0, 2, 3}).Draw(t, "cap")
		budget := rapid.IntRange(0, 40).Draw(t, "changes")
		atBegin := []string{}
		for _, task := range m.tasks {
			atBegin = append(atBegin, task.id)
		}
		got, _, err := readList(m, limit, func() {
			for range rapid.IntRange(0, min(3, budget)).Draw(t, "changes between two requests") {
				budget--
				advance()
				kind := rapid.IntRange(0, 2).Draw(t, "kind")
				switch {
				case len(m.tasks) == 0 || kind == 0:
					m.insert()
				case kind == 1:
					m.update(rapid.IntRange(0, len(m.tasks)-1).Draw(t, "update"))
				default:
					m.remove(rapid.IntRange(0, len(m.tasks)-1).Draw(t, "remove"))
				}
			}
		})
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, id := range got {
			require.False(t, seen[id], "%s twice", id)
			seen[id] = true
		}
		for _, id := range atBegin {
			require.True(t, seen[id] || m.removed[id], "%s missed", id)
		}
	})
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// newModel has n tasks, one changed each millisecond or all in the same one.
func newModel(n int, spread bool) *listModel {
	m := &listModel{ms: 1, ties: tieOrders["the later change first"], removed: map[string]bool{}}
	for range n {
		if spread {
			m.ms++
		}
		m.nextID++
		m.changes++
		m.tasks = append(m.tasks, modelTask{fmt.Sprintf("task-%d", m.nextID), m.ms, m.nextID, m.changes})
	}
	m.sort()
	return m
}

func TestExportTasksRequestsOnAQuietList(t *testing.T) {
	tests := []struct {
		name         string
		tasks, limit int
		spread       bool
		pageCap      int
		want         int
	}{
		{"empty", 0, 100, true, 0, 1},
		{"one page", 100, 100, true, 0, 1},
		{"a page and one", 101, 100, true, 0, 3},
		{"ten pages", 1000, 100, true, 0, 12},
		{"ten pages changed in one millisecond", 1000, 100, false, 0, 12},
		{"pages of two", 10, 2, true, 0, 10},
		{"capped pages", 1000, 1000, true, 100, 12},
		{"pages capped at one", 5, 100, true, 1, 6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newModel(test.tasks, test.spread)
			m.pageCap = test.pageCap
			got, requests, err := readList(m, test.limit, func() {})
			require.NoError(t, err)
			assert.Len(t, got, test.tasks)
			assert.Equal(t, test.want, requests)
		})
	}
}

// Movements that a plain reader, or an earlier version of this one, would have been misled by.
func TestExportTasksOnMovingLists(t *testing.T) {
	tests := []struct {
		name    string
		tasks   int
		limit   int
		changes map[int]func(*listModel) // before the request with this number, from 1
	}{
		{"a removal pulls an unread task above the next page", 6, 3, map[int]func(*listModel){1: func(m *listModel) { m.remove(0) }}},
		{"many removals", 12, 3, map[int]func(*listModel){3: func(m *listModel) {
			for range 5 {
				m.remove(0)
			}
		}}},
		{"a removal and an arrival hide each other", 6, 3, map[int]func(*listModel){1: func(m *listModel) { m.remove(1); m.ms++; m.insert() }}},
		{"an unread task jumps to the head", 9, 3, map[int]func(*listModel){2: func(m *listModel) { m.ms++; m.update(8) }}},
		{"an unread task jumps while the head is read again", 9, 3, map[int]func(*listModel){
			2: func(m *listModel) {
				m.ms++
				for range 4 {
					m.update(8)
				}
			},
			6: func(m *listModel) { m.ms++; m.update(3) },
		}},
		{"more arrivals than a page", 6, 3, map[int]func(*listModel){1: func(m *listModel) {
			for range 10 {
				m.ms++
				m.insert()
			}
		}}},
		{"everything is removed", 9, 3, map[int]func(*listModel){2: func(m *listModel) { m.tasks, m.removed = nil, allRemoved(m) }}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newModel(test.tasks, true)
			begin := slices.Clone(m.tasks)
			number := 0
			got, _, err := readList(m, test.limit, func() {
				number++
				if change, ok := test.changes[number]; ok {
					change(m)
				}
			})
			require.NoError(t, err)
			assert.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), len(got), "each once")
			for _, task := range begin {
				assert.True(t, m.removed[task.id] || slices.Contains(got, task.id), "%s missed", task.id)
			}
		})
	}
}

func allRemoved(m *listModel) map[string]bool {
	removed := map[string]bool{}
	for _, task := range m.tasks {
		removed[task.id] = true
	}
	return removed
}

// exportTasksFrom is a client whose pages come from page.
func exportTasksFrom(t *testing.T, page func(offset, limit int) string) (*CdnClient, *int) {
	requests := new(int)
	return newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		*requests++
		query, err := url.ParseQuery(req.URL.RawQuery)
		require.NoError(t, err)
		number := func(key string, absent int) int {
			if !query.Has(key) {
				return absent
			}
			n, err := strconv.Atoi(query.Get(key))
			require.NoError(t, err)
			return n
		}
		return reply(200, page(number("offset", 0), number("limit", 10))), nil
	})), requests
}

func wirePage(total, from, to int) string {
	var tasks []string
	for i := from; i < to; i++ {
		tasks = append(tasks, fmt.Sprintf(`{"task_id":"task-%d","update_time":%d}`, i, 1_000_000-i))
	}
	return fmt.Sprintf(`{"total":%d,"data":[%s]}`, total, strings.Join(tasks, ","))
}

func collect(seq func(func(ExportTask, error) bool)) (ids []string, err error) {
	for task, taskErr := range seq {
		if taskErr != nil {
			return ids, taskErr
		}
		ids = append(ids, task.TaskID)
	}
	return ids, nil
}

func TestExportTasksEndsOnAnyServer(t *testing.T) {
	tests := []struct {
		name        string
		page        func(offset, limit int) string
		tasks       int
		malformed   bool
		maxRequests int
	}{
		{"repeats its last page", func(offset, limit int) string { return wirePage(12, min(offset, 9), min(offset, 9)+3) }, 12, false, 10},
		{"repeats its last page, and promises more", func(offset, limit int) string { return wirePage(1000, min(offset, 9), min(offset, 9)+3) }, 12, true, 80},
		{"gives the first page always", func(int, int) string { return wirePage(1000, 0, 10) }, 10, true, 60},
		{"promises more than it has", func(offset, limit int) string { return wirePage(1000, min(offset, 5), 5) }, 5, true, 60},
		{"total is 0", func(offset, limit int) string { return wirePage(0, min(offset, 5), min(offset+limit, 5)) }, 5, false, 20},
		{"total is too small", func(offset, limit int) string { return wirePage(3, min(offset, 9), min(offset+4, 9)) }, 9, false, 20},
		{"empty, and promises something", func(int, int) string { return wirePage(1, 0, 0) }, 0, true, 5},
		{"tasks without times", func(offset, limit int) string {
			return strings.ReplaceAll(wirePage(30, offset, min(offset+10, 30)), `"update_time"`, `"x"`)
		}, 30, false, 10},
		{"tasks without ids", func(offset, limit int) string {
			return strings.ReplaceAll(wirePage(30, offset, min(offset+10, 30)), `"task_id"`, `"x"`)
		}, 0, true, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, requests := exportTasksFrom(t, test.page)
			ids, err := collect(client.ExportTasks(t.Context(), nil))
			assert.Equal(t, test.malformed, errors.Is(err, ErrMalformedResponse), err)
			assert.Len(t, ids, test.tasks)
			assert.LessOrEqual(t, *requests, test.maxRequests)
			if !test.malformed {
				require.NoError(t, err)
			}
		})
	}
}

func TestExportTasksRequest(t *testing.T) {
	list := func(offset, limit int) string { return wirePage(30, offset, min(offset+limit, 30)) }
	client, requests := exportTasksFrom(t, list)
	ids, err := collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Offset: 28}))
	require.NoError(t, err)
	assert.Equal(t, []string{"task-28", "task-29"}, ids, "the offset is skipped")

	*requests = 0
	ids, err = collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Limit: 1}))
	require.NoError(t, err)
	assert.Len(t, ids, 30)

	*requests = 0
	_, err = collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Limit: -1}))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.EqualError(t, err, "cdn: ExportTasks: invalid parameter: Limit -1: must be from 0 to 2147483647")
	assert.Zero(t, *requests)

	_, err = collect(client.ExportTasks(noContext, nil))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

func TestExportTasksStopsWhenTheRangeIsLeft(t *testing.T) {
	client, requests := exportTasksFrom(t, func(offset, limit int) string { return wirePage(30, offset, min(offset+10, 30)) })
	tasks := client.ExportTasks(t.Context(), nil)
	for task, err := range tasks {
		require.NoError(t, err)
		if task.TaskID == "task-3" {
			break
		}
	}
	assert.Equal(t, 1, *requests)
	ids, err := collect(tasks)
	require.NoError(t, err)
	assert.Len(t, ids, 30, "a second range reads anew")
}

func TestExportTasksYieldsTheErrorLast(t *testing.T) {
	client, _ := exportTasksFrom(t, func(offset, limit int) string {
		if offset > 0 {
			return `{"error":{"error_code":"CDN.0105","error_msg":"slow down"}}`
		}
		return wirePage(30, 0, 10)
	})
	ids, err := collect(client.ExportTasks(t.Context(), nil))
	assert.Len(t, ids, 10)
	require.Error(t, err)
	assert.EqualError(t, err, "cdn: ExportTasks: 200 OK: CDN.0105: slow down")

	client, _ = exportTasksFrom(t, func(offset, limit int) string { return wirePage(30, offset, min(offset+10, 30)) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err = range client.ExportTasks(ctx, nil) {
		if n++; n == 10 {
			cancel()
		}
	}
	assert.Equal(t, 11, n)
	require.ErrorIs(t, err, context.Canceled)
}

// A list in which each gap brings more than a page reads is given up, not read for ever.
func TestExportTasksGivesUpOnAListThatIsTooFast(t *testing.T) {
	m := newModel(20, true)
	random := rand.New(rand.NewPCG(1, 2))
	_, requests, err := readList(m, 2, func() {
		for range 5 {
			m.ms++
			m.update(random.IntN(len(m.tasks)))
		}
	})
	require.ErrorIs(t, err, ErrMalformedResponse)
	assert.Less(t, requests, 1000)
}

func TestExportTasksMemory(t *testing.T) {
	const n = 200_000
	m := &listModel{ms: n, ties: tieOrders["by id"]}
	for i := range n {
		m.tasks = append(m.tasks, modelTask{id: fmt.Sprintf("2459be350111d2da0f8dc010e%07d", i), updated: int64(n - i)})
	}
	r := newListReader(0, func(ExportTask, error) bool { return true })
	r.list = func(offset int) (*ListExportTasksResponse, error) { return m.page(offset, 1000), nil }
	before := heapAlloc()
	require.NoError(t, r.read())
	used := heapAlloc() - before
	runtime.KeepAlive(r)
	assert.Len(t, r.seen, n)
	assert.Less(t, used, int64(64<<20))
}

func heapAlloc() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
