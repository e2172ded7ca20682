package pace

import (
	"math"
	"time"
)

const (
	// jitter widens the service's window, which may end late by a tick of the service's own clock.
	jitter = 1.02
	// decrease multiplies the share after a refusal that the pacer's own requests do not explain.
	decrease = 0.7
	// calmAtLeast is how long nothing was refused before the pacer tries more than the quota.
	calmAtLeast = 15 * time.Minute
	// forgetAbove is the multiple of the quota at which it is forgotten, because it is no longer enforced.
	forgetAbove = 4
	// longestGap is the longest time without a request while some wait: an eighth of the window within these
	// bounds, because a quota of days may have been raised meanwhile. It doubles with each early request that is
	// refused, because refused requests may keep the window full.
	shortestGap, longestGap = 10 * time.Minute, time.Hour
	// manyRounds keeps the expected wait in a long queue within what a time.Duration holds.
	manyRounds = 1000
)

// share is this pacer's part of the account's quota: how many requests it sends in a window. Other clients
// that nobody told about may have the rest, so it is decreased by a factor after refusals, and increased in
// small steps while nothing is refused. All times count from the pacer's epoch.
type share struct {
	text   Hint          // the quota in the service's words; zero if it is measured
	quota  float64       // requests per window that the account has, as far as known; 0 if unknown
	window time.Duration // length of the window, with jitter

	size     float64       // requests per window that this pacer sends
	ceiling  float64       // the size at the last refusal, which is approached, then exceeded slowly
	step     float64       // the next increase above the ceiling
	accepted int           // requests of the last window that were accepted, or may still be
	spaced   bool          // requests are spaced evenly; else as many as the window has left go at once
	changed  time.Duration // when size was last changed
	refused  time.Duration // when a request was last refused
	calm     time.Duration // how long nothing must be refused before more than the quota is tried
	inARow   int           // refusals since a request was accepted
	early    int           // refusals of early requests since a request was accepted
	pressed  bool          // a request had to wait since changed
	event    int           // number of the last refusal that counted; requests sent before it are no news

	last       time.Duration // when the last request was sent
	pause      time.Duration // the end of Retry-After
	retryAfter bool          // Retry-After says when a block may be over
	block      block         // used while the quota is measured
}

func (s *share) isText() bool { return s.text.Requests > 0 }

// interval returns the time between two requests that are spaced evenly; 0 if nothing is known.
func (s *share) interval() time.Duration {
	if s.size <= 0 {
		return 0
	}
	return time.Duration(min(float64(s.window)/s.size, float64(s.gap())))
}

// gap returns the longest time without a request while some wait, before any early request was refused.
func (s *share) gap() time.Duration { return min(max(shortestGap, s.window/8), longestGap) }

// grown returns the share as large as it may soon be: the whole quota, or twice what was measured.
func (s *share) grown() *share {
	grown := *s
	if grown.size *= 2; s.isText() {
		grown.size = max(s.size, s.quota)
	}
	return &grown
}

// turn returns when the n-th next request may be sent, 1 for the next one, not before now. It is never if
// that depends on the outcome of a request that was sent.
func (s *share) turn(n int, now time.Duration, flying int, h *history) time.Duration {
	if s.block.on {
		return s.block.turn(n, now, s.interval())
	}
	at := max(now, s.pause)
	if s.isText() {
		at = max(at, s.slot(n, now, flying, h))
	}
	if s.spaced {
		at = max(at, s.last+time.Duration(n)*s.interval())
	}
	if n == 1 {
		at = min(at, max(now, s.last+s.gap()<<min(s.early, 10)))
	}
	return at
}

// slot returns when the window has room for the n-th next request. A request leaves the window a window's
// length after its end: the service saw it then at the latest. So the service never counts more requests in
// any window than the pacer does, whether its window is fixed, sliding or a bucket.
func (s *share) slot(n int, now time.Duration, flying int, h *history) time.Duration {
	slots := max(1, int(s.size))
	first := h.since(now - s.window)
	used := h.next - first + flying
	round, i := time.Duration(min((n-1)/slots, manyRounds)), (n-1)%slots
	base := now
	if free := max(0, slots-used); i >= free {
		leaving := first + max(0, used-slots) + i - free // outcomes before it leave room for nobody
		if leaving < h.next {
			base = h.get(leaving).at + s.window
		} else {
			base = now + s.window
		}
	}
	return base + round*s.window
}

