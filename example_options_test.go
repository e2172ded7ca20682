package cdn_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// Keys that were read from files. A line break at the end of one is an error, which does not show the key.
func ExampleWithAKSK() {
	srv := cdntest.NewServer(cdntest.WithAKSK("MYACCESSKEY", "my-secret-key"))
	defer srv.Close()
	secret := "my-secret-key\n" // as it is in the file

	_, err := cdn.NewCdnClient(cdn.WithEndpoint(srv.URL), cdn.WithAKSK("MYACCESSKEY", secret))
	fmt.Println(err)

	client, err := cdn.NewCdnClient(cdn.WithEndpoint(srv.URL), cdn.WithAKSK("MYACCESSKEY", strings.TrimSpace(secret)))
	if err != nil {
		fmt.Println(err)
		return
	}
	page, err := client.ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Total, "tasks")
	// Output:
	// cdn: NewCdnClient: invalid parameter: SecretKey has a character that no key has (white space, a comma, a quote, a control or non-ASCII character) at byte 13
	// 0 tasks
}

// Temporary keys, built with the official SDK. Each request has the security token.
func ExampleWithCredentials() {
	srv := cdntest.NewServer(cdntest.WithSecurityToken("my-security-token"))
	defer srv.Close()

	credentials, err := global.NewCredentialsBuilder().
		WithAk(srv.AK).
		WithSk(srv.SK).
		WithSecurityToken("my-security-token").
		SafeBuild()
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := cdn.NewCdnClient(cdn.WithEndpoint(srv.URL), cdn.WithCredentials(credentials))
	if err != nil {
		fmt.Println(err)
		return
	}
	page, err := client.ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Total, "tasks")
	fmt.Println(srv.Requests()[0].Header.Get("X-Security-Token"))
	// Output:
	// 0 tasks
	// my-security-token
}

// A region is built in, or has an endpoint in the environment. Any other is an error.
func ExampleWithRegion() {
	if err := os.Setenv("HUAWEICLOUD_SDK_REGION_CDN_MOON_1", "https://cdn.moon-1.example.com"); err != nil {
		fmt.Println(err)
		return
	}
	defer os.Unsetenv("HUAWEICLOUD_SDK_REGION_CDN_MOON_1")

	for _, id := range []string{"eu-west-101", "moon-1", "mars-1"} {
		if _, err := cdn.NewCdnClient(cdn.WithRegion(id)); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(id, "is fine")
	}
	// Output:
	// eu-west-101 is fine
	// moon-1 is fine
	// cdn: NewCdnClient: invalid parameter: Region "mars-1": is not one of ap-southeast-1, cn-north-1, eu-west-101, and no override names it
}

// Calls go to another address, such as that of a test server. The address has no path.
func ExampleWithEndpoint() {
	srv := cdntest.NewServer()
	defer srv.Close()

	client, err := cdn.NewCdnClient(cdn.WithAKSK(srv.AK, srv.SK), cdn.WithEndpoint(srv.URL))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.ListExportTasks(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(srv.URL == "http://"+srv.Requests()[0].Host)

	_, err = cdn.NewCdnClient(cdn.WithEndpoint("https://gateway.example.com/cdn"))
	fmt.Println(err)
	// Output:
	// true
	// cdn: NewCdnClient: invalid parameter: Endpoint "https://gateway.example.com/cdn": must have no path, query or fragment: the service signs its own
}

// A test server in another container has no certificate.
func ExampleWithInsecureHTTP() {
	const sandbox = "http://cdn-sandbox:8086"

	_, err := cdn.NewCdnClient(cdn.WithEndpoint(sandbox))
	fmt.Println(err)

	_, err = cdn.NewCdnClient(cdn.WithEndpoint(sandbox), cdn.WithInsecureHTTP())
	fmt.Println(err)
	// Output:
	// cdn: NewCdnClient: invalid parameter: Endpoint "http://cdn-sandbox:8086": must be https, or WithInsecureHTTP given: only loopback hosts are reached without encryption
	// <nil>
}

// All requests go through a proxy, and no attempt takes more than a minute.
func ExampleWithHTTPClient() {
	srv := cdntest.NewServer()
	defer srv.Close()
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		fmt.Println("the proxy forwards", r.In.Method, r.In.URL.Path)
	}})
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		fmt.Println(err)
		return
	}

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(proxyURL)
	client := srv.NewClient(cdn.WithHTTPClient(&http.Client{Transport: transport, Timeout: time.Minute}))
	defer client.CloseIdleConnections()
	page, err := client.ListExportTasks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Total, "tasks")
	// Output:
	// the proxy forwards GET /v1/cdn/statistics/export-tasks
	// 0 tasks
}

