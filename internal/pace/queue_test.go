package pace

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// TestQueue checks the order of turns, and that ahead foretells it, on random queues.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{sincePoll: rapid.IntRange(0, pollEvery-1).Draw(t, "sincePoll")}
		foretold := map[*waiter]int{}
		for _, class := range []Class{Normal, Poll} {
			for range rapid.IntRange(0, 40).Draw(t, "waiters") {
				q.push(&waiter{class: class})
			}
		}
		for _, class := range []Class{Normal, Poll} {
			for i, w := range *q.of(class) {
				foretold[w] = q.ahead(class, i)
			}
		}
		order := map[Class][]*waiter{Normal: append([]*waiter(nil), q.normal...), Poll: append([]*waiter(nil), q.poll...)}
		sincePoll, taken := q.sincePoll, map[Class]int{}
		for turn := 0; q.len() > 0; turn++ {
			bothWait := len(q.normal) > 0 && len(q.poll) > 0
			w := q.pop()
			assert.Equal(t, turn, foretold[w], "class %d, turn %d", w.class, turn)
			assert.Same(t, order[w.class][taken[w.class]], w, "first come, first served")
			taken[w.class]++
			if bothWait {
				assert.Equal(t, sincePoll >= pollEvery-1, w.class == Poll, "a poll has every tenth turn")
			}
			sincePoll = q.sincePoll
		}
	})
}

func TestQueueRemove(t *testing.T) {
	var q queue
	a, b, c := &waiter{}, &waiter{}, &waiter{class: Poll}
	for _, w := range []*waiter{a, b, c} {
		q.push(w)
	}
	assert.True(t, q.remove(a))
	assert.False(t, q.remove(a))
	assert.Same(t, b, q.pop())
	assert.True(t, q.remove(c))
	assert.Zero(t, q.len())
}
