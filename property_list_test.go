package cdn

import (
	"errors"
	"testing"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"
	"example.com/huaweicloud/cdn/internal/servicemodel"
)

// ExportTasks yields each task that is there all the time once, or ends with an error.
//
// Totals that are too low are left out: those that always are, and those that lag while tasks are created. Only
// the total tells where a list ends.
func TestPropertyExportTasks(t *testing.T) {
	checkProperty(t, func(p *property) {
		p.knobs.TotalOff = max(0, p.knobs.TotalOff)
		if p.knobs.Creates > 0 {
			p.knobs.TotalLag = 0
		}
		p.knobs.EmptyRow = p.draw.IntN(20) == 0
		request := &ListExportTasksRequest{Limit: []int{0, 0, 100, 10, 3, 1}[p.draw.IntN(6)]}
		p.begin([]int{10, 150, 400}[p.draw.IntN(3)], request.Limit)

		begin, before := time.Now(), p.service.Tasks()
		yielded := make(map[string]int)
		var failure error
		for task, err := range p.client.ExportTasks(p.t.Context(), request) {
			if err != nil {
				failure = err
				break
			}
			yielded[task.TaskID]++
		}
		for id, times := range yielded {
			p.check(times == 1, "%s was yielded %d times", id, times)
		}
		if failure != nil {
			p.check(p.mayFail(failure), "the error is %v", failure)
			return
		}
		missing := 0
		versions := p.service.Versions()
		for _, task := range before {
			if wasThere(versions[task.ID], begin) && yielded[task.ID] == 0 {
				missing++
			}
		}
		p.check(missing == 0, "%d of %d tasks were lost, limit %d, %d requests, %v", missing, len(before), request.Limit, p.service.Count(), time.Since(begin))
	})
}

// wasThere reports whether each list has shown the task since begin.
func wasThere(versions []servicemodel.Version, begin time.Time) bool {
	for i, v := range versions {
		if v.Removed || i == 0 && v.Created && (v.ListedAt.IsZero() || v.ListedAt.After(begin)) {
			return false
		}
	}
	return true
}

// mayFail reports whether an iteration may end with err.
func (p *property) mayFail(err error) bool {
	var apiError *APIError
	switch {
	case p.knobs.ListFails > 0:
		return errors.Is(err, ErrMalformedResponse) || errors.As(err, &apiError) || retry.IsTransient(err)
	case p.isQuiet():
		return false
	}
	return errors.Is(err, ErrMalformedResponse)
}

// isQuiet reports whether nothing moves, and the list is as long as it says.
func (p *property) isQuiet() bool {
	return p.knobs.Every == 0 && !p.knobs.EmptyRow && p.knobs.TotalOff == 0
}