// statusCounter is a transport that counts responses by their status.
type statusCounter struct {
	next   http.RoundTripper
	mu     sync.Mutex
	counts map[int]int
}

func (c *statusCounter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[resp.StatusCode]++
	return resp, nil
}

// A custom transport sees each request, retries included.
func ExampleWithHTTPClient_metrics() {
	srv := cdntest.NewServer()
	defer srv.Close()
	counter := &statusCounter{next: http.DefaultTransport, counts: map[int]int{}}
	client := srv.NewClient(
		cdn.WithHTTPClient(&http.Client{Transport: counter}),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Millisecond}),
	)

	srv.Inject(cdntest.Fault{Status: http.StatusServiceUnavailable, Times: 2})
	if _, err := client.ListExportTasks(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(counter.counts)
	// Output: map[200:1 503:2]
}

// The log, at debug level, of a call that succeeds at its second attempt.
func ExampleWithLogger() {
	srv := cdntest.NewServer()
	defer srv.Close()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			switch attr.Key {
			case slog.TimeKey, "duration", "pause", "request_id": // they differ from run to run
				return slog.Attr{}
			}
			return attr
		},
	}))
	client := srv.NewClient(cdn.WithLogger(logger), cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: time.Millisecond}))

	srv.Inject(cdntest.Fault{Status: http.StatusBadGateway})
	if _, err := client.ListExportTasks(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	// Output:
	// level=DEBUG msg="cdn: request" operation=ListExportTasks attempt=1 status=502
	// level=WARN msg="cdn: retry" operation=ListExportTasks attempt=1 reason="status 502"
	// level=DEBUG msg="cdn: request" operation=ListExportTasks attempt=2 status=200
}

// A test polls every few milliseconds, and sets the server's clock instead of waiting a minute.
func ExampleWithPollInterval() {
	start := time.Now()
	var passed atomic.Int64
	srv := cdntest.NewServer(
		cdntest.WithClock(func() time.Time { return start.Add(time.Duration(passed.Load())) }),
		cdntest.WithExportTime(time.Minute),
	)
	defer srv.Close()
	client := srv.NewClient(cdn.WithPollInterval(time.Millisecond, 10*time.Millisecond))

	changes := client.WatchExportTasks(context.Background())
	if _, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{}); err != nil {
		fmt.Println(err)
		return
	}
	for task, err := range changes {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(task.Status)
		if task.Status.Done() {
			break
		}
		passed.Add(int64(30 * time.Second))
	}
	// Output:
	// waiting
	// processing
	// success
}

// The name of the program comes first in the User-Agent, then the name of this package.
func ExampleWithUserAgent() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithUserAgent("billing-report/1.4"))

	if _, err := client.ListExportTasks(context.Background(), nil); err != nil {
		fmt.Println(err)
		return
	}
	program, rest, _ := strings.Cut(srv.Requests()[0].Header.Get("User-Agent"), " ")
	fmt.Println(program)
	fmt.Println(strings.HasPrefix(rest, "huaweicloud-cdn-go/"+cdn.Version))
	// Output:
	// billing-report/1.4
	// true
}

// The progress of a download, in a variable that other goroutines can read.
func ExampleWithProgress() {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("domain,flux\n"))
	client := srv.NewClient()

	var percent atomic.Int64
	n, err := client.Download(context.Background(), task.TaskID, io.Discard, cdn.WithProgress(func(p cdn.Progress) {
		if p.Total > 0 { // the store may not say how long the file is
			percent.Store(100 * p.Bytes / p.Total)
		}
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes, %d %%\n", n, percent.Load())
	// Output: 12 bytes, 100 %
}
