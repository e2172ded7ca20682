package movinglist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAll_misses_nothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		m := &model{ms: 1, removed: map[string]bool{}}
		m.ties = rapid.SampledFrom([]order{lastChangeFirst, oldestFirst, byID}).Draw(rt, "order of equal stamps")
		shuffled := rapid.IntRange(0, 3).Draw(rt, "shuffled") == 0
		tick := rapid.IntRange(0, 3).Draw(rt, "ticks per change") // from never to at each change
		advance := func() {
			if tick > 0 && rapid.IntRange(0, 3).Draw(rt, "tick") < tick {
				m.ms++
			}
		}
		for range rapid.IntRange(0, 25).Draw(rt, "tasks") {
			advance()
			m.insert()
		}
		limit := rapid.IntRange(2, 8).Draw(rt, "limit")
		m.pageCap = rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(rt, "cap")
		budget := rapid.IntRange(0, 40).Draw(rt, "changes")
		begin := m.ids()
		got, _, err := readAll(m, limit, func() {
			total := len(m.tasks)
			for range rapid.IntRange(0, min(3, budget)).Draw(rt, "changes between two requests") {
				budget--
				advance()
				kind := rapid.IntRange(0, 2).Draw(rt, "kind")
				// No reader can detect a removal beside a creation with an equal stamp: see the package's comment.
				hidden := tick < 3 && (kind == 0 && len(m.tasks) < total || kind == 2 && len(m.tasks) > total)
				switch {
				case len(m.tasks) == 0 || kind == 0 && !hidden:
					m.insert()
				case kind == 1 || hidden:
					m.update(rapid.IntRange(0, len(m.tasks)-1).Draw(rt, "update"))
				default:
					m.remove(rapid.IntRange(0, len(m.tasks)-1).Draw(rt, "remove"))
				}
			}
			if shuffled {
				shuffle.Shuffle(len(m.tasks), func(i, j int) { m.tasks[i], m.tasks[j] = m.tasks[j], m.tasks[i] })
				slices.SortStableFunc(m.tasks, func(a, b task) int { return cmp.Compare(b.stamp, a.stamp) })
			}
		})
		if err != nil {
			require.ErrorIs(rt, err, ErrContradiction)
			return
		}
		m.checkComplete(rt, begin, got)
	})
}

func TestAll_requests_on_a_quiet_list(t *testing.T) {
	tests := []struct {
		name        string
		rows, limit int
		spread      bool
		pageCap     int
		want        int
	}{
		{"empty", 0, 100, true, 0, 1},
		{"one row", 1, 100, true, 0, 1},
		{"one page", 99, 100, true, 0, 1},
		{"one full page", 100, 100, true, 0, 2},
		{"a page and one", 101, 100, true, 0, 2},
		{"ten pages", 1000, 100, true, 0, 11},
		{"ten pages changed in one millisecond", 1000, 100, false, 0, 11},
		{"pages of two", 10, 2, true, 0, 10},
		{"capped pages", 1000, 100, true, 50, 21},
		{"pages capped at one, read twice", 5, 100, true, 1, 12},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newModel(test.rows, test.spread)
			m.pageCap = test.pageCap
			got, requests, err := readAll(m, test.limit, func() {})
			require.NoError(t, err)
			assert.Len(t, got, test.rows)
			assert.Equal(t, test.want, requests)
		})
	}
}

// More than a page of rows has equal stamps. Each response has them in another order.
func TestAll_shuffled_equal_stamps(t *testing.T) {
	for seed := range uint64(50) {
		draw := rand.New(rand.NewPCG(seed, 1))
		m := newModel(1000, true)
		for i := 350; i < 650; i++ {
			m.tasks[i].stamp = m.tasks[350].stamp
		}
		begin := m.ids()
		got, requests, err := readAll(m, 100, func() {
			draw.Shuffle(300, func(i, j int) { m.tasks[350+i], m.tasks[350+j] = m.tasks[350+j], m.tasks[350+i] })
		})
		require.NoError(t, err)
		m.checkComplete(t, begin, got)
		assert.Less(t, requests, 200)
	}
}

