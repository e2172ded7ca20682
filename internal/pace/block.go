package pace

import (
	"math/rand/v2"
	"time"
)

const (
	// lowest is the least part of the rate before that a measurement leaves.
	lowest = 0.5
	// guess is the number of requests that a window is taken to have if others had used it up.
	guess = 4
	// firstProbe is the pause before the first probe if nothing is known.
	firstProbe = time.Second
	// maxProbe is the longest pause between two probes.
	maxProbe = 2 * time.Minute
	// maxPause is the longest Retry-After that is kept.
	maxPause = 10 * time.Minute
	// fewest is the number of requests that a measured quota is scaled to at least.
	fewest = 10
)

// block is the time from a refusal without a quota in its text until a request is accepted again. Single
// requests probe for its end, at growing distances or as Retry-After says.
type block struct {
	on      bool
	probing bool          // a probe was sent and has no outcome yet
	start   time.Duration // when the first request was refused
	probed  time.Duration // when the last probe was sent
	probe   time.Duration // when the next probe may be sent
	delay   time.Duration // the last pause
	cycle   time.Duration // when the block before this one ended
}

// turn returns when the n-th next request may be sent, if the others follow at interval.
func (b *block) turn(n int, now, interval time.Duration) time.Duration {
	if !b.probing {
		return max(now, b.probe) + time.Duration(n-1)*interval
	}
	if n == 1 {
		return never
	}
	return now + time.Duration(n-1)*interval
}

// refuse begins a block, or makes it longer after a refused probe.
func (s *share) refuse(now, retryAfter time.Duration) {
	b := &s.block
	if !b.on {
		b.on, b.start, b.delay = true, now, max(firstProbe, s.interval())/2
	}
	pause := min(2*b.delay, maxProbe)
	if retryAfter > 0 {
		s.retryAfter = true
		pause = min(retryAfter, maxPause)
		if b.probing { // other clients probe when Retry-After is over, too
			pause = max(pause, min(2*b.delay, maxProbe))
		}
	}
	b.delay, b.probing = pause, false
	// Clients that were refused together do not probe together.
	b.probe = now + pause + time.Duration(rand.Int64N(int64(pause)/10+1))
	s.refused = now
	s.event++
}

// measure ends the block: a probe was accepted. The requests that were accepted since the block before, per
// time since then, are the quota, whatever the kind of the service's window. If the client was idle for long
// in between, only the time before the block counts that is as long as the block or the window.
func (s *share) measure(now time.Duration, h *history) {
	b := s.block
	from := max(b.cycle-1, b.start-max(now-b.start, s.window))
	count, first := h.accepted(from)
	if b.cycle < from && count > 0 {
		from = first
	}
	if count == 0 {
		count, from = 1, b.start
		if s.size == 0 {
			count = guess
		}
	}
	// Requests need not be rarer than probes, however long the service refused all.
	span := min(max(now-from, time.Millisecond), time.Duration(count)*maxProbe)
	rate := float64(count) / float64(span)
	highest := rate
	if s.size > 0 {
		before := s.size / float64(s.window)
		rate = max(rate, lowest*before)
		highest = min(0.95*before, 2*rate)
		rate = min(rate, highest)
	}
	s.window = span
	if count < fewest {
		s.window = time.Duration(fewest / float64(count) * float64(span))
	}
	s.size, s.ceiling = rate*float64(s.window), highest*float64(s.window)
	s.quota, s.step = s.size, 0
	s.step = s.firstStep()
	s.spaced, s.changed, s.pressed = true, now, false
	s.block = block{cycle: now}
}
