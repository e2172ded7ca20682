package pace

import "time"

// keepAtLeast is how many outcomes a history keeps before a quota is known.
const keepAtLeast = 1024

// outcome is the end of one request that the service may have seen.
type outcome struct {
	at       time.Duration // since the pacer's epoch; the service saw the request at this moment at the latest
	accepted bool
}

// history is a ring of the latest outcomes, in the order of their ends.
type history struct {
	ring []outcome
	next int // index of the next outcome, counted from the first one ever
}

func (h *history) add(at time.Duration, accepted bool) {
	if h.ring == nil {
		h.ring = make([]outcome, keepAtLeast)
	}
	h.ring[h.next%len(h.ring)] = outcome{at, accepted}
	h.next++
}

// grow makes room for n outcomes.
func (h *history) grow(n int) {
	if n = max(n, keepAtLeast); n <= len(h.ring) {
		return
	}
	grown := history{ring: make([]outcome, n)}
	for i := h.oldest(); i < h.next; i++ {
		o := h.get(i)
		grown.add(o.at, o.accepted)
	}
	*h = grown
}

func (h *history) oldest() int { return max(0, h.next-len(h.ring)) }

func (h *history) get(i int) outcome { return h.ring[i%len(h.ring)] }

// since returns the index of the first outcome after from. The outcomes after it are younger.
func (h *history) since(from time.Duration) int {
	low, high := h.oldest(), h.next
	for low < high {
		middle := (low + high) / 2
		if h.get(middle).at > from {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// accepted returns how many requests were accepted after from, and when the first of them ended.
func (h *history) accepted(from time.Duration) (count int, first time.Duration) {
	for i := h.next - 1; i >= h.oldest(); i-- {
		o := h.get(i)
		if o.at <= from {
			break
		}
		if o.accepted {
			count, first = count+1, o.at
		}
	}
	return count, first
}
