package cdntest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestServerListensOnLoopback(t *testing.T) {
	one, two := newFixture(t), newFixture(t)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+$`, one.URL)
	assert.NotEqual(t, one.URL, two.URL)
}

func TestWithAddr(t *testing.T) {
	first := cdntest.NewServer()
	addr := strings.TrimPrefix(first.URL, "http://")

	_, err := cdntest.Listen(cdntest.WithAddr(addr))
	require.ErrorContains(t, err, "cdntest: listen tcp "+addr)
	assert.PanicsWithValue(t, err.Error(), func() { cdntest.NewServer(cdntest.WithAddr(addr)) })

	first.Close()
}

func TestCloseFreesTheAddress(t *testing.T) {
	var again *cdntest.Server
	for range 20 { // another process may take the port in between
		first := cdntest.NewServer()
		first.Close()
		var err error
		if again, err = cdntest.Listen(cdntest.WithAddr(strings.TrimPrefix(first.URL, "http://"))); err == nil {
			assert.Equal(t, first.URL, again.URL)
			break
		}
	}
	require.NotNil(t, again)
	again.Close()
}

func TestOptionsOutOfRange(t *testing.T) {
	for name, option := range map[string]cdntest.Option{
		"AccessKey is empty":          cdntest.WithAKSK("", "sk"),
		"SecretKey is empty":          cdntest.WithAKSK("ak", ""),
		"SecretKey has a character":   cdntest.WithAKSK("ak", "line\n"),
		"WithClock: no clock":         cdntest.WithClock(nil),
		"WithExportTime: -1s":         cdntest.WithExportTime(-time.Second),
		"WithLinkExpiry: 0s":          cdntest.WithLinkExpiry(0),
		"WithPageCap: 0 is less than": cdntest.WithPageCap(0),
		"WithRequestLog: -1":          cdntest.WithRequestLog(-1),
		"WithListLag: -1s":            cdntest.WithListLag(-time.Second),
		"WithLatency: -1s":            cdntest.WithLatency(-time.Second),
		"WithMiddleware: no function": cdntest.WithMiddleware(nil),
		"WithQuota: 0 requests":       cdntest.WithQuota(0, time.Minute),
		"WithQuota: 0s":               cdntest.WithQuota(1, 0),
		"WithQuotaWindow: 3":          cdntest.WithQuotaWindow(cdntest.TokenBucket + 1),
		"WithQuotaWindow: -1":         cdntest.WithQuotaWindow(-1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cdntest.Listen(option)
			require.ErrorContains(t, err, name)
			assert.True(t, strings.HasPrefix(err.Error(), "cdntest: "), err)
			assert.PanicsWithValue(t, err.Error(), func() { cdntest.NewServer(option) })
		})
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	running := goleak.IgnoreCurrent()
	f := newFixture(t)
	f.create(`{}`)
	f.get(allTasks)
	idle, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	require.NoError(t, err)
	defer idle.Close()

	f.Close()
	goleak.VerifyNone(t, running)
	f.Close()
	_, err = f.try(f.request(http.MethodGet, "/", ""))
	require.Error(t, err)
}

// A client that has stopped reading must not hold up the end of a test.
func TestCloseDoesNotWaitForReaders(t *testing.T) {
	f := newFixture(t)
	task := f.AddTask(cdn.ExportTask{}, make([]byte, 16<<20))
	response, err := f.client.Do(f.request(http.MethodGet, task.DownloadLink, ""))
	require.NoError(t, err)
	defer response.Body.Close()
	f.Close()
}

func TestSecretsStaySecret(t *testing.T) {
	const sk, token = "the-secret-key", "the-security-token"
	srv := cdntest.NewServer(cdntest.WithAKSK("the-access-key", sk), cdntest.WithSecurityToken(token))
	defer srv.Close()
	values := []any{srv, *srv, []any{srv}, map[string]*cdntest.Server{"a": srv}, struct{ S cdntest.Server }{*srv}}

	var out bytes.Buffer
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T", "%z"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", value)
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("server", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("server", "value", value)
	}
	response, err := http.Get(srv.URL + allTasks)
	require.NoError(t, err)
	require.NoError(t, response.Write(&out))
	require.NoError(t, response.Body.Close())

	for _, secret := range []string{sk, token} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret))} {
			assert.NotContains(t, out.String(), form)
		}
	}
	assert.Contains(t, out.String(), "the-access-key", "it does print the rest")
}

func TestNewClient(t *testing.T) {
	srv := cdntest.NewServer()
	defer srv.Close()
	task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("a"))

	page, err := srv.NewClient().ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 1, page.Total)
	assert.Equal(t, task.TaskID, page.Data[0].TaskID)
	assert.Equal(t, task.UpdateTime, page.Data[0].UpdateTime)
}

func TestNewClientOptionsWin(t *testing.T) {
	srv, other := newFixture(t, cdntest.WithClock(time.Now)), cdntest.NewServer(cdntest.WithAKSK("other-ak", "other-sk"))
	defer other.Close()

	_, err := srv.NewClient(cdn.WithAKSK("unknown", "key")).ListExportTasks(t.Context(), nil)
	require.ErrorIs(t, err, cdn.ErrUnauthorized)
	_, err = srv.NewClient(cdn.WithEndpoint(other.URL), cdn.WithAKSK(other.AK, other.SK)).ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, other.Requests(), 1)

	defer func() { assert.Regexp(t, "^cdntest: cdn: .*Endpoint", recover()) }()
	srv.NewClient(cdn.WithEndpoint("://"))
}

func TestNewClientBringsTheToken(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithSecurityToken("a-token"))
	defer srv.Close()
	_, err := srv.NewClient().ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "a-token", srv.Requests()[0].Header.Get("X-Security-Token"))
}

func TestEveryAnswerIsIdentifiedAndDated(t *testing.T) {
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
	f.Inject(cdntest.Fault{Status: 503, Match: func(r *http.Request) bool { return r.URL.Path == "/fault" }})
	f.Inject(cdntest.Fault{Handled: true, Match: func(r *http.Request) bool { return r.URL.Path == "/handled" }})

	seen := make(map[string]bool)
	for _, a := range []response{
		f.get(allTasks),
		f.get(tasksPath),
		f.call(http.MethodPost, tasksPath, `{}`),
		f.send(f.request(http.MethodGet, allTasks, "")),
		f.get("/nowhere"),
		f.get("/fault"),
		f.get("/handled"),
		f.send(f.request(http.MethodGet, link, "")),
		f.send(f.request(http.MethodHead, link, "")),
		f.send(f.request(http.MethodGet, link+"0", "")),
	} {
		id := cmp.Or(a.Header.Get("X-Request-Id"), a.Header.Get("x-obs-request-id"))
		assert.Regexp(t, `^[0-9a-fA-F]{32}$`, id)
		assert.False(t, seen[id], "the id is used once")
		seen[id] = true
		assert.Equal(t, "Wed, 04 Mar 2026 05:06:07 GMT", a.Header.Get("Date"))
	}
}

func TestUnknownPathAndMethod(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/", "/v1/cdn/statistics", tasksPath + "/", "/v2/cdn/statistics/export-tasks", "/files"} {
		assertGateway(t, f.get(path), http.StatusNotFound, "APIGW.0101", "GET "+path)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, "ODD"} {
		assertGateway(t, f.call(method, allTasks, ""), http.StatusNotFound, "APIGW.0101", method)
	}
	head := f.call(http.MethodHead, allTasks, "")
	assert.Equal(t, http.StatusNotFound, head.StatusCode)
}

func TestBodyTooLarge(t *testing.T) {
	f := newFixture(t)
	body := `{"action":"` + strings.Repeat("a", 1<<20) + `"}`
	assertGateway(t, f.call(http.MethodPost, tasksPath, body), http.StatusRequestEntityTooLarge, "APIGW.0201", "1 MiB")
	assert.Empty(t, f.Tasks())
}

func TestBodyThatBreaksOff(t *testing.T) {
	f := newFixture(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{}", tasksPath)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	var text bytes.Buffer
	_, err = text.ReadFrom(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.Contains(t, text.String(), "400 Bad Request")
	assert.Contains(t, text.String(), "APIGW.0106")
	assert.Empty(t, f.Tasks())
}

func TestRequests(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{DropConnection: true, Match: func(r *http.Request) bool { return r.URL.Path == "/dropped" }})
	f.Inject(cdntest.Fault{Match: func(r *http.Request) bool {
		r.Header.Del("X-Extra")
		return false
	}})
	f.get(tasksPath + "?limit=3&task_id&task_name=a%20b")
	_, err := f.try(f.request(http.MethodPut, "/dropped", "body"))
	require.Error(t, err)
	create := f.signed(http.MethodPost, tasksPath, `{"stat_type":"flux"}`)
	create.Header.Set("X-Extra", "kept")
	f.send(create)

	requests := f.Requests()
	require.Len(t, requests, 3)
	assert.Equal(t, "GET", requests[0].Method)
	assert.Equal(t, tasksPath, requests[0].Path)
	assert.Equal(t, "3", requests[0].Query.Get("limit"))
	assert.Equal(t, "a b", requests[0].Query.Get("task_name"))
	assert.True(t, requests[0].Query.Has("task_id"))
	assert.Equal(t, f.URL, "http://"+requests[0].Host)
	assert.Contains(t, requests[0].Header.Get("Authorization"), f.AK)
	assert.Equal(t, "/dropped", requests[1].Path)
	assert.Equal(t, "body", string(requests[1].Body))
	assert.Equal(t, "kept", requests[2].Header.Get("X-Extra"))
	assert.Equal(t, `{"stat_type":"flux"}`, string(requests[2].Body))
}

func TestRequestLogKeepsTheLatest(t *testing.T) {
	for _, keep := range []int{0, 1, 3} {
		f := newFixture(t, cdntest.WithRequestLog(keep))
		for i := range 10 {
			f.get(fmt.Sprintf("/%d", i))
			requests := f.Requests()
			require.Len(t, requests, min(keep, i+1))
			for back := range requests {
				assert.Equal(t, fmt.Sprintf("/%d", i-back), requests[len(requests)-1-back].Path)
			}
		}
	}
}

func TestWithMiddleware(t *testing.T) {
	var order []string
	wrap := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, name)
				if r.URL.Path == "/page" {
					_, _ = fmt.Fprint(w, "a page of "+name)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	f := newFixture(t, cdntest.WithMiddleware(wrap("inner")), cdntest.WithMiddleware(wrap("outer")))
	assert.Equal(t, http.StatusOK, f.get(tasksPath).StatusCode)
	assert.Equal(t, []string{"outer", "inner"}, order)
	assert.Equal(t, "a page of outer", f.get("/page").body)
	assert.Len(t, f.Requests(), 1, "what a middleware handles does not reach the server")
}

func TestWithLatency(t *testing.T) {
	const latency = 5 * time.Millisecond
	f := newFixture(t, cdntest.WithLatency(latency))
	start := time.Now()
	assert.Equal(t, http.StatusOK, f.get(tasksPath).StatusCode)
	assert.GreaterOrEqual(t, time.Since(start), latency)
}

func TestLatencyEndsWithTheServer(t *testing.T) {
	f := newFixture(t, cdntest.WithLatency(time.Hour), cdntest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}))
	_, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`))
	require.Error(t, err)
	assert.Empty(t, f.Tasks())
}

