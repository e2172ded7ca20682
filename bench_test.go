package cdn_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"

	"example.com/huaweicloud/cdn"
)

// stubTransport answers every request with the same page, in the process.
type stubTransport struct {
	page   []byte
	header http.Header
}

func newStubTransport(tasks int) *stubTransport {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"total":%d,"data":[`, tasks)
	for i := range tasks {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"task_id":"2459be350111d2da0f8dc010e0a%05d","task_name":"daily-report-%05d","status":"success",`+
			`"download_link":"https://cdn-export.obs.example.com/exports/2459be350111d2da/report.csv?AccessKeyId=ABCDEFGHIJKLMNOP&Expires=1675134803&Signature=abcdefghijklmnopqrstuvwxyz%%3D",`+
			`"create_time":%d,"update_time":%d}`, i, i, 1675134803874-i, 1675134803874-i)
	}
	b.WriteString("]}")
	return &stubTransport{b.Bytes(), http.Header{
		"Content-Type":   {"application/json"},
		"Content-Length": {strconv.Itoa(b.Len())},
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

// BenchmarkListExportTasks is one call but for the network, ours and the official SDK's. The official
// one gets pages that it can read: task names that are strings.
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
				got, err := client.ListExportTasks(b.Context(), &cdn.ListExportTasksRequest{Limit: tasks})
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

// BenchmarkNewCdnClient is what a client costs before it is used.
func BenchmarkNewCdnClient(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cdn.NewCdnClient(cdn.WithAKSK("ak", "sk")); err != nil {
			b.Fatal(err)
		}
	}
}
