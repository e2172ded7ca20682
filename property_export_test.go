package cdn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"
)

// Export returns the task of its own request or an error. It never returns another user's task and never makes
// two. If the error has no task and wraps neither ErrOutcomeUnknown nor ErrAmbiguousExport, there is no task.
//
// Replicas that miss changes for any time are left out: then the list may show a task later than WithListLag.
// Reads up to that old are drawn. Totals are at most one lag old if pages have one row: only the total shows
// then that the list has more rows. The candidates of an ambiguous export are checked only if stamps tell what
// is new and pages are whole.
func TestPropertyExport(t *testing.T) {
	checkProperty(t, func(p *property) {
		p.failAll()
		p.knobs.List.Changes = 0
		if p.knobs.PageCap == 1 {
			p.knobs.TotalLag = min(p.knobs.TotalLag, 2*time.Second)
		}
		p.knobs.WorkMin = max(p.knobs.WorkMin, time.Second)
		p.knobs.WorkMax = max(p.knobs.WorkMax, p.knobs.WorkMin)
		p.begin([]int{10, 150, 400}[p.draw.IntN(3)], 100)
		clients := []*CdnClient{p.client}
		for range p.draw.IntN(3) / 2 {
			clients = append(clients, newTestClient(p.t, p.service))
		}
		ctx, cancel := context.WithCancel(p.t.Context())
		defer cancel()

		exports := make([]*observedExport, 1+p.draw.IntN(20))
		spread := []time.Duration{time.Millisecond, 10 * time.Second, 2 * time.Minute}[p.draw.IntN(3)]
		var all sync.WaitGroup
		for i := range exports {
			exports[i] = &observedExport{owner: fmt.Sprintf("mine-%d", i), delay: time.Duration(p.draw.Int64N(int64(spread)))}
			if p.draw.IntN(6) == 0 {
				exports[i].timeout = time.Duration(1+p.draw.IntN(60_000)) * time.Millisecond
			}
			client := clients[p.draw.IntN(len(clients))]
			all.Go(func() { exports[i].run(ctx, client) })
		}
		time.Sleep(time.Hour)
		p.service.Quiet()
		time.Sleep(time.Hour)
		cancel()
		all.Wait()
		for _, e := range exports {
			p.checkExport(e)
		}
		if p.promisesSuccess(len(clients)) {
			for _, e := range exports {
				p.check(e.succeeded() || e.timeout > 0, "nothing is in its way, but %v", e)
			}
		}
		p.checkSilence()
	})
}

func (p *property) checkExport(e *observedExport) {
	p.t.Helper()
	created := p.service.CreatedBy(e.owner)
	p.check(len(created) <= 1, "%d tasks were created: %v", len(created), e)
	p.check(e.err != nil || e.task != nil && e.task.Status == ExportTaskSuccess, "without an error, but %v", e)
	if e.task != nil {
		p.check(slices.Contains(created, e.task.TaskID), "the task is not its own, %v is: %v", created, e)
	}
	var ambiguous *AmbiguousExportError
	switch {
	case e.task != nil, errors.Is(e.err, ErrOutcomeUnknown):
	case errors.As(e.err, &ambiguous):
		own := slices.ContainsFunc(ambiguous.Candidates, func(task ExportTask) bool { return slices.Contains(created, task.TaskID) })
		p.check(own || p.knobs.PageCap > 0 || p.knobs.Stamps == servicemodel.Equal, "%v is not among the candidates: %v", created, e)
	default:
		p.check(len(created) == 0, "%v was created: %v", created, e)
	}
}

// promisesSuccess reports whether nothing keeps an export from its task: no other user creates one, no response
// is lost, and stamps tell what is new.
func (p *property) promisesSuccess(clients int) bool {
	k := p.knobs
	return clients == 1 && (k.Every == 0 || k.Creates == 0) && k.Lost == 0 && k.Dropped == 0 && k.Refused == 0 &&
		k.ListFails == 0 && k.LookupFails == 0 && k.TotalOff == 0 && k.TotalLag == 0 && k.PageCap == 0 &&
		k.Stamps == servicemodel.Milliseconds && k.Future == 0 && k.Retention == 0
}
