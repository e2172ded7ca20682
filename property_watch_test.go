package cdn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"
)

// A watch yields each change that lists show, or a later state of the task, within the bound of a wait. A change
// without a new stamp counts only after the first bound, in which the watch reads the whole list. A watch yields
// no state that the task never had. It yields no state twice in a row if reads are not stale.
//
// The bound is for a loop that takes each yield at once. A slower loop gets the last state of each task in the
// end.
func TestPropertyWatchExportTasks(t *testing.T) {
	checkProperty(t, func(p *property) {
		longest := []time.Duration{4, 10, 30}[p.draw.IntN(3)] * time.Second
		p.failAll()
		p.begin([]int{10, 150, 400}[p.draw.IntN(3)], 100, WithPollInterval(2*time.Second, longest))
		p.script()
		ctx, cancel := context.WithCancel(p.t.Context())
		defer cancel()

		watches := make([]*observedWatch, 1+p.draw.IntN(4))
		var all sync.WaitGroup
		for i := range watches {
			watches[i] = p.drawWatch()
			all.Go(func() { watches[i].run(ctx, p) })
		}
		time.Sleep(10 * time.Minute)
		p.service.Quiet()
		p.flush()
		time.Sleep(2 * p.bound(longest, len(watches), time.Now().Add(-10*time.Minute)))
		end := time.Now()
		cancel()
		all.Wait()
		versions := p.service.Versions()
		for _, w := range watches {
			p.checkWatch(w, versions, longest, len(watches), end)
		}
		p.checkSilence()
	})
}

// observedWatch is one watch and its yields.
type observedWatch struct {
	delay  time.Duration // before the call
	late   time.Duration // from the call to the loop
	slow   time.Duration // for each turn of the loop, in the 4 minutes after the call
	begin  time.Time     // when the call returned
	before map[string]string
	yields map[string][]yield
	err    error
}

type yield struct {
	at      time.Time
	status  string
	updated int64
}

func (p *property) drawWatch() *observedWatch {
	w := &observedWatch{delay: time.Duration(p.draw.IntN(240_000)) * time.Millisecond, yields: make(map[string][]yield)}
	switch p.draw.IntN(6) {
	case 0:
		w.late = time.Duration(p.draw.IntN(120_000)) * time.Millisecond
	case 1:
		w.slow = time.Duration(1+p.draw.IntN(10_000)) * time.Millisecond
	}
	return w
}

func (w *observedWatch) run(ctx context.Context, p *property) {
	time.Sleep(w.delay)
	seq := p.client.WatchExportTasks(ctx)
	w.begin, w.before = time.Now(), make(map[string]string)
	for _, task := range p.service.Tasks() {
		w.before[task.ID] = task.Status
	}
	time.Sleep(w.late)
	for task, err := range seq {
		if err != nil {
			w.err = err
			return
		}
		y := yield{at: time.Now(), status: string(task.Status)}
		if !task.UpdateTime.IsZero() {
			y.updated = task.UpdateTime.UnixMilli()
		}
		w.yields[task.TaskID] = append(w.yields[task.TaskID], y)
		if time.Since(w.begin) < 4*time.Minute {
			time.Sleep(w.slow)
		}
	}
}

func (p *property) checkWatch(w *observedWatch, versions map[string][]servicemodel.Version, longest time.Duration, watches int, end time.Time) {
	p.t.Helper()
	if !errors.Is(w.err, context.Canceled) {
		p.check(p.knobs.ListFails > 0, "the watch ended with %v", w.err)
		return
	}
	for id, yields := range w.yields {
		for i, y := range yields {
			p.check(had(versions[id], w.before, id, y), "%s never was %q, but a watch yields that at %v", id, y.status, y.at)
			p.check(i == 0 || p.knobs.List != servicemodel.Replica{} || yields[i-1].status != y.status || yields[i-1].updated != y.updated, "%s is yielded twice as %q", id, y.status)
		}
	}
	cycle := p.bound(longest, watches, w.begin)
	for id, all := range versions {
		for i, v := range all {
			if v.Removed || v.ListedAt.IsZero() || v.At.Before(w.begin) {
				continue
			}
			if v.Silent && (v.At.Before(w.begin.Add(w.late+cycle)) || i > 0 && all[i-1].Status == v.Status) {
				continue // the watch may not have read the task before, or nothing has changed
			}
			shown := laterOf(v.ListedAt, w.begin.Add(w.late))
			until := shown.Add(p.bound(longest, watches, shown))
			if w.slow > 0 {
				until = end
			}
			p.check(until.After(end) || w.knows(id, all[i:], until), "%s is %q since %v, but a watch since %v (late %v, slow %v) has not yielded it at %v: %v",
				id, v.Status, v.ListedAt.Format("04:05.000"), w.begin.Format("04:05.000"), w.late, w.slow, until.Format("04:05.000"), format(w.yields[id]))
		}
	}
}

// had reports whether the task had the state that was yielded.
func had(versions []servicemodel.Version, before map[string]string, id string, y yield) bool {
	if status, ok := before[id]; ok && status == y.status {
		return true
	}
	for _, v := range versions {
		if v.Status == y.status && !v.At.After(y.at) {
			return true
		}
	}
	return false
}

// knows reports whether the watch knew one of the versions at the time until, or the task was removed by then. The
// watch knows the last state that it yielded, or the one at its begin.
func (w *observedWatch) knows(id string, versions []servicemodel.Version, until time.Time) bool {
	last, known := w.before[id]
	for _, y := range w.yields[id] {
		if !y.at.After(until) {
			last, known = y.status, true
		}
	}
	for _, v := range versions {
		if v.At.After(until) {
			break
		}
		if v.Removed || known && v.Status == last {
			return true
		}
	}
	return false
}

func format(yields []yield) (text string) {
	for _, y := range yields {
		text += fmt.Sprintf(" %s %q", y.at.Format("04:05.000"), y.status)
	}
	return text
}
