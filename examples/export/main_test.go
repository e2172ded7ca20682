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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
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
	status := run(ctx, args, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// live starts a server that stands for the service, and has the environment hold its keys.
func live(t *testing.T, opts ...cdntest.Option) *cdntest.Server {
	t.Helper()
	srv := cdntest.NewServer(append([]cdntest.Option{cdntest.WithExportTime(0)}, opts...)...)
	t.Cleanup(srv.Close)
	t.Setenv("CLOUD_SDK_AK", srv.AK)
	t.Setenv("CLOUD_SDK_SK", srv.SK)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", "")
	return srv
}

// at calls do when the server gets a request that match knows, before it is answered.
func at(srv *cdntest.Server, match func(*http.Request) bool, do func()) {
	srv.Inject(cdntest.Fault{Times: -1, Match: func(r *http.Request) bool {
		if match(r) {
			do()
		}
		return false
	}})
}

func isLookup(r *http.Request) bool { return r.URL.Query().Get("task_id") != "" }

// target is a path in a folder of its own, where a file is that must not be lost.
func target(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.csv")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	return path
}

// requireUntouched checks that nothing has happened to a target.
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

// served is what the server has in the file of its latest task.
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
	assert.Equal(t, fmt.Sprintf("%s: %d bytes\n", path, len(content)), got.stdout)
	assert.Equal(t, 1+24, strings.Count(content, "\n"), "a head, and a row for each hour")
	assert.Regexp(t, `^exporting flux of all from 2026-03-01T00:00:00\+08:00 to 2026-03-02T00:00:00\+08:00
task `+id+` is finished after \S+s
downloading
$`, got.stderr, "plain lines, where there is no terminal")
}

func TestWhatIsAskedFor(t *testing.T) {
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
	now := time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC) // in UTC+8 it is March 2, where the tests run March 1
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
	assert.Equal(t, result{0, path + ": 4 bytes\n", got.stderr}, got)
	requireContent(t, path, "a,b\n")
	assert.Contains(t, got.stderr, "waiting for task "+task.TaskID+"\n")
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
	assert.Contains(t, got.stderr, "\n-: 4 bytes\n")
	assert.NoFileExists(t, "-")
}

func TestSandbox(t *testing.T) {
	t.Setenv("CLOUD_SDK_AK", "nobody")
	t.Setenv("CLOUD_SDK_SK", "")
	path := target(t)
	got := runWith(t.Context(), "-sandbox", "-o", path)
	require.Equal(t, 0, got.status, got.stderr)
	assert.Regexp(t, `^sandbox: .* made up, by http://127\.0\.0\.1:\d+ in this process\n`, got.stderr)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(content), "time,domain,flux\n"))
}

// Nobody is told to go on with a task that was in this process.
func TestSandboxThatTakesTooLong(t *testing.T) {
	path := target(t)
	got := runWith(t.Context(), "-sandbox", "-timeout", "1s", "-o", path)
	assert.Equal(t, 1, got.status)
	assert.Contains(t, got.stderr, "\nexport: it took too long: check the network, or raise -timeout; the sandbox and its task are gone (")
	requireUntouched(t, path)
}

// oneLine is what every error ends with: the advice, and in brackets the reason.
var oneLine = regexp.MustCompile(`(?:^|\n)export: ([^(\n]+) \(([^\n]+)\)\n$`)

// The service takes the task, and then Ctrl-C comes: the program says how to go on.
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
	assert.Contains(t, got.stderr, "\nexport: stopped; go on with -task-id "+srv.Tasks()[0].TaskID+" (")
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
	assert.Contains(t, got.stderr, "\nexport: stopped; go on with -task-id "+srv.Tasks()[0].TaskID+" (")
}

