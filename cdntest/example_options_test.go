package cdntest_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// Port 0 is a free port. An address in use is an error.
func ExampleWithAddr() {
	srv, err := cdntest.Listen(cdntest.WithAddr("127.0.0.1:0"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	fmt.Println("a free port:", !strings.HasSuffix(srv.URL, ":0"))

	_, err = cdntest.Listen(cdntest.WithAddr(strings.TrimPrefix(srv.URL, "http://")))
	var failed *net.OpError
	if errors.As(err, &failed) {
		fmt.Println("the same one again: cannot", failed.Op)
	}
	// Output:
	// a free port: true
	// the same one again: cannot listen
}

// The server accepts one key pair.
func ExampleWithAKSK() {
	srv := cdntest.NewServer(cdntest.WithAKSK("MYACCESSKEY", "my-secret-key"))
	defer srv.Close()

	for _, secret := range []string{"my-secret-key", "my-old-secret-key"} {
		client := srv.NewClient(cdn.WithAKSK("MYACCESSKEY", secret))
		_, err := client.ListExportTasks(context.Background(), nil)
		fmt.Println(secret, "is refused:", errors.Is(err, cdn.ErrUnauthorized))
	}
	// Output:
	// my-secret-key is refused: false
	// my-old-secret-key is refused: true
}

// A client with temporary keys is refused if it does not send the security token.
func ExampleWithSecurityToken() {
	srv := cdntest.NewServer(cdntest.WithSecurityToken("my-security-token"))
	defer srv.Close()

	_, err := srv.NewClient().ListExportTasks(context.Background(), nil)
	fmt.Println("with the token:", err)

	_, err = srv.NewClient(cdn.WithAKSK(srv.AK, srv.SK)).ListExportTasks(context.Background(), nil)
	fmt.Println("without it:", errors.Is(err, cdn.ErrUnauthorized))
	// Output:
	// with the token: <nil>
	// without it: true
}

// A plain GET without a signature, as a script sends it.
func ExampleWithNoAuth() {
	srv := cdntest.NewServer(cdntest.WithNoAuth())
	defer srv.Close()

	resp, err := http.Get(srv.URL + "/v1/cdn/statistics/export-tasks")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d %s", resp.StatusCode, body)
	// Output: 200 {"total":0,"data":[]}
}

// An export is finished at once, for tests that are not about waiting.
func ExampleWithExportTime() {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	defer srv.Close()

	if _, err := srv.NewClient().CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(srv.Tasks()[0].Status)
	// Output: success
}

// The service cannot make the file.
func ExampleWithFailedExports() {
	srv := cdntest.NewServer(cdntest.WithFailedExports(), cdntest.WithExportTime(0))
	defer srv.Close()
	client := srv.NewClient()
	if _, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{}); err != nil {
		fmt.Println(err)
		return
	}

	task, err := client.WaitForExportTask(context.Background(), srv.Tasks()[0].TaskID)
	if errors.Is(err, cdn.ErrTaskFailed) {
		fmt.Println("the task ended with", task.Status)
	}
	// Output: the task ended with fail
}

// A link that has expired is refused with the object store's 403.
func ExampleWithLinkExpiry() {
	start := time.Now()
	var passed atomic.Int64
	srv := cdntest.NewServer(
		cdntest.WithClock(func() time.Time { return start.Add(time.Duration(passed.Load())) }),
		cdntest.WithLinkExpiry(10*time.Minute),
	)
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("time,domain,flux\n"))

	for range 2 {
		resp, err := http.Get(task.DownloadLink)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(resp.Status)
		_ = resp.Body.Close() // only the status is of interest
		passed.Add(int64(11 * time.Minute))
	}
	// Output:
	// 200 OK
	// 403 Forbidden
}

// A download without package cdn is checked against the sum that the store sends.
func ExampleWithContentMD5() {
	srv := cdntest.NewServer(cdntest.WithContentMD5())
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("time,domain,flux\n"))

	resp, err := http.Get(task.DownloadLink)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	file, err := io.ReadAll(resp.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := md5.Sum(file)
	fmt.Println(resp.Header.Get("Content-MD5") == base64.StdEncoding.EncodeToString(sum[:]))
	// Output: true
}