// The list moves between requests, so that plain pages would miss or repeat rows. The key of a change is the
// number of requests before it.
func TestAll_movements(t *testing.T) {
	type changes map[int]func(*model)
	tests := []struct {
		name        string
		rows, limit int
		changes     changes
	}{
		{"a removal pulls an unread row above the next page", 6, 3, changes{1: func(m *model) { m.remove(0) }}},
		{"many removals", 12, 3, changes{3: func(m *model) {
			for range 5 {
				m.remove(0)
			}
		}}},
		{"a removal and a creation hide each other", 6, 3, changes{1: func(m *model) { m.remove(1); m.ms++; m.insert() }}},
		{"a removal, and an unread row jumps to the head", 9, 3, changes{1: func(m *model) { m.remove(1); m.ms++; m.update(7) }}},
		{"an unread row jumps to the head", 9, 3, changes{2: func(m *model) { m.ms++; m.update(8) }}},
		{"a row jumps while the head is read again", 9, 3, changes{
			2: func(m *model) {
				m.ms++
				for range 4 {
					m.update(8)
				}
			},
			6: func(m *model) { m.ms++; m.update(3) },
		}},
		{"more creations than a page", 6, 3, changes{1: func(m *model) {
			for range 10 {
				m.ms++
				m.insert()
			}
		}}},
		{"everything is removed", 9, 3, changes{2: func(m *model) {
			for len(m.tasks) > 0 {
				m.remove(0)
			}
		}}},
	}
	for _, test := range tests {
		for _, step := range []int64{1, 20_000} {
			t.Run(fmt.Sprintf("%s, %d ms apart", test.name, step), func(t *testing.T) {
				m := newModel(test.rows, true)
				for i := range m.tasks {
					m.tasks[i].stamp *= step
				}
				m.ms *= step
				begin := m.ids()
				number := 0
				got, _, err := readAll(m, test.limit, func() {
					number++
					if change, ok := test.changes[number]; ok {
						change(m)
					}
				})
				require.NoError(t, err)
				m.checkComplete(t, begin, got)
			})
		}
	}
}

// A row from the future at the head does not hide changes below it.
func TestAll_future_stamp_hides_nothing(t *testing.T) {
	m := newModel(250, true)
	for i := range m.tasks {
		m.tasks[i].stamp *= 60_000
	}
	m.tasks[0].stamp *= 100
	m.ms *= 60_000
	begin := m.ids()
	number := 0
	got, requests, err := readAll(m, 100, func() {
		if number++; number == 1 {
			m.ms += 60_000
			m.update(220)
		}
	})
	require.NoError(t, err)
	m.checkComplete(t, begin, got)
	assert.LessOrEqual(t, requests, 5, "the second pass reads the head only")
}

// rows returns the rows from number from to number to.
func rows(from, to int) []Row[int] {
	var rows []Row[int]
	for i := from; i < to; i++ {
		rows = append(rows, Row[int]{ID: fmt.Sprint("task-", i), Stamp: int64(1_000_000 - i), Created: NoStamp})
	}
	return rows
}