func TestInterruptBeforeThereIsATask(t *testing.T) {
	srv := live(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := target(t)
	got := runWith(ctx, "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 130, got.status)
	requireUntouched(t, path)
	assert.Contains(t, got.stderr, "\nexport: stopped, and no task was created (")
	assert.Empty(t, srv.Tasks())
}

// The answer to the creation is lost, and Ctrl-C comes before the list has told.
func TestInterruptWithUnknownOutcome(t *testing.T) {
	srv := live(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var created atomic.Bool
	srv.Inject(cdntest.Fault{Status: http.StatusBadGateway, Match: func(r *http.Request) bool {
		if cdntest.IsCreate(r) {
			created.Store(true)
		}
		return cdntest.IsCreate(r)
	}})
	at(srv, func(*http.Request) bool { return created.Load() }, cancel)
	got := runWith(ctx, "-endpoint", srv.URL, "-o", target(t))
	assert.Equal(t, 130, got.status)
	assert.Contains(t, got.stderr, "\nexport: there may be a task now, or not: look for it with examples/list before you export again")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	gone := cdntest.NewServer()
	gone.Close()
	// Nobody waits an hour: the program is to say so at once.
	always := func(match func(*http.Request) bool, status int, body string) func(*testing.T, *cdntest.Server) {
		return func(_ *testing.T, srv *cdntest.Server) {
			srv.Inject(cdntest.Fault{Times: -1, Match: match, Status: status, Body: body, Header: http.Header{"Retry-After": {"3600"}}})
		}
	}
	tests := []struct {
		name    string
		prepare func(*testing.T, *cdntest.Server)
		options []cdntest.Option
		args    []string
		advice  string
		reason  string
		goOn    bool
	}{
		{
			name: "wrong key", prepare: func(t *testing.T, _ *cdntest.Server) { t.Setenv("CLOUD_SDK_SK", "wrong") },
			advice: "check the AK and SK", reason: "APIGW.0301",
		},
		{
			name: "half the keys", prepare: func(t *testing.T, _ *cdntest.Server) { t.Setenv("CLOUD_SDK_SK", "") },
			advice: "nothing was sent: correct the flag or setting", reason: "CLOUD_SDK_SK is not set",
		},
		{
			name: "refused", prepare: always(cdntest.IsCreate, http.StatusBadRequest, `{"error":{"error_code":"CDN.0001","error_msg":"no"}}`),
			advice: "see what it says", reason: "CDN.0001: no",
		},
		{
			name: "outcome unknown", prepare: always(cdntest.IsCreate, http.StatusBadGateway, ""), args: []string{"-timeout", "2s"},
			advice: "look for it with examples/list before you export again", reason: "502 Bad Gateway",
		},
		{
			name: "ambiguous", prepare: func(_ *testing.T, srv *cdntest.Server) {
				at(srv, cdntest.IsCreate, func() { srv.AddTask(cdn.ExportTask{TaskID: "another"}, nil) })
			},
			advice: "which of those named here is yours, and go on with its -task-id", reason: "another",
		},
		{
			name: "failed", options: []cdntest.Option{cdntest.WithFailedExports()},
			advice: "export again", reason: "export task failed",
		},
		{
			name: "no such task", args: []string{"-task-id", "nope"},
			advice: "look for it with examples/list", reason: "not found: nope",
		},
		{
			name: "not finished", prepare: func(_ *testing.T, srv *cdntest.Server) {
				srv.AddTask(cdn.ExportTask{TaskID: "t"}, []byte("x"))
				var lookups atomic.Int32
				at(srv, isLookup, func() {
					if lookups.Add(1) == 2 {
						srv.UpdateTask("t", func(task *cdn.ExportTask) { task.Status = "again" })
					}
				})
			},
			args:   []string{"-task-id", "t"},
			advice: "the task is not finished", reason: `status "again"`, goOn: true,
		},
		{
			name: "store refuses", prepare: always(cdntest.IsDownload, http.StatusNotFound, "<Error><Code>NoSuchKey</Code></Error>"),
			advice: "the store of the files refused", reason: "NoSuchKey", goOn: true,
		},
		{
			name: "too long", options: []cdntest.Option{cdntest.WithExportTime(time.Hour)}, args: []string{"-timeout", "5s"},
			advice: "raise -timeout", reason: "deadline exceeded", goOn: true,
		},
		{
			name: "nobody there", args: []string{"-endpoint", gone.URL, "-timeout", "10s"},
			advice: "check the network, the proxy and -endpoint", reason: "dial tcp",
		},
		{
			name: "end before start", args: []string{"-start", "2026-03-02", "-end", "2026-03-01"},
			advice: "nothing was sent: correct the flag", reason: "EndTime",
		},
		{
			name: "province without country", args: []string{"-province", "beijing"},
			advice: "nothing was sent: correct the flag", reason: "Provinces",
		},
		{
			name: "empty domain", args: []string{"-domains", "a,,b"},
			advice: "nothing was sent: correct the flag", reason: "DomainNames[1]",
		},
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
			line := oneLine.FindStringSubmatch(got.stderr)
			require.Equal(t, 1, got.status)
			require.Empty(t, got.stdout)
			require.NotNil(t, line, got.stderr)
			assert.Contains(t, line[1], test.advice)
			assert.Contains(t, line[2], test.reason)
			goOn := ""
			if tasks := srv.Tasks(); len(tasks) > 0 && test.goOn {
				goOn = tasks[0].TaskID
			}
			assert.Equal(t, test.goOn, strings.HasSuffix(line[1], "; go on with -task-id "+goOn), line[1])
		})
	}
}

// What cannot be written is known before there is a task.
func TestPathsThatCannotBeWritten(t *testing.T) {
	folder := t.TempDir()
	for path, advice := range map[string]string{
		folder: "the file cannot be written: make room for it, or name another with -o",
		filepath.Join(folder, "none", "report.csv"): "the folder of the file does not exist: create it, or name another file with -o",
	} {
		srv := live(t)
		got := runWith(t.Context(), "-endpoint", srv.URL, "-o", path)
		assert.Equal(t, 1, got.status)
		line := oneLine.FindStringSubmatch(got.stderr)
		require.NotNil(t, line, got.stderr)
		assert.Equal(t, advice, line[1])
		assert.Empty(t, srv.Requests())
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// A folder takes the file's name during the download: the task is still good.
func TestDiskFailsDuringTheDownload(t *testing.T) {
	srv := live(t)
	path := filepath.Join(t.TempDir(), "report.csv")
	at(srv, cdntest.IsDownload, func() { assert.NoError(t, os.Mkdir(path, 0o700)) })
	got := runWith(t.Context(), "-endpoint", srv.URL, "-o", path)
	assert.Equal(t, 1, got.status)
	assert.Contains(t, got.stderr, "\nexport: the file cannot be written: make room for it, or name another with -o; go on with -task-id "+srv.Tasks()[0].TaskID+" (")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside it")
}

func TestUsage(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		stderr string
	}{
		{[]string{"-h"}, 0, "-task-id"},
		{[]string{"-bogus"}, 2, "export: flag provided but not defined: -bogus; -h shows the usage\n"},
		{nil, 2, "-o is missing"},
		{[]string{"-o", "x", "-start", "yesterday"}, 2, "want YYYY-MM-DD"},
		{[]string{"-o", "x", "tasks"}, 2, `unexpected argument "tasks"`},
		{[]string{"-o", "x", "-timeout", "0s"}, 2, "-timeout must be more than 0"},
		{[]string{"-o", "x", "-sandbox", "-endpoint", "http://127.0.0.1:1"}, 2, "exclude each other"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := runWith(t.Context(), test.args...)
			assert.Equal(t, test.status, got.status)
			assert.Empty(t, got.stdout)
			assert.Contains(t, got.stderr, test.stderr)
		})
	}
}
