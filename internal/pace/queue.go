package pace

import (
	"math"
	"slices"
	"time"
)

// Class is the rank of a request in the queue.
type Class int

const (
	// Normal requests are served first come, first served.
	Normal Class = iota
	// Poll requests are served if no Normal request waits, and every tenth turn if one does.
	Poll
)

// pollEvery is the turn that goes to a poll while normal requests wait too.
const pollEvery = 10

// never is a moment that does not come.
const never = time.Duration(math.MaxInt64)

// waiter is a request in the queue.
type waiter struct {
	class Class
	limit time.Duration // the moment until which it waits; never if it has no deadline
	turn  *Turn         // set before ready is closed, or err is
	err   error
	ready chan struct{}
}

// queue holds the waiting requests of both classes.
type queue struct {
	normal, poll []*waiter
	sincePoll    int // turns of normal requests since a poll had one
}

func (q *queue) len() int { return len(q.normal) + len(q.poll) }

func (q *queue) of(class Class) *[]*waiter {
	if class == Poll {
		return &q.poll
	}
	return &q.normal
}

func (q *queue) push(w *waiter) {
	line := q.of(w.class)
	*line = append(*line, w)
}

// pop removes and returns the request whose turn it is. The queue must not be empty.
func (q *queue) pop() *waiter {
	class := Normal
	if len(q.normal) == 0 || len(q.poll) > 0 && q.sincePoll >= pollEvery-1 {
		class = Poll
	}
	switch {
	case class == Poll, len(q.poll) == 0:
		q.sincePoll = 0
	default:
		q.sincePoll++
	}
	line := q.of(class)
	w := (*line)[0]
	*line = slices.Delete(*line, 0, 1)
	return w
}

// remove takes w out of the queue and reports whether it was there.
func (q *queue) remove(w *waiter) bool {
	line := q.of(w.class)
	i := slices.Index(*line, w)
	if i < 0 {
		return false
	}
	*line = slices.Delete(*line, i, i+1)
	return true
}

// ahead returns how many turns come before that of the request at index i of its class.
func (q *queue) ahead(class Class, i int) int {
	untilPoll := max(0, pollEvery-1-q.sincePoll) // normal turns before the next poll's, if any waits
	if class == Poll {
		return min(len(q.normal)+i, untilPoll+i*pollEvery)
	}
	if i < untilPoll || len(q.poll) == 0 {
		return i
	}
	return i + min(len(q.poll), 1+(i-untilPoll)/(pollEvery-1))
}
