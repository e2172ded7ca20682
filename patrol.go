package cdn

import (
	"context"
	"time"

	"example.com/huaweicloud/cdn/internal/movinglist"
)

// patrolState is the state of the patrol, which reads what the polls do not show: pages of the list below the head,
// or the tasks that are waited for by their ids, whichever takes fewer requests.
type patrolState struct {
	head    int // the offset at which a cycle begins: the last row of the last poll
	end     int // the offset after that row
	pageLen int // the length of the longest page of the last poll
	left    int // how many requests the patrol may send until the next poll
	byID    bool
	polled  time.Time // when the last poll began

	pass     *movinglist.Pass[ExportTask] // the cycle through the list; nil between two
	began    time.Time                    // when the cycle began
	tick     int64                        // the tick of the snapshot when the cycle began
	lastTick int64                        // the tick when the cycle before it began
}

// maxPatrol is how many requests a patrol sends beside one poll at most.
const maxPatrol = 10

// planPatrol sets what the patrol does after a poll that began at a time. ok reports whether that poll succeeded.
// The work, pages or look-ups, is spread over one poll, and one more for each 100 tasks of the list. The caller holds
// the lock.
func (p *poller) planPatrol(began time.Time, ok bool) {
	r := &p.rounds
	r.polled = began
	unseen, failed := 0, false // how many tasks the poll did not show, and whether look-ups of one fail
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

// longestUnseen returns the id of the target that was seen or looked up the longest time ago, before since. It
// returns "" if there is none. The caller holds the lock.
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

// endCycle has the snapshot forget the tasks that two cycles did not show. The caller holds the lock.
func (p *poller) endCycle() {
	p.known.prune(p.rounds.lastTick)
	p.rounds.lastTick, p.rounds.tick = p.rounds.tick, p.known.tick
}

// lookUpMissing has the targets looked up that a cycle since began did not show. The caller holds the lock.
func (p *poller) lookUpMissing(began time.Time) {
	for _, t := range p.targets {
		if t.isUnseen(began) {
			t.retry(time.Now(), time.Time{})
		}
	}
}
