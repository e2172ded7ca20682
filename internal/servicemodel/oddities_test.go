package servicemodel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestOddities(t *testing.T) {
	tests := []struct {
		name  string
		query string
		ids   string
		total int
	}{
		{"ignores the offset", "offset=1&limit=2", "c b", 3},
		{"takes the offset for a page number", "offset=1&limit=2", "a", 3},
		{"ignores the limit", "offset=1&limit=1", "b a", 3},
		{"always returns the whole list", "offset=1&limit=1", "c b a", 3},
		{"sorts the oldest first", "limit=2", "a b", 3},
		{"repeats each row", "limit=2", "c c b b", 3},
		{"drops the last row of a page", "limit=2", "c", 3},
		{"counts the page only", "limit=2", "c b", 2},
		{"counts what is left", "offset=1&limit=1", "b", 2},
		{"says that there are none", "", "c b a", 0},
		{"says that there are 1,000,000,000", "", "c b a", 1_000_000_000},
		{"says that there are -1", "", "c b a", -1},
		{"gives two rows one id", "", "c c a", 3},
		{"ignores the filter", "task_id=a", "c b a", 3},
		{"looks up another task", "task_id=a", "c", 1},
		{"looks up several tasks", "task_id=a", "c b a", 3},
		{"counts a task that it does not show", "task_id=a", "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
				add(s)
				s.Odd(Oddities()[test.name])
				p := c.list(test.query)
				assert.Equal(t, test.ids, ids(p))
				assert.Equal(t, test.total, p.Total)
			})
		})
	}
}

func TestOddities_in_time(t *testing.T) {
	inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
		add(s)
		s.Odd(Oddities()["is empty for a minute"])
		assert.Equal(t, "c b a", ids(c.list("")))
		time.Sleep(4 * minute)
		assert.Empty(t, ids(c.list("")))
		assert.Empty(t, ids(c.list("task_id=a")))
		time.Sleep(minute)
		assert.Equal(t, "c b a", ids(c.list("")))
	})
	for name, want := range map[string]int64{"has times of 0": 0, "has negative times": -5, "has times beyond 2100": 9_000_000_000_000_000} {
		inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
			add(s)
			s.Odd(Oddities()[name])
			assert.Equal(t, want, *c.list("").Data[0].UpdateTime, name)
		})
	}
	inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
		add(s)
		s.Odd(Oddities()["has times in seconds"])
		assert.Less(t, *c.list("").Data[0].UpdateTime, time.Now().Unix()+1)
		s.Odd(Oddities()["is 8 hours behind in each second response"])
		first, second := *c.list("").Data[0].UpdateTime, *c.list("").Data[0].UpdateTime
		assert.Equal(t, (8 * time.Hour).Milliseconds(), first-second)
	})
}
