package cdn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"
)

// A wait returns the right result within a bound after the service shows the end of the task: 4 longest pauses,
// plus one for each 100 tasks of the list. It never returns a wrong result. The error of a deadline has the
// task.
//
// The bound is for a list that works. The latency of the requests and a pause for each failure are added to it.
// With capped pages it counts pages instead of 100 tasks, and one pause for each wait.
func TestPropertyWaitForExportTask(t *testing.T) {
	checkProperty(t, func(p *property) {
		longest := []time.Duration{4, 10, 30}[p.draw.IntN(3)] * time.Second
		p.failAll()
		p.begin([]int{10, 150, 400}[p.draw.IntN(3)], 100, WithPollInterval(2*time.Second, longest))
		ids := p.script()
		ctx, cancel := context.WithCancel(p.t.Context())
		defer cancel()

		waits := make([]*observedWait, 1+p.draw.IntN(2*len(ids)))
		var all sync.WaitGroup
		for i := range waits {
			waits[i] = p.drawWait(ids)
			all.Go(func() { waits[i].run(ctx, p.client) })
		}
		for range p.draw.IntN(2) { // the patrol has other work beside a watch
			w := p.drawWatch()
			all.Go(func() { w.run(ctx, p) })
		}
		time.Sleep(10 * time.Minute)
		p.service.Quiet()
		p.flush()
		time.Sleep(p.bound(longest, len(waits), time.Now().Add(-10*time.Minute)))
		cancel()
		all.Wait()
		for _, w := range waits {
			p.checkWait(w, longest, len(waits))
		}
		p.checkSilence()
	})
}

// failAll makes all lists or all look-ups fail, or adds a row without an id, for some seeds.
func (p *property) failAll() {
	switch p.draw.IntN(25) {
	case 0:
		p.knobs.ListFails = 1
	case 1:
		p.knobs.LookupFails = 1
	case 2:
		p.knobs.EmptyRow = true
	}
}

// script draws tasks that a test waits for, and their changes in the next 8 minutes.
func (p *property) script() (ids []string) {
	for i := range 1 + p.draw.IntN(25) {
		id := fmt.Sprintf("mine-%d", i)
		if p.draw.IntN(2) == 0 {
			id = fmt.Sprintf("old-%d", i*7) // somewhere in the list, or new
		}
		ids = append(ids, id)
		p.service.Apply(0, servicemodel.Change{ID: id, Status: "waiting", Silent: true})
		at := time.Duration(0)
		for range p.draw.IntN(4) {
			at += time.Duration(p.draw.IntN(120_000)) * time.Millisecond
			status := []string{"processing", "cancelled", ""}[p.draw.IntN(3)]
			p.service.Apply(at, servicemodel.Change{ID: id, Status: status, Silent: p.draw.IntN(2) == 0})
		}
		at += time.Duration(p.draw.IntN(120_000)) * time.Millisecond
		last := servicemodel.Change{ID: id, Status: []string{"success", "success", "fail"}[p.draw.IntN(3)], Silent: p.draw.IntN(2) == 0}
		switch p.draw.IntN(8) {
		case 0:
			last = servicemodel.Change{ID: id, Remove: true}
		case 1:
			continue
		}
		p.service.Apply(at, last)
	}
	time.Sleep(10 * time.Second) // until look-ups show them all
	p.flush()
	return ids
}

// flush makes n changes of other tasks, so that replicas that miss n changes show the rest.
func flush(s *servicemodel.Service, n int) {
	for i := range n {
		s.Apply(0, servicemodel.Change{ID: fmt.Sprintf("flush-%d", i), Status: fmt.Sprint(time.Now().UnixNano())})
	}
}

// flush makes all replicas show the changes up to now.
func (p *property) flush() { flush(p.service, max(p.knobs.List.Changes, p.knobs.Lookup.Changes)) }

// observedWait is one wait and its result.
type observedWait struct {
	id         string
	delay      time.Duration
	timeout    time.Duration // 0 is none
	begin, end time.Time
	task       *ExportTask
	err        error
}

func (p *property) drawWait(ids []string) *observedWait {
	w := &observedWait{id: ids[p.draw.IntN(len(ids))], delay: time.Duration(p.draw.IntN(240_000)) * time.Millisecond}
	if p.draw.IntN(4) == 0 {
		w.timeout = time.Duration(1+p.draw.IntN(300)) * time.Second
	}
	return w
}

