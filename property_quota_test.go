package cdn

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	official "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

// byOfficial is an export with the official SDK's client, as its users write it: a create, then a look-up each 10 s
// until the task has succeeded, with a pause of 1 s, doubling to 30 s, after each failure. It gives up after 10
// failures in a row. It is told the id of its task, which it would have to find in practice.
func byOfficial(t *testing.T, service *servicemodel.Service, _ *CdnClient, owner string) bool {
	client := newOfficialClient(t, service)
	request := &model.CreateExportTaskRequest{Body: &model.ExportTaskVo{DomainName: &owner}}
	err := tryTenTimes(func() error {
		_, err := client.CreateExportTask(request)
		return err
	})
	if err != nil {
		return false
	}
	id := service.CreatedBy(owner)[0]
	for {
		time.Sleep(10 * time.Second)
		isDone := false
		err := tryTenTimes(func() error {
			list, err := client.ListExportTasks(&model.ListExportTasksRequest{TaskId: id})
			if err == nil {
				isDone = *(*list.Data)[0].Status == "success"
			}
			return err
		})
		if err != nil || isDone {
			return err == nil
		}
	}
}

// newOfficialClient returns the official SDK's client, whose requests go to the service without a network.
func newOfficialClient(t *testing.T, service *servicemodel.Service) *official.CdnClient {
	t.Helper()
	credentials, err := global.NewCredentialsBuilder().WithAk("ak").WithSk("sk").WithDomainId("account").SafeBuild()
	require.NoError(t, err)
	settings := config.DefaultHttpConfig().WithUserAgent("test").WithHttpRoundTripper(service)
	hcClient, err := official.CdnClientBuilder().WithRegion(region.NewRegion("test", "https://cdn.example.com")).
		WithCredential(credentials).WithHttpConfig(settings).SafeBuild()
	require.NoError(t, err)
	return official.NewCdnClient(hcClient)
}

func tryTenTimes(f func() error) (err error) {
	pause := time.Second
	for range 10 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(pause)
		pause = min(2*pause, 30*time.Second)
	}
	return err
}

// TestExportsUnderAQuota prints a table:
//
//	go test -run TestExportsUnderAQuota -v .
//
// It is 200 exports at once under 20 requests a minute, refused ones included. The ideal time is that of the
// requests that the same exports need without a quota, plus the 30 s that the service works on an export. Without
// -v it runs only clients that are told the quota.
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
		ratio := "gives up"
		if out.succeeded == exports {
			ratio = fmt.Sprintf("%.2f", out.ratio)
		}
		fmt.Fprintf(&table, "| %s | %d | %v | %v | %d | %.2f | %s | %.1f %% |\n", by, c.clients, c.quota.Limiter.Kind, c.quota.Hint,
			out.succeeded, float64(out.requests)/exports, ratio, 100*out.share)
		return out
	}
	for _, goal := range []struct {
		hint            servicemodel.Hint
		clients         int
		requests        float64 // per export
		ratio, refusals float64
	}{
		{servicemodel.HintText, 1, 2.3, 1.25, 0.03},
		{servicemodel.HintText, 4, 2.5, 1.5, 0.15},
		{servicemodel.HintRetryAfter, 1, 2.5, 1.5, 0.10},
		{servicemodel.HintRetryAfter, 4, 3, 3, 0.3},
		{servicemodel.HintNone, 1, 2.6, 2, 0.20},
		{servicemodel.HintNone, 4, 3, 3, 0.3},
	} {
		if goal.hint != servicemodel.HintText && !testing.Verbose() {
			continue
		}
		for _, kind := range pacetest.Kinds() {
			quota := servicemodel.Quota{Limiter: &pacetest.Limiter{Kind: kind, N: perMinute, Per: time.Minute, RefusedCount: true}, Hint: goal.hint}
			out := row(t, "Export", crowd{exports: exports, clients: goal.clients, export: byExport, quota: quota})
			assert.Equal(t, exports, out.succeeded, "%+v, %v", goal, kind)
			assert.LessOrEqual(t, float64(out.requests)/exports, goal.requests, "requests: %+v, %v", goal, kind)
			assert.LessOrEqual(t, out.ratio, goal.ratio, "time: %+v, %v", goal, kind)
			assert.LessOrEqual(t, out.share, goal.refusals, "refused: %+v, %v", goal, kind)
		}
	}
	if testing.Verbose() {
		for _, kind := range pacetest.Kinds() {
			quota := servicemodel.Quota{Limiter: &pacetest.Limiter{Kind: kind, N: perMinute, Per: time.Minute, RefusedCount: true}}
			row(t, "official SDK", crowd{exports: exports, clients: 1, export: byOfficial, quota: quota})
		}
	}
	t.Log(table.String())
}

// Under a quota Export never returns a wrong task either, whatever else the service does, and succeeds if nothing
// but the quota is in its way.
func TestPropertyExportUnderAQuota(t *testing.T) {
	checkProperty(t, func(p *property) {
		p.knobs.List.Changes = 0
		p.knobs.PageCap = 0
		if p.knobs.Stamps == servicemodel.Equal {
			p.knobs.TotalLag, p.knobs.TotalOff = 0, 0
		}
		p.knobs.WorkMin, p.knobs.WorkMax = time.Second, time.Minute
		p.knobs.Quota = servicemodel.Quota{
			Hint: servicemodel.Hints()[p.draw.IntN(3)],
			Limiter: &pacetest.Limiter{
				Kind: pacetest.Kinds()[p.draw.IntN(4)], N: 1 + p.draw.IntN(20),
				Per: []time.Duration{time.Second, 10 * time.Second, time.Minute}[p.draw.IntN(3)], RefusedCount: p.draw.IntN(2) == 0,
			},
		}
		p.begin(150, 100, WithRetryPolicy(RetryPolicy{MaxThrottleWait: 4 * time.Hour}))
		ctx, cancel := context.WithCancel(p.t.Context())
		defer cancel()
		exports := make([]*observedExport, 1+p.draw.IntN(12))
		var all sync.WaitGroup
		for i := range exports {
			exports[i] = &observedExport{owner: fmt.Sprintf("mine-%d", i), delay: time.Duration(p.draw.IntN(120)) * time.Second}
			if p.draw.IntN(6) == 0 {
				exports[i].timeout = time.Duration(1+p.draw.IntN(300)) * time.Second
			}
			all.Go(func() { exports[i].run(ctx, p.client) })
		}
		time.Sleep(4 * time.Hour)
		p.service.Quiet()
		time.Sleep(time.Hour)
		cancel()
		all.Wait()
		for _, e := range exports {
			p.checkExport(e)
			p.check(!p.promisesSuccess(1) || e.succeeded() || e.timeout > 0, "only a quota is in its way, but %v", e)
		}
	})
}
