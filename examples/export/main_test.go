package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

// TestMain puts every test into a time zone that no machine is in by chance.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 5*3600+45*60)
	goleak.VerifyTestMain(m)
}

// result is what one run of the program left behind.
type result struct {
	status         int
	stdout, stderr string
}

// output may be written to by several goroutines, as a program's own outputs may.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func runWith(ctx context.Context, args ...string) result {
	var stdout, stderr output
	status := cli.Status("export", run(ctx, args, &stdout, &stderr), &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// live starts a server and puts its keys into the environment.
func live(t *testing.T, opts ...cdntest.Option) *cdntest.Server {
	t.Helper()
	srv := cdntest.NewServer(append([]cdntest.Option{cdntest.WithExportTime(0)}, opts...)...)
	t.Cleanup(srv.Close)
	t.Setenv("CLOUD_SDK_AK", srv.AK)
	t.Setenv("CLOUD_SDK_SK", srv.SK)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", "")
	return srv
}

// at calls do if match is true for a request, before the server responds.
func at(srv *cdntest.Server, match func(*http.Request) bool, do func()) {
	srv.Inject(cdntest.Fault{Times: -1, Match: func(r *http.Request) bool {
		if match(r) {
			do()
		}
		return false
	}})
}

// target returns the path of a file that must not be lost, in a folder of its own.
func target(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.csv")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	return path
}

// requireUntouched checks that the target is as it was.
func requireUntouched(t *testing.T, path string) {
	t.Helper()
	requireContent(t, path, "precious")
}

func requireContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside it")
}

// served returns the latest task of the server and the content of its file.
func served(t *testing.T, srv *cdntest.Server) (taskID, content string) {
	t.Helper()
	tasks := srv.Tasks()
	require.NotEmpty(t, tasks)
	client := srv.NewClient()
	defer client.CloseIdleConnections()
	var b bytes.Buffer
	_, err := client.Download(t.Context(), tasks[0].TaskID, &b)
	require.NoError(t, err)
	return tasks[0].TaskID, b.String()
}

func TestExport(t *testing.T) {
	srv := live(t)
	path := target(t)
	got := runWith(t.Context(), "-endpoint", srv.URL, "-o", path, "-start", "2026-03-01", "-interval", "1h")
	require.Equal(t, 0, got.status, got.stderr)

	id, content := served(t, srv)
	requireContent(t, path, content)
	assert.Empty(t, got.stdout)
	assert.Contains(t, got.stderr, "task_id="+id+"\n")
	assert.True(t, strings.HasSuffix(got.stderr, fmt.Sprintf("\n%s: %d bytes\n", path, len(content))), got.stderr)
	assert.Equal(t, 1+24, strings.Count(content, "\n"), "a header and a row for each hour")
}