func (w *observedWait) run(ctx context.Context, client *CdnClient) {
	time.Sleep(w.delay)
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	w.begin = time.Now()
	w.task, w.err = client.WaitForExportTask(ctx, w.id)
	w.end = time.Now()
}

func (w *observedWait) String() string {
	status := ExportTaskStatus("no task")
	if w.task != nil {
		status = w.task.Status
	}
	return fmt.Sprintf("the wait for %s of %v to %v ended after %v with %q, %v", w.id, w.begin.Format("04:05.000"), w.end.Format("04:05.000"), w.end.Sub(w.begin), status, w.err)
}

func (p *property) checkWait(w *observedWait, longest time.Duration, waits int) {
	p.t.Helper()
	versions := p.service.Versions()[w.id]
	last := versions[len(versions)-1]
	had := func(matches func(servicemodel.Version) bool) bool {
		for _, v := range versions {
			if matches(v) && !v.At.After(w.end) {
				return true
			}
		}
		return false
	}
	switch {
	case w.err == nil:
		p.check(had(func(v servicemodel.Version) bool { return v.Status == "success" }), "never successful, but %v", w)
		p.check(w.task.DownloadLink != "", "%v, without a link", w)
		return
	case errors.Is(w.err, ErrTaskFailed):
		p.check(had(func(v servicemodel.Version) bool { return v.Status == "fail" }), "never failed, but %v", w)
		return
	case errors.Is(w.err, ErrTaskNotFound):
		p.check(had(func(v servicemodel.Version) bool { return v.Removed }), "never removed, but %v", w)
		return
	}
	p.check(errors.Is(w.err, context.DeadlineExceeded) || errors.Is(w.err, context.Canceled), "%v", w)
	if !last.Removed && last.Status != "success" && last.Status != "fail" {
		p.checkLastStatus(w, versions, longest, waits)
		return
	}
	if last.ListedAt.IsZero() || last.LookedUpAt.IsZero() {
		return
	}
	shown := laterOf(w.begin, last.ListedAt, last.LookedUpAt)
	bound := p.bound(longest, waits, shown)
	p.check(w.end.Before(shown.Add(bound)), "its end %+v is shown since %v, bound %v, but %v", last, shown.Format("04:05.000"), bound, w)
}

// checkLastStatus checks the last status that a wait saw of a task that is not finished.
func (p *property) checkLastStatus(w *observedWait, versions []servicemodel.Version, longest time.Duration, waits int) {
	p.t.Helper()
	if w.end.Sub(w.begin) < p.bound(longest, waits, w.begin) {
		return
	}
	p.check(w.task != nil, "no task: %v", w)
	if w.task == nil {
		return
	}
	oldest := 0
	for i, v := range versions {
		if v.ListedAt.IsZero() || v.LookedUpAt.IsZero() {
			continue
		}
		if shown := laterOf(w.begin, v.ListedAt, v.LookedUpAt); shown.Add(p.bound(longest, waits, shown)).Before(w.end) {
			oldest = i
		}
	}
	for _, v := range versions[oldest:] {
		if v.Status == string(w.task.Status) {
			return
		}
	}
	p.check(false, "the last status is older than %+v: %v", versions[oldest], w)
}

// bound is the time that a wait or watch may take after the moment shown.
func (p *property) bound(longest time.Duration, waits int, shown time.Time) time.Duration {
	tasks := len(p.service.Tasks()) + p.knobs.TotalOff + 50 // some may have been removed
	pauses := 4 + (tasks+99)/100
	if p.knobs.PageCap > 0 {
		pauses = 4 + tasks/p.knobs.PageCap + waits
	}
	// A poll sends up to 12 requests one after the other.
	bound := time.Duration(pauses) * (longest + 12*2*p.knobs.Latency)
	for _, r := range p.service.Requests() {
		if r.Failed && r.At.After(shown.Add(-time.Minute)) {
			bound += longest + 2*time.Second
		}
	}
	return bound
}

func laterOf(first time.Time, others ...time.Time) time.Time {
	for _, other := range others {
		if other.After(first) {
			first = other
		}
	}
	return first
}

// checkSilence checks that there are no requests once all callers have left.
func (p *property) checkSilence() {
	p.t.Helper()
	synctest.Wait()
	before := p.service.Count()
	time.Sleep(time.Hour)
	p.check(p.service.Count() == before, "%d requests after the last caller has left", p.service.Count()-before)
}
