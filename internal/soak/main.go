// Command soak calls a server that fails a share of all requests, from many goroutines. At the end it checks that each
// call has returned a known outcome, that no task was created twice, and that no goroutine is left.
//
//	go run ./internal/soak
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

const (
	sampleTasks = 50
	sampleEvery = 20 * time.Millisecond
	// callTimeout bounds one call. Delays are short here, so a call that takes this long hangs.
	callTimeout = time.Minute
)

type config struct {
	goroutines int
	duration   time.Duration
	fail       float64
}

func main() {
	var c config
	flag.IntVar(&c.goroutines, "goroutines", 200, "how many `callers` there are")
	flag.DurationVar(&c.duration, "duration", time.Minute, "for how `long` they call")
	flag.Float64Var(&c.fail, "fail", 1.0/3, "the `share` of requests that fail, from 0 to 1")
	flag.Parse()
	if flag.NArg() > 0 || c.goroutines < 1 || c.duration <= 0 || c.fail < 0 || c.fail > 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := soak(c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// soak runs the program. The error joins the checks that have failed.
func soak(c config, out io.Writer) error {
	before := goleak.IgnoreCurrent()
	server := cdntest.NewServer(cdntest.WithSampleTasks(sampleTasks), cdntest.WithExportTime(0), cdntest.WithRequestLog(0))
	requests := inject(server, c.fail)
	transport := &http.Transport{MaxIdleConnsPerHost: c.goroutines}
	var attempts counter
	client := server.NewClient(
		cdn.WithHTTPClient(&http.Client{Transport: transport}),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}),
		cdn.WithRateLimiter(&attempts),
	)

	stopSampling := samplePeaks()
	total := callFromAll(c, client, server.Tasks()[0].TaskID)
	peaks := stopSampling()
	tasks := len(server.Tasks()) - sampleTasks
	transport.CloseIdleConnections()
	server.Close()

	report(out, c, total, attempts.Load(), requests.Load(), tasks, peaks)
	return errors.Join(check(total, attempts.Load(), requests.Load(), tasks), goleak.Find(before))
}

// inject makes a share of the requests fail, in four ways equally. It returns the count of all requests, with those
// that net/http repeats by itself.
func inject(server *cdntest.Server, share float64) *atomic.Int64 {
	requests := new(atomic.Int64)
	server.Inject(cdntest.Fault{Times: -1, Match: func(*http.Request) bool { requests.Add(1); return false }})
	faults := []cdntest.Fault{
		{Status: http.StatusServiceUnavailable, Body: `{"error":{"error_code":"CDN.0503","error_msg":"busy"}}`},
		{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"0"}}, Body: `{"error_code":"APIGW.0308","error_msg":"throttled"}`},
		{DropConnection: true},
		{Handled: true, Body: `{"total":1,"data":[{"task_id":"1"}]}`, TruncateAfter: 20},
	}
	for i, fault := range faults {
		// The earlier faults have left fewer requests, so the chance grows: each fault gets an equal part.
		part := share / float64(len(faults))
		chance := min(1, part/(1-float64(i)*part))
		fault.Times, fault.Match = -1, func(*http.Request) bool { return rand.Float64() < chance }
		server.Inject(fault)
	}
	return requests
}

// counter is a rate limiter that counts the attempts and delays none.
type counter struct{ atomic.Int64 }

func (c *counter) Wait(context.Context) error {
	c.Add(1)
	return nil
}

// tally counts the outcomes of calls.
type tally struct {
	calls    int64
	outcomes map[string]map[string]int64 // by operation, then by class
}

func newTally() tally { return tally{outcomes: map[string]map[string]int64{}} }

func (t *tally) add(operation, class string, n int64) {
	if t.outcomes[operation] == nil {
		t.outcomes[operation] = map[string]int64{}
	}
	t.outcomes[operation][class] += n
}

// sum returns the number of calls with a class that matches, of one operation, or of all if operation is "".
func (t *tally) sum(operation string, match func(class string) bool) int64 {
	var n int64
	for name, classes := range t.outcomes {
		for class, count := range classes {
			if (operation == "" || operation == name) && match(class) {
				n += count
			}
		}
	}
	return n
}

func is(class string) func(string) bool { return func(other string) bool { return other == class } }
func every(string) bool                 { return true }

// callFromAll calls from each goroutine until the time is over, and returns the sum of their tallies.
func callFromAll(c config, client *cdn.CdnClient, taskID string) tally {
	total := newTally()
	var mu sync.Mutex
	var callers sync.WaitGroup
	end := time.Now().Add(c.duration)
	for range c.goroutines {
		callers.Go(func() {
			own := newTally()
			for time.Now().Before(end) {
				own.calls++
				operation, err := callOnce(client, taskID)
				own.add(operation, classOf(err), 1)
			}
			mu.Lock()
			defer mu.Unlock()
			total.calls += own.calls
			for operation, classes := range own.outcomes {
				for class, n := range classes {
					total.add(operation, class, n)
				}
			}
		})
	}
	callers.Wait()
	return total
}

