package cdn

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/assert"
)

// crowd is exports at once, by clients of accounts that share a quota. An account has one client, since the
// exports of two would be ambiguous.
type crowd struct {
	exports, clients int
	quota            servicemodel.Quota
	// export does one export of owner; it reports success.
	export func(t *testing.T, service *servicemodel.Service, client *CdnClient, owner string) bool
}

// crowdOutcome is what became of a crowd.
type crowdOutcome struct {
	succeeded, requests, refused int
	took                         time.Duration
	ratio, share                 float64 // of the ideal time, and of refused requests
	log                          []servicemodel.Request
}

func (c crowd) run(t *testing.T) (out crowdOutcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var services []*servicemodel.Service
		var all sync.WaitGroup
		var mu sync.Mutex
		for n := range c.clients {
			s := servicemodel.New(servicemodel.Knobs{
				Seed: uint64(n), Quota: c.quota, Latency: 50 * time.Millisecond, WorkMin: 30 * time.Second, WorkMax: 30 * time.Second,
			})
			s.Fill(100)
			services = append(services, s)
			client := newTestClient(t, s, WithRetryPolicy(RetryPolicy{MaxThrottleWait: 4 * time.Hour}))
			for i := range c.exports / c.clients {
				all.Go(func() {
					ok := c.export(t, s, client, fmt.Sprintf("mine-%d", i))
					mu.Lock()
					defer mu.Unlock()
					if ok {
						out.succeeded++
					}
				})
			}
		}
		all.Wait()
		out.took = time.Since(begin)
		for _, s := range services {
			out.log = inOrderOfTime(append(out.log, s.Requests()...))
			for _, r := range s.Requests() {
				out.requests++
				if r.Status == http.StatusTooManyRequests {
					out.refused++
				}
			}
		}
	})
	return out
}

// byExport is an export with this package.
func byExport(t *testing.T, _ *servicemodel.Service, client *CdnClient, owner string) bool {
	task, err := client.Export(t.Context(), &CreateExportTaskRequest{DomainNames: []string{owner}})
	return err == nil && task.Status == ExportTaskSuccess
}

// byLoop is an export as users of the official SDK write it: a create, then a look-up each 10 s until the task has
// succeeded, and a pause of 1 s, doubling to 30 s, after each failure; after 10 in a row it gives up. The loop is
// told the id of its task, which it would have to find in practice.
func byLoop(t *testing.T, service *servicemodel.Service, _ *CdnClient, owner string) bool {
	if _, ok := try(t, service, http.MethodPost, "", `{"domain_name":"`+owner+`"}`); !ok {
		return false
	}
	id := service.CreatedBy(owner)[0]
	for {
		time.Sleep(10 * time.Second)
		body, ok := try(t, service, http.MethodGet, "task_id="+id, "")
		switch {
		case !ok:
			return false
		case strings.Contains(body, `"success"`):
			return true
		}
	}
}

// try sends a request up to 10 times.
func try(t *testing.T, service *servicemodel.Service, method, query, body string) (text string, ok bool) {
	pause := time.Second
	for range 10 {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://cdn.example.com"+exportTasksPath+"?"+query, strings.NewReader(body))
		if err != nil {
			return "", false
		}
		resp, err := service.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusOK {
			text, err := io.ReadAll(resp.Body)
			return string(text), err == nil && resp.Body.Close() == nil
		}
		time.Sleep(pause)
		pause = min(2*pause, 30*time.Second)
	}
	return "", false
}

// TestExportsUnderAQuota prints a table:
//
//	go test -run TestExportsUnderAQuota -v .
//
// It is 200 exports at once under 20 requests a minute, refused ones included. The ideal time is that of the
// requests that the same exports need without a quota, plus the 30 s that the service works on an export. Without
// -v it runs only what is asserted beside success: one client that is told the quota.
func TestExportsUnderAQuota(t *testing.T) {
	const exports, perMinute, work = 200, 20, 30 * time.Second
	var table strings.Builder
	table.WriteString("\n| by | clients | window | hint | succeeded | requests per export | time / ideal | refused |\n|---|---|---|---|---|---|---|---|\n")
	free := map[int]crowdOutcome{}
	for _, clients := range []int{1, 4} {
		free[clients] = crowd{exports: exports, clients: clients, export: byExport}.run(t)
		t.Logf("%d clients without a quota: %.2f requests per export, %v", clients, float64(free[clients].requests)/exports, free[clients].took)
	}
	row := func(t *testing.T, by string, c crowd) crowdOutcome {
		t.Helper()
		out := c.run(t)
		ideal := time.Duration(float64(free[c.clients].requests)/perMinute*float64(time.Minute)) + work
		out.ratio, out.share = out.took.Seconds()/ideal.Seconds(), float64(out.refused)/float64(out.requests)
		fmt.Fprintf(&table, "| %s | %d | %v | %v | %d | %.2f | %.2f | %.1f %% |\n", by, c.clients, c.quota.Limiter.Kind, c.quota.Hint,
			out.succeeded, float64(out.requests)/exports, out.ratio, 100*out.share)
		return out
	}
	for _, kind := range pacetest.Kinds() {
		for _, hint := range servicemodel.Hints() {
			c := crowd{exports: exports, clients: 1, export: byExport}
			limit := func() servicemodel.Quota {
				return servicemodel.Quota{Limiter: &pacetest.Limiter{Kind: kind, N: perMinute, Per: time.Minute, RefusedCount: true}, Hint: hint}
			}
			told := hint == servicemodel.HintText
			if !told && !testing.Verbose() {
				continue
			}
			c.quota = limit()
			out := row(t, "Export", c)
			assert.Equal(t, exports, out.succeeded, "%v, %v", kind, hint)
			if told {
				assert.LessOrEqual(t, out.ratio, 1.25, "%v", kind)
				assert.LessOrEqual(t, out.share, 0.03, "%v", kind)
			}
			if !testing.Verbose() {
				continue
			}
			c.clients, c.quota = 4, limit()
			assert.Equal(t, exports, row(t, "Export", c).succeeded, "4 clients, %v, %v", kind, hint)
			row(t, "a loop", crowd{exports: exports, clients: 1, export: byLoop, quota: limit()})
		}
	}
	t.Log(table.String())
}
