package cdntest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestWithQuota(t *testing.T) {
	f := newFixture(t, cdntest.WithQuota(3, time.Minute))
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	assert.Equal(t, 200, f.get(tasksPath).StatusCode)
	assert.Equal(t, 200, f.call(http.MethodPost, tasksPath, `{}`).StatusCode)
	assert.Equal(t, 400, f.get(tasksPath+"?limit=101").StatusCode, "a request that the CDN refuses counts")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		refused := f.call(method, tasksPath, `{}`)
		assertGateway(t, refused, http.StatusTooManyRequests, "APIGW.0308",
			"The throttling threshold has been reached: policy user over ratelimit,limit:3,time:1 minute")
		assert.Empty(t, refused.Header.Get("Retry-After"))
	}
	assert.Len(t, f.Tasks(), 2, "a refused create makes nothing")
	assert.Equal(t, "content", f.download(http.MethodGet, link).body, "a download does not count")
}

func TestQuotaCountsWhatTheGatewayIdentifies(t *testing.T) {
	f := newFixture(t, cdntest.WithQuota(2, time.Minute))
	for range 3 {
		assert.Equal(t, http.StatusUnauthorized, f.send(f.request(http.MethodGet, tasksPath, "")).StatusCode)
		assert.Equal(t, http.StatusNotFound, f.get("/nowhere").StatusCode)
		f.Inject(cdntest.Fault{Status: 503})
		assert.Equal(t, 503, f.get(tasksPath).StatusCode)
	}
	f.Inject(cdntest.Fault{Status: 503, Handled: true})
	assert.Equal(t, 503, f.get(tasksPath).StatusCode, "handled: it counts")
	assert.Equal(t, 200, f.get(tasksPath).StatusCode)
	assert.Equal(t, 429, f.get(tasksPath).StatusCode)
}

func TestQuotaWindows(t *testing.T) {
	// Each step is seconds since the start and the expected verdict. The quota is 3 a minute.
	type step struct {
		at      int
		allowed bool
	}
	for _, c := range []struct {
		name   string
		window cdntest.QuotaWindow
		steps  []step
	}{
		{"sliding", cdntest.SlidingWindow, []step{{0, true}, {10, true}, {20, true}, {59, false}, {69, false}, {70, false}, {80, false}, {128, false}, {190, true}}},
		{"sliding, each request leaves by itself", cdntest.SlidingWindow, []step{{0, true}, {10, true}, {20, true}, {60, true}, {70, true}, {79, false}, {80, false}}},
		{"fixed", cdntest.FixedWindow, []step{{0, true}, {58, true}, {59, true}, {59, false}, {60, true}, {60, true}, {60, true}, {119, false}, {500, true}, {559, true}, {560, true}}},
		{"bucket", cdntest.TokenBucket, []step{{0, true}, {0, true}, {0, true}, {20, true}, {39, false}, {40, false}, {60, false}, {80, false}, {120, true}}},
		{"bucket, no more than three tokens short", cdntest.TokenBucket, []step{
			{0, true}, {0, true}, {0, true}, {0, false}, {0, false}, {0, false}, {0, false}, {0, false}, {79, false}, {99, false}, {140, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, cdntest.WithQuota(3, time.Minute), cdntest.WithQuotaWindow(c.window))
			start := f.clock.Now()
			for i, s := range c.steps {
				f.clock.Advance(start.Add(time.Duration(s.at) * time.Second).Sub(f.clock.Now()))
				assert.Equal(t, s.allowed, f.get(tasksPath).StatusCode == 200, "request %d, at %d s", i, s.at)
			}
		})
	}
}

func TestQuotaText(t *testing.T) {
	for per, want := range map[time.Duration]string{
		time.Minute:            `over ratelimit,limit:1,time:1 minute"`,
		5 * time.Minute:        `over ratelimit,limit:1,time:5 minute"`,
		time.Hour:              `over ratelimit,limit:1,time:60 minute"`,
		90 * time.Second:       `over ratelimit,limit:1,time:90 second"`,
		time.Second:            `over ratelimit,limit:1,time:1 second"`,
		200 * time.Millisecond: `over ratelimit"`,
	} {
		f := newFixture(t, cdntest.WithQuota(1, per))
		f.get(tasksPath)
		assert.Contains(t, f.get(tasksPath).body, want, fmt.Sprint(per))
	}
}