// callOnce makes one call, mostly a list. It creates rarely, since each task stays on the server.
func callOnce(client *cdn.CdnClient, taskID string) (operation string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	switch n := rand.IntN(100); {
	case n < 2:
		_, err = client.CreateExportTask(ctx, &cdn.CreateExportTaskRequest{StatType: cdn.StatTypeFlux})
		return "create", err
	case n < 10:
		_, err = client.GetExportTask(ctx, taskID)
		return "get", err
	}
	_, err = client.ListExportTasks(ctx, nil)
	return "list", err
}

const (
	success        = "success"
	outcomeUnknown = "ErrOutcomeUnknown"
	unexpected     = "unexpected: "
)

// classOf returns the class of an error, by the tests that a caller would make.
func classOf(err error) string {
	var response *cdn.APIError
	var connection net.Error
	switch {
	case err == nil:
		return success
	case errors.Is(err, context.DeadlineExceeded):
		return unexpected + "no end within " + callTimeout.String()
	case errors.Is(err, cdn.ErrOutcomeUnknown):
		return outcomeUnknown
	case errors.Is(err, cdn.ErrThrottled):
		return "ErrThrottled"
	case errors.Is(err, cdn.ErrMalformedResponse):
		return "ErrMalformedResponse"
	case errors.As(err, &response):
		return fmt.Sprintf("APIError, status %d", response.StatusCode)
	case errors.As(err, &connection) && !connection.Timeout():
		return "connection error"
	}
	return unexpected + err.Error()
}

// peaks has the highest sampled values.
type peaks struct{ goroutines, heap uint64 }

// samplePeaks samples this process until the function that it returns is called.
func samplePeaks() func() peaks {
	var highest peaks
	stop := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		samples := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(samples)
			highest.goroutines = max(highest.goroutines, samples[0].Value.Uint64())
			highest.heap = max(highest.heap, samples[1].Value.Uint64())
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
	})
	return func() peaks {
		close(stop)
		sampler.Wait()
		return highest
	}
}

func report(out io.Writer, c config, t tally, attempts, requests int64, tasks int, p peaks) {
	share := func(n, of int64) string { return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(max(of, 1))) }
	line := func(name string, value any) { _, _ = fmt.Fprintf(out, "%-42s %v\n", name, value) }
	line("machine", fmt.Sprintf("%s, %s/%s, %d CPUs", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU()))
	line("run", fmt.Sprintf("%d goroutines, %v, %.1f %% of requests fail", c.goroutines, c.duration, 100*c.fail))
	line("calls", fmt.Sprintf("%d (%.0f a second)", t.calls, float64(t.calls)/c.duration.Seconds()))
	line("attempts", fmt.Sprintf("%d (%.2f a call)", attempts, float64(attempts)/float64(max(t.calls, 1))))
	line("requests that the server saw", requests)
	for _, operation := range slices.Sorted(maps.Keys(t.outcomes)) {
		all := t.sum(operation, every)
		for _, class := range slices.Sorted(maps.Keys(t.outcomes[operation])) {
			line(operation+": "+class, share(t.outcomes[operation][class], all))
		}
	}
	line("all: "+success, share(t.sum("", is(success)), t.calls))
	line("tasks created", tasks)
	line("peak of goroutines, the server's included", p.goroutines)
	line("peak of the heap, the server's included", fmt.Sprintf("%.1f MiB", float64(p.heap)/(1<<20)))
}

// check returns the conditions that every run must meet and this one does not.
func check(t tally, attempts, requests int64, tasks int) error {
	var failed []error
	if ended := t.sum("", every); ended != t.calls {
		failed = append(failed, fmt.Errorf("%d calls were made and %d have ended", t.calls, ended))
	}
	if attempts < t.calls || requests < attempts {
		failed = append(failed, fmt.Errorf("%d calls, %d attempts and %d requests contradict each other", t.calls, attempts, requests))
	}
	created, unknown := t.sum("create", is(success)), t.sum("create", is(outcomeUnknown))
	if int64(tasks) < created || int64(tasks) > created+unknown {
		failed = append(failed, fmt.Errorf("there are %d tasks of %d creates that succeeded and %d of unknown outcome", tasks, created, unknown))
	}
	for operation, classes := range t.outcomes {
		for class := range classes {
			if strings.HasPrefix(class, unexpected) {
				failed = append(failed, fmt.Errorf("%s: %s", operation, class))
			}
		}
	}
	return errors.Join(failed...)
}
