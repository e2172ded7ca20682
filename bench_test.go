package cdn_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// stubTransport sends the same page to each request, in the process.
type stubTransport struct {
	page   []byte
	header http.Header
}

func newStubTransport(tasks int) *stubTransport {
	page := []byte(cdn.PageText(tasks))
	return &stubTransport{page, http.Header{
		"Content-Type":   {"application/json"},
		"Content-Length": {strconv.Itoa(len(page))},
		"X-Request-Id":   {"5f1a7a5f0c9d4c0e8a3b2d1e0f9a8b7c"},
	}}
}

func (s *stubTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(req.Header.Get("Authorization"), "SDK-HMAC-SHA256 ") {
		return nil, fmt.Errorf("not signed")
	}
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: s.header,
		Body: io.NopCloser(bytes.NewReader(s.page)), ContentLength: int64(len(s.page)), Request: req,
	}, nil
}

// BenchmarkListExportTasks measures one call without a network, of this package and of the official SDK. The pages have
// task names that the official SDK can read, that is strings. A page of 1,000 is larger than the API allows.
func BenchmarkListExportTasks(b *testing.B) {
	for _, tasks := range []int{10, 100, 1000} {
		transport := newStubTransport(tasks)
		b.Run(fmt.Sprintf("tasks=%d/ours", tasks), func(b *testing.B) {
			client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithHTTPClient(&http.Client{Transport: transport}))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				got, err := client.ListExportTasks(b.Context(), &cdn.ListExportTasksRequest{Limit: min(tasks, 100)})
				if err != nil || len(got.Data) != tasks {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("tasks=%d/official", tasks), func(b *testing.B) {
			client := newOfficialClient(b, "https://cdn.myhuaweicloud.com", transport)
			limit := int32(tasks)
			b.ReportAllocs()
			for b.Loop() {
				got, err := client.ListExportTasks(&model.ListExportTasksRequest{Limit: &limit})
				if err != nil || len(*got.Data) != tasks {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewCdnClient measures a client that sends nothing.
func BenchmarkNewCdnClient(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProgram reports the size of a program that lists a page, with this package and with the official SDK. The
// third program has the official SDK without overrides of regions, which need a YAML reader.
func BenchmarkProgram(b *testing.B) {
	for _, program := range []struct{ name, folder, tags string }{
		{"ours", "ours", ""},
		{"official", "official", ""},
		{"official-without-overrides", "official", "fixed"},
	} {
		b.Run(program.name, func(b *testing.B) {
			binary := filepath.Join(b.TempDir(), "program")
			for b.Loop() {
				build := exec.CommandContext(b.Context(), "go", "build", "-tags", program.tags, "-o", binary, "./testdata/program/"+program.folder)
				if output, err := build.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, output)
				}
			}
			built, err := os.Stat(binary)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(built.Size())/1e6, "MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// loopback returns the address of a server on this machine that sends the page of the stub.
func loopback(b *testing.B, tasks int) string {
	b.Helper()
	stub := newStubTransport(tasks)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(stub.page)
	}))
	b.Cleanup(srv.Close)
	return srv.URL
}

// bareList makes the same call with net/http and encoding/json, without a signature.
func bareList(client *http.Client, endpoint string) (int, error) {
	resp, err := client.Get(endpoint + "/v1/cdn/statistics/export-tasks?limit=10")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var page struct {
		Total int `json:"total"`
		Data  []struct {
			TaskID       string `json:"task_id"`
			TaskName     string `json:"task_name"`
			Status       string `json:"status"`
			DownloadLink string `json:"download_link"`
			CreateTime   int64  `json:"create_time"`
			UpdateTime   int64  `json:"update_time"`
		} `json:"data"`
	}
	err = json.NewDecoder(resp.Body).Decode(&page)
	return len(page.Data), err
}

// BenchmarkLoopback measures one call over a socket, with and without this package.
func BenchmarkLoopback(b *testing.B) {
	endpoint := loopback(b, 10)
	b.Run("ours", func(b *testing.B) {
		client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithEndpoint(endpoint))
		if err != nil {
			b.Fatal(err)
		}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.ListExportTasks(b.Context(), &cdn.ListExportTasksRequest{Limit: 10}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			if n, err := bareList(client, endpoint); err != nil || n != 10 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkGoroutines measures the calls of one client from 1 and from 64 goroutines. One operation is one call.
func BenchmarkGoroutines(b *testing.B) {
	endpoint := loopback(b, 10)
	client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithEndpoint(endpoint))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.CloseIdleConnections)
	for _, goroutines := range []int{1, 64} {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			var calls atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range goroutines {
				wg.Go(func() {
					for calls.Add(1) <= int64(b.N) {
						if _, err := client.ListExportTasks(b.Context(), nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkDownload measures a file of 256 MiB over a socket, with this package and with io.Copy.
func BenchmarkDownload(b *testing.B) {
	const size = 256 << 20
	chunk := make([]byte, 1<<20)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for range size / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	b.Cleanup(store.Close)
	b.Run("ours", func(b *testing.B) {
		srv := cdntest.NewServer()
		b.Cleanup(srv.Close)
		task := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskSuccess, DownloadLink: store.URL}, nil)
		client := srv.NewClient()
		defer client.CloseIdleConnections()
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			if n, err := client.Download(b.Context(), task.TaskID, io.Discard); err != nil || n != size {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("io.Copy", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Get(store.URL)
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if closeErr := resp.Body.Close(); err != nil || closeErr != nil || n != size {
				b.Fatal(n, err, closeErr)
			}
		}
	})
}

// generatedList is a transport with a list of any length. Each task is newer than the one after it.
type generatedList struct{ tasks int }

func (l generatedList) RoundTrip(req *http.Request) (*http.Response, error) {
	query := req.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		return nil, err
	}
	offset, _ := strconv.Atoi(query.Get("offset"))
	page := fmt.Appendf(nil, `{"total":%d,"data":[`, l.tasks)
	for i := offset; i < min(offset+limit, l.tasks); i++ {
		if i > offset {
			page = append(page, ',')
		}
		page = fmt.Appendf(page, `{"task_id":"2459be350111d2da0f8dc010%08d","status":"success","update_time":%d}`, i, 1675134803874-i)
	}
	page = append(page, "]}"...)
	return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(page)), ContentLength: int64(len(page)), Request: req}, nil
}

// BenchmarkExportTasks reads whole lists. It reports the time of one task, which does not depend on the length.
func BenchmarkExportTasks(b *testing.B) {
	for _, tasks := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(tasks), func(b *testing.B) {
			client, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk"), cdn.WithHTTPClient(&http.Client{Transport: generatedList{tasks}}))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n := 0
				for _, err := range client.ExportTasks(b.Context(), &cdn.ListExportTasksRequest{Limit: 100}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != tasks {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tasks), "ns/task")
		})
	}
}