// least returns the smallest size: a request per window, and half of that for each refusal in a row, because
// there may be more clients than the window has requests, or the text may be wrong about the window.
func (s *share) least() float64 {
	const shortest = 10 * time.Second
	return max(math.Pow(0.5, float64(s.inARow-1)), float64(s.window)/float64(8*max(s.window, shortest)))
}

// learn takes over the quota in the text of a refusal. flying is how many requests have no outcome yet.
func (s *share) learn(hint Hint, now time.Duration, flying int, h *history) {
	hint.RetryAfter = 0
	window := time.Duration(float64(hint.Per) * jitter)
	another := s.isText()
	*s = share{
		text: hint, quota: float64(hint.Requests), window: window,
		size: float64(hint.Requests), changed: now, refused: now, calm: max(calmAtLeast, 10*window),
		event: s.event + 1, last: s.last, pause: s.pause,
	}
	count, _ := h.accepted(now - window)
	s.accepted = count + flying
	s.settle()
	s.spaced = s.spaced || another // two quotas may be in force at once: both allow even spaces at the lower rate
	s.ceiling, s.step = s.size, s.firstStep()
}

// settle bounds the size by what was accepted in the last window: the rest is somebody else's.
func (s *share) settle() {
	s.size = min(s.size, max(1, float64(s.accepted)))
	if float64(s.accepted) < 0.9*s.quota {
		s.spaced = true
	}
}

// shrink decreases the size after a refusal under a quota that is known from its text.
func (s *share) shrink(now time.Duration, flying int, h *history) {
	count, _ := h.accepted(now - s.window)
	s.accepted = count + flying
	if news, _ := h.accepted(s.refused); news > 0 {
		s.inARow = 0
	} else {
		s.inARow++
	}
	if s.size > s.quota { // more than the quota was tried, and the quota is still enforced
		s.size, s.ceiling = s.quota, s.quota
		s.calm = min(2*s.calm, 16*max(calmAtLeast, 10*s.window))
	} else {
		s.ceiling = s.size
		s.size = max(s.size/2, min(decrease*s.size, float64(s.accepted)), s.least())
		s.spaced = true
	}
	s.step = s.firstStep()
	s.changed, s.refused, s.pressed = now, now, false
	s.event++
}

func (s *share) firstStep() float64 { return min(max(0.5, s.quota/40), s.size/4) }

// nextGrowth returns when the size may be increased, if nothing is refused until then.
func (s *share) nextGrowth() time.Duration {
	if s.isText() {
		return s.changed + max(s.window, 2*s.interval(), 10*time.Second)
	}
	return s.changed + min(s.window, max(time.Minute, 3*s.interval()))
}

// grow increases the size if a window has passed in which nothing was refused and requests had to wait: half
// the way to the ceiling, then above it in steps that double. It reports whether the quota is to be
// forgotten. Above a quota known from its text it goes only after a long calm.
func (s *share) grow(now time.Duration) (forget bool) {
	if s.block.on || !s.pressed || now < s.nextGrowth() {
		return false
	}
	limit := math.Inf(1)
	if s.isText() && now-s.refused < s.calm {
		limit = s.quota
	}
	if s.size >= limit {
		return false
	}
	before := s.size
	if below := s.ceiling - s.size; below > s.step {
		s.size += below / 2
	} else {
		s.size += s.step
		s.step = max(2*s.step, s.size/40)
	}
	s.size = min(s.size, limit)
	if before < s.quota && s.size >= s.quota { // one above the quota shows whether it is enforced
		s.size, s.step = s.quota, s.firstStep()
	}
	s.changed, s.pressed = now, false
	return s.size > forgetAbove*s.quota
}
