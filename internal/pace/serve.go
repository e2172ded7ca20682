package pace

import (
	"slices"
	"time"
)

// serve gives all turns that have come and sets the timer for the next one. Each change of what it depends
// on is followed by a call of it. The lock must be held.
func (p *Pacer) serve(now time.Duration) {
	if p.limited.Load() && p.share.grow(now) {
		p.forget()
		p.told = nil
	}
	for p.queue.len() > 0 {
		at := now
		if p.limited.Load() {
			at = p.share.turn(1, now, p.inFlight(), &p.history)
		}
		if at == never {
			at = p.share.block.probed + maxProbe // the probe hangs
		}
		if at > now {
			p.share.pressed = true
			p.wakeAt(at, now)
			return
		}
		p.grant(p.queue.pop(), now)
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// wakeAt runs serve at a later moment.
func (p *Pacer) wakeAt(at, now time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(at-now, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.serve(p.now())
	})
}

func (p *Pacer) grant(w *waiter, now time.Duration) {
	s := &p.share
	w.turn = &Turn{pacer: p, event: s.event, probe: s.block.on, at: now, before: s.last}
	w.turn.early = s.isText() && s.slot(1, now, p.inFlight(), &p.history) > now
	s.block.probing, s.block.probed = w.turn.probe, now
	s.last = now
	p.flying.Add(1)
	close(w.ready)
}

// forget lets every request go at once again.
func (p *Pacer) forget() {
	p.share = share{event: p.share.event + 1, last: p.share.last}
	p.limited.Store(false)
}

func (p *Pacer) allowed(t *Turn) {
	p.mu.Lock()
	now := p.now()
	p.flying.Add(-1)
	if t.probe && t.event == p.share.event && p.share.block.on {
		p.share.measure(now, &p.history)
	}
	p.history.add(now, true)
	if t.early && t.event == p.share.event {
		p.forget() // the service counts in another way, or the quota was raised
	}
	p.share.early = 0
	told, changed := p.news()
	p.serve(now)
	p.mu.Unlock()
	if changed {
		p.onLearn(told)
	}
}

func (p *Pacer) unsent(t *Turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBack(t)
	p.serve(p.now())
}

// giveBack takes a turn back that was not used.
func (p *Pacer) giveBack(t *Turn) {
	p.flying.Add(-1)
	if t.probe && t.event == p.share.event {
		p.share.block.probing = false
	}
	if !t.free && p.share.last == t.at {
		p.share.last = t.before
	}
}

func (p *Pacer) refused(t *Turn, hint Hint) {
	p.mu.Lock()
	now := p.now()
	p.flying.Add(-1)
	p.history.add(now, false)
	if p.adapt(t, hint, now) {
		p.evict(now)
	}
	told, changed := p.news()
	p.serve(now)
	p.mu.Unlock()
	if changed {
		p.onLearn(told)
	}
}

// adapt makes the share fit a refusal, and reports whether it changed the share. A request that was sent before the
// last refusal tells only of a quota that is stricter than the known one.
func (p *Pacer) adapt(t *Turn, hint Hint, now time.Duration) (changed bool) {
	s := &p.share
	first := p.limited.CompareAndSwap(false, true)
	if first {
		s.last = now
	}
	fresh := first || !t.free && t.event == s.event
	quota := Hint{Requests: hint.Requests, Per: hint.Per}
	another := quota.Requests > 0 && quota != s.text && (fresh || !s.isText() || quota.rate() < s.text.rate())
	switch {
	case another:
		p.history.grow(2 * forgetAbove * quota.Requests)
		s.learn(quota, now, p.inFlight(), &p.history)
	case !fresh:
	case t.early:
		s.early++
		s.refused = now
	case s.isText():
		s.shrink(now, p.inFlight(), &p.history)
	default:
		s.refuse(now, hint.RetryAfter)
	}
	if s.isText() && hint.RetryAfter > 0 {
		s.pause = max(s.pause, now+min(hint.RetryAfter, maxPause))
	}
	return another || fresh || hint.RetryAfter > 0
}

// evict ends the wait of requests whose turn can no longer come in time.
func (p *Pacer) evict(now time.Duration) {
	for _, class := range []Class{Normal, Poll} {
		line := p.queue.of(class)
		for i := 0; i < len(*line); {
			w := (*line)[i]
			if w.err = p.check(class, i, w.limit, now); w.err == nil {
				i++
				continue
			}
			p.queue.remove(w)
			close(w.ready)
		}
	}
}

// news returns the quota if OnLearn has not been told of it or of one that is near.
func (p *Pacer) news() (Quota, bool) {
	quota := p.quota()
	if p.onLearn == nil || quota.Requests == 0 || slices.ContainsFunc(p.told, quota.isNear) {
		return Quota{}, false
	}
	if len(p.told) == maxTold {
		p.told = slices.Delete(p.told, 0, 1)
	}
	p.told = append(p.told, quota)
	return quota, true
}
