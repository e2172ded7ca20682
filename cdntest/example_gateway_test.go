package cdntest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// More than five requests with a wrong secret key lock the access key: the right secret key is refused too.
func ExampleWithKeyLock() {
	srv := cdntest.NewServer(cdntest.WithKeyLock())
	defer srv.Close()
	wrong := srv.NewClient(cdn.WithAKSK(srv.AK, "wrong"))
	for range 6 {
		if _, err := wrong.ListExportTasks(context.Background(), nil); !errors.Is(err, cdn.ErrUnauthorized) {
			fmt.Println(err)
			return
		}
	}

	_, err := srv.NewClient().ListExportTasks(context.Background(), nil)
	var refused *cdn.APIError
	if errors.As(err, &refused) {
		fmt.Println(refused.ErrorCode, refused.ErrorMsg)
	}
	// Output: APIGW.0301 Incorrect IAM authentication information: AK access failed to reach the limit,forbidden
}

// The gateway quotes the request. An error of package cdn contains no secret of it.
func ExampleWithCanonicalEcho() {
	srv := cdntest.NewServer(cdntest.WithCanonicalEcho(), cdntest.WithSecurityToken("my-security-token"))
	defer srv.Close()
	keys := new(global.Credentials)
	keys.AK, keys.SK, keys.SecurityToken = srv.AK, "wrong", "my-security-token"
	client := srv.NewClient(cdn.WithCredentials(keys))

	_, err := client.ListExportTasks(context.Background(), nil)
	fmt.Println(errors.Is(err, cdn.ErrUnauthorized), strings.Contains(fmt.Sprint(err), "my-security-token"))
	// Output: true false
}

// A call ends with its context although the service does not respond.
func ExampleWithLatency() {
	srv := cdntest.NewServer(cdntest.WithLatency(time.Hour))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()

	_, err := srv.NewClient().ListExportTasks(ctx, nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// Middleware adds a health check.
func ExampleWithMiddleware() {
	srv := cdntest.NewServer(cdntest.WithMiddleware(func(next http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "well") })
		mux.Handle("/", next)
		return mux
	}))
	defer srv.Close()

	resp, err := http.Get(srv.URL + "/healthz")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.Status)
	_ = resp.Body.Close() // only the status is of interest
	_, err = srv.NewClient().ListExportTasks(context.Background(), nil)
	fmt.Println("the API:", err)
	// Output:
	// 200 OK
	// the API: <nil>
}

// Most business errors come with status 200: the code decides.
func ExampleFaultCode() {
	srv := cdntest.NewServer()
	defer srv.Close()
	client := srv.NewClient()

	for _, code := range []string{"CDN.0005", "CDN.0202", "CDN.0004"} {
		fault := cdntest.FaultCode(code)
		fault.Match = cdntest.IsCreate
		srv.Inject(fault)
		_, err := client.CreateExportTask(context.Background(), &cdn.CreateExportTaskRequest{})
		var refused *cdn.APIError
		if errors.As(err, &refused) {
			fmt.Println(refused.StatusCode, refused.ErrorCode, refused.ErrorMsg)
		}
	}
	// Output:
	// 200 CDN.0005 The quota is used up
	// 200 CDN.0202 The domain, the time range or the step is wrong
	// 403 CDN.0004 No permission
}
