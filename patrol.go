package cdn

import (
	"context"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// patrolState is the patrol, which looks after what the head of the list does not show: it reads the list below the head, a page or so
// beside each poll, or looks up the tasks that are waited for, whichever is sooner done.
type patrolState struct {
	head    int // where the pages of the last poll ended, less one row
	end     int // where they ended
	pageLen int // how many rows the longest of them had
	left    int // how many requests of the patrol are left until the next poll
	byID    bool
	polled  time.Time // when the last poll began

	pass     *movinglist.Pass[ExportTask] // the cycle through the list; nil between two
	began    time.Time                    // when it began
	tick     int64                        // as of then
	lastTick int64                        // as of the beginning of the cycle before
}

// maxPatrol is how many requests a patrol sends beside one poll at most.
const maxPatrol = 10

// planPatrol sets how many requests go with a poll that began at this time: as many as it takes to get through
// the work in one poll, plus one for each 100 tasks of the list. The caller holds the lock.
func (p *poller) planPatrol(began time.Time, ok bool) {
	r := &p.rounds
	r.polled = began
	unseen, failed := 0, false
	for _, t := range p.targets {
		if t.isUnseen(began) {
			unseen++
		}
		failed = failed || t.failed && t.seenAt.Before(began)
	}
	below := max(0, p.known.total-r.end)
	pages := (below + max(1, r.pageLen-1) - 1) / max(1, r.pageLen-1)
	work := 0
	switch {
	case ok && pages > 0 && (len(p.watches) > 0 || p.batch.isOverdue(began) || failed || unseen > 0 && pages <= unseen):
		r.byID, work = false, pages
	case unseen > 0:
		r.byID, work = true, unseen
	}
	if r.byID || work == 0 {
		r.pass = nil
	}
	if ok && pages == 0 && r.end > 0 {
		p.endCycle()
	}
	polls := 1 + p.known.total/pageLimit
	r.left = min((work+polls-1)/polls, maxPatrol)
}

// isUnseen reports whether no response has shown the target since a time, and no look-up is due for it.
func (t *target) isUnseen(since time.Time) bool {
	return !t.lookUp && t.seenAt.Before(since) && t.tried.Before(since)
}

// patrol sends one request of the patrol.
func (p *poller) patrol(ctx context.Context) error {
	p.mu.Lock()
	r := &p.rounds
	r.left--
	if r.byID {
		id := p.longestUnseen(r.polled)
		p.mu.Unlock()
		if id == "" {
			return nil
		}
		return p.lookUp(ctx, id)
	}
	if r.pass == nil {
		r.pass = movinglist.NewPass(p.fetch(ctx, operation{poll: true}), r.head, pageLimit)
		r.began, r.tick = time.Now(), p.known.tick
	}
	pass := r.pass
	p.mu.Unlock()
	rows, err := pass.Next()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	p.takePage(rows)
	if pass.Ended || pass.Barren > maxBarren {
		r.pass = nil
		p.endCycle()
		p.lookUpMissing(r.began)
	}
	return nil
}

// longestUnseen returns the id of the target that was not seen or looked up for longest, or "". The caller holds
// the lock.
func (p *poller) longestUnseen(since time.Time) string {
	id, longest := "", since
	for _, t := range p.targets {
		last := t.seenAt
		if t.tried.After(last) {
			last = t.tried
		}
		if t.isUnseen(since) && last.Before(longest) {
			id, longest = t.id, last
		}
	}
	return id
}

// endCycle forgets the tasks that two cycles did not show. The caller holds the lock.
func (p *poller) endCycle() {
	p.known.prune(p.rounds.lastTick)
	p.rounds.lastTick, p.rounds.tick = p.rounds.tick, p.known.tick
}

// lookUpMissing has each target looked up that a whole cycle did not show. The caller holds the lock.
func (p *poller) lookUpMissing(began time.Time) {
	for _, t := range p.targets {
		if t.isUnseen(began) {
			t.retry(time.Now(), time.Time{})
		}
	}
}
