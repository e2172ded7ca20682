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

	"github.com/stretchr/testify/assert"
)

// Exports at once cost at most 2.3 requests each if the list shows a task at once. A list that lags is read more often.
func TestRequestsPerExport(t *testing.T) {
	for _, test := range []struct {
		n      int
		lag    time.Duration
		atMost float64
	}{{100, 0, 2.3}, {400, 0, 2.3}, {100, time.Second, 5}} {
		n := test.n
		t.Run(fmt.Sprintf("%d, the list lags %v", n, test.lag), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				knobs := servicemodel.Knobs{
					ListLag: test.lag, Latency: 50 * time.Millisecond, WorkMin: 30 * time.Second, WorkMax: time.Minute,
				}
				service := servicemodel.New(knobs)
				service.Fill(300)
				client := newTestClient(t, service)
				exports := make([]*observedExport, n)
				var all sync.WaitGroup
				begin := time.Now()
				for i := range exports {
					exports[i] = &observedExport{owner: fmt.Sprintf("mine-%d", i)}
					all.Go(func() { exports[i].run(t.Context(), client) })
				}
				all.Wait()
				for _, e := range exports {
					assert.NoError(t, e.err)
				}
				each := float64(service.Count()) / float64(n)
				t.Logf("%d exports at once: %.2f requests each (%d lists, %d look-ups, %d creates), %v",
					n, each, service.Count(servicemodel.List), service.Count(servicemodel.Lookup), service.Count(servicemodel.Create), time.Since(begin))
				assert.LessOrEqual(t, each, test.atMost)
			})
		})
	}
}

// observedExport is one export and its result.
type observedExport struct {
	owner   string
	delay   time.Duration
	timeout time.Duration // 0 is none
	took    time.Duration
	task    *ExportTask
	err     error
}

func (e *observedExport) run(ctx context.Context, client *CdnClient) {
	time.Sleep(e.delay)
	if e.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.timeout)
		defer cancel()
	}
	begin := time.Now()
	e.task, e.err = client.Export(ctx, &CreateExportTaskRequest{Action: ActionUV, DomainNames: []string{e.owner}})
	e.took = time.Since(begin)
}

func (e *observedExport) succeeded() bool { return e.err == nil || errors.Is(e.err, ErrTaskFailed) }

func (e *observedExport) String() string {
	id := "no task"
	if e.task != nil {
		id = e.task.TaskID
	}
	return fmt.Sprintf("the export of %s returned %s after %v (timeout %v), %v", e.owner, id, e.took, e.timeout, e.err)
}