// Under the race detector, this shows that the copies are the readers' own.
func TestRequestsAreTheCallersOwn(t *testing.T) {
	f := newFixture(t)
	f.call(http.MethodPost, tasksPath+"?limit=1&offset=2", `{}`)
	done := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			request := f.Requests()[0]
			request.Header.Del("Authorization")
			request.Header["Content-Length"][0] = "changed"
			request.Query.Del("limit")
			request.Query["offset"][0] = "changed"
			clear(request.Body)
		}()
	}
	<-done
	<-done
	request := f.Requests()[0]
	assert.Contains(t, request.Header.Get("Authorization"), f.AK)
	assert.Equal(t, "2", request.Header.Get("Content-Length"))
	assert.Equal(t, url.Values{"limit": {"1"}, "offset": {"2"}}, request.Query)
	assert.Equal(t, `{}`, string(request.Body))
}

// Many clients at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	const users, rounds = 8, 20
	f := newFixture(t, cdntest.WithExportTime(time.Second), cdntest.WithRequestLog(50))
	done := make(chan error, users)
	for user := range users {
		go func() { done <- f.useEverything(user, rounds) }()
	}
	for range users {
		require.NoError(t, <-done)
	}
	f.clock.Advance(time.Minute)
	tasks := f.Tasks()
	assert.Len(t, tasks, users*rounds, "each round creates one task and leaves it")
	for _, task := range tasks {
		assert.Equal(t, cdn.ExportTaskSuccess, task.Status)
	}
}

