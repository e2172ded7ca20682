package pace

import "time"

// serve gives all turns that have come and sets the timer for the next one. Each change of what it depends
// on is followed by a call of it. The lock must be held.
func (p *Pacer) serve(now time.Duration) {
	if p.limited.Load() && p.share.grow(now) {
		p.forget()
	}
	for p.queue.len() > 0 {
		at := now
		if p.limited.Load() {
			at = p.share.turn(1, now, p.inFlight(), &p.history)
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

// wakeAt runs serve at a later moment. A turn that depends on an outcome needs no timer.
func (p *Pacer) wakeAt(at, now time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if at == never {
		return
	}
	p.timer = time.AfterFunc(at-now, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.serve(p.now())
	})
}

func (p *Pacer) grant(w *waiter, now time.Duration) {
	w.turn = &Turn{pacer: p, event: p.share.event, probe: p.share.block.on, at: now, before: p.share.last}
	p.share.block.probing = w.turn.probe
	p.share.last = now
	p.flying.Add(1)
	close(w.ready)
}

// forget lets every request go at once again.
func (p *Pacer) forget() {
	p.share = share{event: p.share.event + 1, last: p.share.last}
	p.told = Quota{}
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
	told, changed := p.news()
	if p.limited.Load() {
		p.serve(now)
	}
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
	p.adapt(t, hint, now)
	p.evict(now)
	told, changed := p.news()
	p.serve(now)
	p.mu.Unlock()
	if changed {
		p.onLearn(told)
	}
}

// adapt makes the share fit a refusal. A request that was sent before the last refusal tells little new.
func (p *Pacer) adapt(t *Turn, hint Hint, now time.Duration) {
	s := &p.share
	first := p.limited.CompareAndSwap(false, true)
	if first {
		s.last = now
	}
	fresh := first || !t.free && t.event == s.event
	quota := Hint{Requests: hint.Requests, Per: hint.Per}
	switch {
	case quota.Requests > 0 && quota != s.text:
		p.history.grow(2 * forgetAbove * quota.Requests)
		s.learn(quota, now, p.inFlight(), &p.history)
	case !fresh:
	case s.isText():
		s.shrink(now, p.inFlight(), &p.history)
	default:
		s.refuse(now, hint.RetryAfter)
	}
	if s.isText() && hint.RetryAfter > 0 {
		s.pause = max(s.pause, now+min(hint.RetryAfter, longestGap))
	}
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
	if p.onLearn == nil || quota.Requests == 0 || quota.isNear(p.told) {
		return Quota{}, false
	}
	p.told = quota
	return quota, true
}