// A page may be shorter than asked. Code that takes one page for the whole list misses tasks.
func ExampleWithPageCap() {
	srv := cdntest.NewServer(cdntest.WithPageCap(2), cdntest.WithSampleTasks(5))
	defer srv.Close()
	client := srv.NewClient()

	page, err := client.ListExportTasks(context.Background(), &cdn.ListExportTasksRequest{Limit: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a page has", len(page.Data), "of", page.Total)

	n := 0
	for _, err := range client.ExportTasks(context.Background(), nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		n++
	}
	fmt.Println("all pages have", n)
	// Output:
	// a page has 2 of 5
	// all pages have 5
}

// The account has 2 requests a minute. A client whose deadline is nearer gets the gateway's refusal.
func ExampleWithQuota() {
	srv := cdntest.NewServer(cdntest.WithQuota(2, time.Minute))
	defer srv.Close()
	client := srv.NewClient(cdn.WithRetryPolicy(cdn.RetryPolicy{MaxAttempts: 1}))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	for range 3 {
		_, err := client.ListExportTasks(ctx, nil)
		fmt.Println("throttled:", errors.Is(err, cdn.ErrThrottled))
	}
	// Output:
	// throttled: false
	// throttled: false
	// throttled: true
}

// With a fixed window, both requests of a minute are free again at once when the next minute begins.
func ExampleWithQuotaWindow() {
	start := time.Now()
	var passed atomic.Int64
	srv := cdntest.NewServer(
		cdntest.WithQuota(2, time.Minute),
		cdntest.WithQuotaWindow(cdntest.FixedWindow),
		cdntest.WithClock(func() time.Time { return start.Add(time.Duration(passed.Load())) }),
		cdntest.WithNoAuth(),
	)
	defer srv.Close()

	for range 6 {
		resp, err := http.Get(srv.URL + "/v1/cdn/statistics/export-tasks")
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close() // only the status is of interest
		fmt.Println(time.Duration(passed.Load()), resp.StatusCode)
		passed.Add(int64(15 * time.Second))
	}
	// Output:
	// 0s 200
	// 15s 200
	// 30s 429
	// 45s 429
	// 1m0s 200
	// 1m15s 200
}

// The list does not show a task that was just created. Code that takes the newest task for its own takes another one.
func ExampleWithListLag() {
	start := time.Now()
	var passed atomic.Int64
	srv := cdntest.NewServer(
		cdntest.WithListLag(3*time.Second),
		cdntest.WithClock(func() time.Time { return start.Add(time.Duration(passed.Load())) }),
	)
	defer srv.Close()
	client := srv.NewClient()
	if _, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{}); err != nil {
		fmt.Println(err)
		return
	}

	for range 2 {
		page, err := client.ListExportTasks(context.Background(), nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("after", time.Duration(passed.Load()), "the list has", page.Total, "of", len(srv.Tasks()))
		passed.Add(int64(3 * time.Second))
	}
	// Output:
	// after 0s the list has 0 of 1
	// after 3s the list has 1 of 1
}

// A link of the other kind has the time when it was made and the seconds for which it is valid.
func ExampleWithAmzLinks() {
	srv := cdntest.NewServer(cdntest.WithAmzLinks(), cdntest.WithLinkExpiry(time.Hour))
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{}, []byte("time,domain,flux\n"))

	link, err := url.Parse(task.DownloadLink)
	if err != nil {
		fmt.Println(err)
		return
	}
	for name := range link.Query() {
		if strings.HasPrefix(name, "X-Amz-D") || strings.HasPrefix(name, "X-Amz-E") {
			fmt.Println(name)
		}
	}
	// Unordered output:
	// X-Amz-Date
	// X-Amz-Expires
}

// The server remembers only the latest requests.
func ExampleWithRequestLog() {
	srv := cdntest.NewServer(cdntest.WithRequestLog(2))
	defer srv.Close()
	client := srv.NewClient()

	for offset := range 50 {
		if _, err := client.ListExportTasks(context.Background(), &cdn.ListExportTasksRequest{Offset: offset}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, request := range srv.Requests() {
		fmt.Println("offset", request.Query.Get("offset"))
	}
	// Output:
	// offset 48
	// offset 49
}

// Sample tasks have all statuses.
func ExampleWithSampleTasks() {
	noon := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
	srv := cdntest.NewServer(
		cdntest.WithClock(func() time.Time { return noon }),
		cdntest.WithSampleTasks(4),
	)
	defer srv.Close()

	for _, task := range srv.Tasks() {
		fmt.Println(task.UpdateTime.Format(time.DateTime), task.TaskName, task.Status)
	}
	// Output:
	// 2026-03-04 12:00:00 flux_www.example.com_2026-03-04 success
	// 2026-03-04 08:53:00 req_num_img.example.com_2026-03-04 processing
	// 2026-03-04 05:46:00 flux_video.example.com_2026-03-04 fail
	// 2026-03-04 02:39:00 req_num_download.example.com_2026-03-04 success
}
