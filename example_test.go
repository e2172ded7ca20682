package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// A client of a server on this machine. For the service itself, leave the endpoint out. Without keys, the client finds
// them in the environment.
func ExampleNewCdnClient() {
	srv := cdntest.NewServer()
	defer srv.Close()

	client, err := cdn.NewCdnClient(
		cdn.WithAKSK(srv.AK, srv.SK),
		cdn.WithEndpoint(srv.URL),
		cdn.WithUserAgent("billing-report/1.4"),
	)
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
	// Output: 0 tasks
}

// Options are checked at once, and no error shows a key.
func ExampleNewCdnClient_invalidOption() {
	_, err := cdn.NewCdnClient(cdn.WithAKSK("MYACCESSKEY", "my-secret-key\n"))
	fmt.Println(errors.Is(err, cdn.ErrInvalidParameter))

	_, err = cdn.NewCdnClient(cdn.WithEndpoint("http://cdn.example.com"))
	fmt.Println(err)
	// Output:
	// true
	// cdn: NewCdnClient: invalid parameter: Endpoint "http://cdn.example.com": must be https, or WithInsecureHTTP given: only loopback hosts are reached without encryption
}

// The second page of two tasks, and the length of the whole list.
func ExampleCdnClient_ListExportTasks() {
	srv := cdntest.NewServer()
	defer srv.Close()
	for day := 1; day <= 5; day++ {
		srv.AddTask(cdn.ExportTask{
			TaskName:   fmt.Sprintf("traffic of March %d", day),
			UpdateTime: time.Date(2026, time.March, day+1, 0, 30, 0, 0, time.UTC),
		}, []byte("domain,flux\n"))
	}
	client := srv.NewClient()

	page, err := client.ListExportTasks(context.Background(), &cdn.ListExportTasksRequest{Limit: 2, Offset: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, task := range page.Data {
		fmt.Println(task.TaskName, task.Status, task.UpdateTime.Format(time.DateTime))
	}
	fmt.Println("of", page.Total)
	// Output:
	// traffic of March 3 success 2026-03-04 00:30:00
	// traffic of March 2 success 2026-03-03 00:30:00
	// of 5
}

func ExampleCdnClient_GetExportTask() {
	srv := cdntest.NewServer()
	defer srv.Close()
	added := srv.AddTask(cdn.ExportTask{TaskName: "traffic of March"}, []byte("domain,flux\n"))
	client := srv.NewClient()

	task, err := client.GetExportTask(context.Background(), added.TaskID)
	switch {
	case errors.Is(err, cdn.ErrTaskNotFound):
		fmt.Println("there is no such task, or no longer")
	case err != nil:
		fmt.Println(err)
	case task.Status.Done():
		fmt.Println(task.TaskName, "ended with", task.Status)
	default:
		fmt.Println(task.TaskName, "is not finished")
	}
	// Output: traffic of March ended with success
}

// A program branches on the sentinels, and finds the details in an *APIError.
func Example_errors() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient(cdn.WithAKSK(srv.AK, "not-the-secret-key"))

	_, err := client.ListExportTasks(context.Background(), nil)
	switch {
	case errors.Is(err, cdn.ErrUnauthorized):
		fmt.Println("check the keys and the clock")
	case errors.Is(err, cdn.ErrThrottled):
		fmt.Println("call less often")
	case err != nil:
		fmt.Println(err)
	}
	var response *cdn.APIError
	if errors.As(err, &response) {
		fmt.Println(response.StatusCode, response.ErrorCode, response.RequestID != "")
	}
	// Output:
	// check the keys and the clock
	// 401 APIGW.0301 true
}

// A logged or printed client shows its type and no secret.
func ExampleCdnClient_LogValue() {
	client, err := cdn.NewCdnClient(cdn.WithAKSK("MYACCESSKEY", "my-secret-key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	stdoutLogger().Info("ready", "client", client)
	fmt.Printf("%+v\n", client)
	// Output:
	// level=INFO msg=ready client=*cdn.CdnClient
	// *cdn.CdnClient
}

// A program that calls once a day does not keep its connections until the next day.
func ExampleCdnClient_CloseIdleConnections() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient()

	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { fmt.Println("a connection is used again:", got.Reused) },
	})
	for call := range 3 {
		if call == 2 {
			client.CloseIdleConnections()
		}
		if _, err := client.ListExportTasks(ctx, nil); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// a connection is used again: false
	// a connection is used again: true
	// a connection is used again: false
}

// The built-in regions, for the help text of a command.
func ExampleRegions() {
	fmt.Println("regions:", strings.Join(cdn.Regions(), ", "))
	fmt.Println("default:", cdn.DefaultRegion)
	// Output:
	// regions: ap-southeast-1, cn-north-1, eu-west-101
	// default: cn-north-1
}

// A request to another API of the vendor. Its signature is valid for 15 minutes.
func ExampleSigner_Sign() {
	signer := cdn.Signer{AccessKey: "MYACCESSKEY", SecretKey: "my-secret-key"}
	req, err := http.NewRequest(http.MethodPost, "https://cdn.myhuaweicloud.com/v1.0/cdn/domains", strings.NewReader(`{}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := signer.Sign(req, time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(req.Header.Get("X-Sdk-Date"))
	algorithm, parameters, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	fmt.Println(algorithm)
	for parameter := range strings.SplitSeq(parameters, ", ") {
		fmt.Println(parameter)
	}
	// Output:
	// 20260301T120000Z
	// SDK-HMAC-SHA256
	// Access=MYACCESSKEY
	// SignedHeaders=host;x-sdk-date
	// Signature=ce63a938d2841f976b4ea1f09f3f262488889e25669075681f910cacd3f0598e
}

// A server that accepts signed requests only.
func ExampleSigner_Verify() {
	signer := cdn.Signer{AccessKey: "MYACCESSKEY", SecretKey: "my-secret-key"}
	handler := func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		if err := signer.Verify(r, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, "welcome")
	}

	req := httptest.NewRequest(http.MethodPost, "https://internal.example.com/jobs", strings.NewReader(`{"job":1}`))
	unsigned := httptest.NewRecorder()
	handler(unsigned, req)
	fmt.Println(unsigned.Code)

	if err := signer.Sign(req, time.Now()); err != nil {
		fmt.Println(err)
		return
	}
	signed := httptest.NewRecorder()
	handler(signed, req)
	fmt.Println(signed.Code, signed.Body)
	// Output:
	// 401
	// 200 welcome
}

// A logged signer shows its access key and neither of its secrets.
func ExampleSigner_LogValue() {
	signer := cdn.Signer{AccessKey: "MYACCESSKEY", SecretKey: "my-secret-key", SecurityToken: "my-security-token"}
	stdoutLogger().Info("signing", "signer", signer)
	// Output: level=INFO msg=signing signer=cdn.Signer{AccessKey:MYACCESSKEY}
}