func TestAll_contradictions(t *testing.T) {
	last := func(offset int) []Row[int] { return rows(min(offset, 9), min(offset, 9)+3) }
	tests := []struct {
		name        string
		page        func(offset int) Page[int]
		rows        int
		ok          bool
		maxRequests int
	}{
		{"repeats its last page", func(offset int) Page[int] { return Page[int]{last(offset), 12} }, 12, false, 80},
		{"repeats its last page, and promises more", func(offset int) Page[int] { return Page[int]{last(offset), 1000} }, 12, false, 50},
		{"returns the first page always", func(int) Page[int] { return Page[int]{rows(0, 10), 1000} }, 10, false, 20},
		{"promises more than it has", func(offset int) Page[int] { return Page[int]{rows(min(offset, 5), 5), 1000} }, 5, false, 12},
		{"is empty, and promises something", func(int) Page[int] { return Page[int]{nil, 1} }, 0, false, 12},
		{"has a total of 0", func(offset int) Page[int] { return Page[int]{rows(min(offset, 5), 5), 0} }, 5, true, 12},
		{"has a total that is too small", func(offset int) Page[int] { return Page[int]{rows(min(offset, 9), min(offset+4, 9)), 3} }, 9, true, 12},
		{"has a row without an id", func(int) Page[int] { return Page[int]{make([]Row[int], 3), 3} }, 0, false, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				requests, got := 0, 0
				err := All(t.Context(), func(offset int) (Page[int], error) {
					requests++
					return test.page(offset), nil
				}, 100, func(Row[int]) bool { got++; return true })
				assert.Equal(t, test.ok, err == nil, err)
				if err != nil {
					require.ErrorIs(t, err, ErrContradiction)
				}
				assert.Equal(t, test.rows, got)
				assert.LessOrEqual(t, requests, test.maxRequests)
				assert.Less(t, time.Since(start), 15*time.Second)
			})
		})
	}
}

// A total may be older than the rows of its page.
func TestAll_total_lags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		fetch := func(offset int) (Page[int], error) {
			total := 250
			if time.Since(start) > 3*time.Second {
				total = 248
			}
			return Page[int]{rows(min(offset, 248), min(offset+100, 248)), total}, nil
		}
		got := 0
		require.NoError(t, All(t.Context(), fetch, 100, func(Row[int]) bool { got++; return true }))
		assert.Equal(t, 248, got)
	})
}

func TestAll_too_fast_list_is_an_error(t *testing.T) {
	m := newModel(20, true)
	draw := rand.New(rand.NewPCG(1, 2))
	_, requests, err := readAll(m, 2, func() {
		for range 5 {
			m.ms++
			m.update(draw.IntN(len(m.tasks)))
		}
	})
	require.ErrorIs(t, err, ErrContradiction)
	assert.Less(t, requests, 5000)
}

func TestAll_ends_with_visit_and_errors(t *testing.T) {
	m := newModel(30, true)
	requests := 0
	fetch := func(offset int) (Page[int], error) {
		requests++
		return m.page(offset, 10), nil
	}
	n := 0
	require.NoError(t, All(t.Context(), fetch, 10, func(Row[int]) bool { n++; return n < 3 }))
	assert.Equal(t, 3, n)
	assert.Equal(t, 1, requests)

	failure := errors.New("no service")
	err := All(t.Context(), func(offset int) (Page[int], error) {
		if offset > 0 {
			return Page[int]{}, failure
		}
		return m.page(offset, 10), nil
	}, 10, func(Row[int]) bool { return true })
	require.Equal(t, failure, err)
}

func TestAll_pause_ends_with_the_context(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	total := 30
	err := All(ctx, func(offset int) (Page[int], error) {
		total++
		page := newModel(30, true).page(offset, 10)
		page.Total = total
		return page, nil
	}, 10, func(Row[int]) bool { return true })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, why)
}

func TestAll_memory(t *testing.T) {
	const n = 200_000
	m := &model{ms: n, ties: byID}
	for i := range n {
		m.tasks = append(m.tasks, task{id: fmt.Sprintf("2459be350111d2da0f8dc010e%07d", i), stamp: int64(n - i)})
	}
	var peak int64
	before := heapAlloc()
	err := All(t.Context(), func(offset int) (Page[int], error) {
		if offset > n-2000 {
			peak = max(peak, heapAlloc()-before)
		}
		return m.page(offset, 1000), nil
	}, 1000, func(Row[int]) bool { return true })
	require.NoError(t, err)
	assert.Positive(t, peak)
	assert.Less(t, peak, int64(64<<20))
}

func heapAlloc() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