func TestRequestHasTheFlags(t *testing.T) {
	tests := []struct {
		name string
		args []string
		body string
	}{
		{
			"all flags",
			[]string{
				"-domains", "a.example.com, b.example.com", "-start", "2026-03-01", "-end", "2026-03-02T12:00:00Z",
				"-interval", "5m", "-stat", "req_num", "-area", "global", "-group-by", "domain", "-country", "cn",
				"-province", "beijing,shanghai", "-isp", "dianxin", "-language", "en", "-action", "reports_detail",
			},
			`{"action":"reports_detail","domain_name":"a.example.com,b.example.com","start_time":1772294400000,"end_time":1772452800000,` +
				`"group_by":"domain","interval":300,"service_area":"global","stat_type":"req_num","country":"cn",` +
				`"province":"beijing,shanghai","isp":"dianxin","language":"en"}`,
		},
		{
			"a day after the start",
			[]string{"-start", "2026-03-01T00:00:00Z"},
			`{"domain_name":"all","stat_type":"flux","start_time":1772323200000,"end_time":1772409600000}`,
		},
		{
			"a day before the end",
			[]string{"-end", "2026-03-02T00:00:00Z"},
			`{"domain_name":"all","stat_type":"flux","start_time":1772323200000,"end_time":1772409600000}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			srv := live(t)
			got := runWith(t.Context(), append(test.args, "-endpoint", srv.URL, "-o", target(t))...)
			require.Equal(t, 0, got.status, got.stderr)
			var bodies []string
			for _, request := range srv.Requests() {
				if request.Method == http.MethodPost {
					bodies = append(bodies, string(request.Body))
				}
			}
			require.Len(t, bodies, 1)
			assert.JSONEq(t, test.body, bodies[0])
		})
	}
}

func TestYesterdayByDefault(t *testing.T) {
	now := time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC) // March 2 in UTC+8, March 1 in time.Local
	c, err := parse([]string{"-o", "x"}, &output{}, now)
	require.NoError(t, err)
	assert.Equal(t, "2026-03-01T00:00:00+08:00", c.request.StartTime.Format(time.RFC3339))
	assert.Equal(t, "2026-03-02T00:00:00+08:00", c.request.EndTime.Format(time.RFC3339))
}

func TestGoOnWithATask(t *testing.T) {
	srv := live(t)
	task := srv.AddTask(cdn.ExportTask{}, []byte("a,b\n"))
	path := target(t)
	got := runWith(t.Context(), "-endpoint", srv.URL, "-task-id", task.TaskID, "-o", path)
	assert.Equal(t, 0, got.status)
	assert.Contains(t, got.stderr, path+": 4 bytes\n")
	requireContent(t, path, "a,b\n")
	for _, request := range srv.Requests() {
		assert.Equal(t, http.MethodGet, request.Method, "nothing is created")
	}
}

func TestStandardOutput(t *testing.T) {
	srv := live(t)
	task := srv.AddTask(cdn.ExportTask{}, []byte("a,b\n"))
	got := runWith(t.Context(), "-endpoint", srv.URL, "-task-id", task.TaskID, "-o", "-")
	require.Equal(t, 0, got.status, got.stderr)
	assert.Equal(t, "a,b\n", got.stdout)
	assert.Contains(t, got.stderr, "-: 4 bytes\n")
	assert.NoFileExists(t, "-")
}

func TestSandbox(t *testing.T) {
	t.Setenv("CLOUD_SDK_AK", "not-used")
	t.Setenv("CLOUD_SDK_SK", "")
	path := target(t)
	got := runWith(t.Context(), "-sandbox", "-o", path)
	require.Equal(t, 0, got.status, got.stderr)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(content), "time,domain,flux\n"))
}

// The sandbox's task ends with the program.
func TestSandboxTimeout(t *testing.T) {
	path := target(t)
	got := runWith(t.Context(), "-sandbox", "-timeout", "1s", "-o", path)
	assert.Equal(t, 1, got.status)
	assert.Contains(t, got.stderr, "deadline exceeded")
	assert.NotContains(t, got.stderr, "go on with")
	requireUntouched(t, path)
}

func TestInterruptWhileWaiting(t *testing.T) {
	srv := live(t, cdntest.WithExportTime(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var created atomic.Pointer[time.Time]
	at(srv, func(r *http.Request) bool {
		if cdntest.IsCreate(r) {
			created.Store(new(time.Now()))
		}
		// The list proves which task it is 3 s after the create. The next poll belongs to the wait.
		at := created.Load()
		return cdntest.IsList(r) && at != nil && time.Since(*at) > 4*time.Second
	}, cancel)
	path := target(t)
	got := runWith(ctx, "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 130, got.status)
	assert.Empty(t, got.stdout)
	requireUntouched(t, path)
	assert.True(t, strings.HasSuffix(got.stderr, "; go on with -task-id "+srv.Tasks()[0].TaskID+"\n"), got.stderr)
}

func TestInterruptWhileDownloading(t *testing.T) {
	srv := live(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv.Inject(cdntest.Fault{Delay: time.Hour, Match: func(r *http.Request) bool {
		if cdntest.IsDownload(r) {
			cancel()
		}
		return cdntest.IsDownload(r)
	}})
	path := target(t)
	got := runWith(ctx, "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 130, got.status)
	assert.Empty(t, got.stdout)
	requireUntouched(t, path)
	assert.True(t, strings.HasSuffix(got.stderr, "; go on with -task-id "+srv.Tasks()[0].TaskID+"\n"), got.stderr)
}

func TestInterruptBeforeThereIsATask(t *testing.T) {
	srv := live(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := target(t)
	got := runWith(ctx, "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 130, got.status)
	requireUntouched(t, path)
	assert.Contains(t, got.stderr, "context canceled")
	assert.Empty(t, srv.Tasks())
}

func TestErrors(t *testing.T) {
	gone := cdntest.NewServer()
	gone.Close()
	always := func(match func(*http.Request) bool, status int, body string) func(*testing.T, *cdntest.Server) {
		return func(_ *testing.T, srv *cdntest.Server) {
			srv.Inject(cdntest.Fault{Times: -1, Match: match, Status: status, Body: body})
		}
	}
	tests := []struct {
		name    string
		prepare func(*testing.T, *cdntest.Server)
		options []cdntest.Option
		args    []string
		want    string
		goOn    bool // whether the error says how to go on with the task
	}{
		{name: "wrong key", prepare: func(t *testing.T, _ *cdntest.Server) { t.Setenv("CLOUD_SDK_SK", "wrong") }, want: "APIGW.0301"},
		{name: "refused", prepare: always(cdntest.IsCreate, http.StatusBadRequest, `{"error":{"error_code":"CDN.0001","error_msg":"no"}}`), want: "CDN.0001: no"},
		{name: "outcome unknown", prepare: always(cdntest.IsCreate, http.StatusBadGateway, ""), args: []string{"-timeout", "2s"}, want: "outcome unknown"},
		{
			name: "ambiguous", prepare: func(_ *testing.T, srv *cdntest.Server) {
				at(srv, cdntest.IsCreate, func() { srv.AddTask(cdn.ExportTask{TaskID: "another"}, nil) })
			},
			want: "another",
		},
		{name: "failed", options: []cdntest.Option{cdntest.WithFailedExports()}, want: "export task failed"},
		{name: "no such task", args: []string{"-task-id", "nope"}, want: "not found: nope"},
		{
			name: "store refuses", prepare: always(cdntest.IsDownload, http.StatusNotFound, "<Error><Code>NoSuchKey</Code></Error>"),
			want: "NoSuchKey", goOn: true,
		},
		{name: "timeout", options: []cdntest.Option{cdntest.WithExportTime(time.Hour)}, args: []string{"-timeout", "5s"}, want: "deadline exceeded", goOn: true},
		{name: "connection refused", args: []string{"-endpoint", gone.URL, "-timeout", "10s"}, want: "dial tcp"},
		{name: "end before start", args: []string{"-start", "2026-03-02", "-end", "2026-03-01"}, want: "EndTime"},
		{name: "empty domain", args: []string{"-domains", "a,,b"}, want: "DomainNames[1]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			srv := live(t, test.options...)
			if test.prepare != nil {
				test.prepare(t, srv)
			}
			path := target(t)
			got := runWith(t.Context(), append([]string{"-endpoint", srv.URL, "-o", path}, test.args...)...)
			requireUntouched(t, path)
			require.Equal(t, 1, got.status)
			require.Empty(t, got.stdout)
			assert.Regexp(t, `(?:^|\n)export: cdn: [^\n]*`+regexp.QuoteMeta(test.want)+`[^\n]*\n$`, got.stderr)
			assert.Equal(t, test.goOn, strings.Contains(got.stderr, "; go on with -task-id "), got.stderr)
		})
	}
}

// A missing folder is an error before there is a task.
func TestMissingFolder(t *testing.T) {
	srv := live(t)
	got := runWith(t.Context(), "-endpoint", srv.URL, "-o", filepath.Join(t.TempDir(), "none", "report.csv"))
	assert.Equal(t, 1, got.status)
	assert.Regexp(t, `^export: the folder of -o: .*none: .*\n$`, got.stderr)
	assert.Empty(t, srv.Requests())
}

// A folder takes the file's name during the download. The task is still good.
func TestFileThatCannotBeWritten(t *testing.T) {
	srv := live(t)
	path := filepath.Join(t.TempDir(), "report.csv")
	at(srv, cdntest.IsDownload, func() { assert.NoError(t, os.Mkdir(path, 0o700)) })
	got := runWith(t.Context(), "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 1, got.status)
	assert.Contains(t, got.stderr, path)
	assert.Contains(t, got.stderr, "; go on with -task-id "+srv.Tasks()[0].TaskID)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside it")
}

func TestProgress_every_10_seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		report := progress(&out)
		for second := range int64(25) {
			report(cdn.Progress{Bytes: second << 20, Total: -1})
			time.Sleep(time.Second)
		}
		assert.Equal(t, "downloading: 11.0 MiB\ndownloading: 22.0 MiB\n", out.String())
	})
}

func TestUsage(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-h"}, 0, "CLOUD_SDK_AK"},
		{[]string{"-bogus"}, 2, "export: wrong usage: flag provided but not defined: -bogus; -h shows the usage\n"},
		{nil, 2, "-o is missing"},
		{[]string{"-o", "x", "-start", "yesterday"}, 2, "must be YYYY-MM-DD"},
		{[]string{"-o", "x", "tasks"}, 2, `unexpected argument "tasks"`},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := runWith(t.Context(), test.args...)
			assert.Equal(t, test.status, got.status)
			assert.Contains(t, got.stdout+got.stderr, test.want)
		})
	}
}