func (f *fixture) useEverything(user, rounds int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	path := fmt.Sprintf("/fault-%d", user)
	for range rounds {
		task := f.AddTask(cdn.ExportTask{}, []byte("a"))
		f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.TaskName = "b" })
		f.SetContent(task.TaskID, []byte("c"))
		f.Inject(cdntest.Fault{Status: 503, Match: func(r *http.Request) bool { return r.URL.Path == path }})
		for _, step := range []struct {
			method, path string
			want         int
		}{
			{http.MethodGet, allTasks, http.StatusOK},
			{http.MethodPost, tasksPath, http.StatusOK},
			{http.MethodGet, path, http.StatusServiceUnavailable},
			{http.MethodGet, path, http.StatusNotFound},
		} {
			r, err := http.NewRequestWithContext(ctx, step.method, f.URL+step.path, strings.NewReader(`{}`))
			if err != nil {
				return err
			}
			if err := f.signer.Sign(r, f.clock.Now()); err != nil {
				return err
			}
			a, err := f.try(r)
			if err != nil {
				return err
			}
			if a.StatusCode != step.want {
				return fmt.Errorf("%s %s: %s: %s", step.method, step.path, a.Status, a.body)
			}
		}
		f.clock.Advance(time.Millisecond)
		if !f.RemoveTask(task.TaskID) {
			return errors.New("the task was not there to be removed")
		}
		f.Requests()
		f.Tasks()
	}
	return nil
}
