package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
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

// program is the program at work.
type program struct {
	lines     *bufio.Scanner // of stdout
	stderr    output
	interrupt context.CancelFunc
	status    chan int
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	p := &program{lines: bufio.NewScanner(reader), interrupt: cancel, status: make(chan int, 1)}
	go func() {
		p.status <- cli.Status("watch", run(ctx, args, writer, &p.stderr), &p.stderr)
		_ = writer.Close()
	}()
	return p
}

// next is the next line of stdout.
func (p *program) next(t *testing.T) string {
	t.Helper()
	require.True(t, p.lines.Scan(), "no more lines; stderr: %s", &p.stderr)
	return p.lines.Text()
}

// end is the exit status, after what else is printed.
func (p *program) end() int {
	for p.lines.Scan() {
	}
	return <-p.status
}

// live starts a server and puts its keys into the environment. The channel is closed with the second request: the
// program then knows the list and watches it.
func live(t *testing.T, opts ...cdntest.Option) (*cdntest.Server, <-chan struct{}) {
	t.Helper()
	srv := cdntest.NewServer(opts...)
	t.Cleanup(srv.Close)
	t.Setenv("CLOUD_SDK_AK", srv.AK)
	t.Setenv("CLOUD_SDK_SK", srv.SK)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", "")
	watched := make(chan struct{})
	var requests atomic.Int32
	srv.Inject(cdntest.Fault{Times: -1, Match: func(*http.Request) bool {
		if requests.Add(1) == 2 {
			close(watched)
		}
		return false
	}})
	return srv, watched
}

// begin waits until the program watches.
func begin(t *testing.T, watched <-chan struct{}) {
	t.Helper()
	select {
	case <-watched:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the program does not watch")
	}
}

func TestLines(t *testing.T) {
	srv, watched := live(t)
	srv.AddTask(cdn.ExportTask{TaskID: "old"}, nil)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms")
	begin(t, watched)
	changed := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	local := changed.Add(5*time.Hour + 45*time.Minute).Format(time.DateTime)
	later := changed.Add(time.Minute)

	srv.AddTask(cdn.ExportTask{TaskID: "a1", TaskName: "daily", Status: "waiting", UpdateTime: changed}, nil)
	assert.Equal(t, local+"\ta1\tdaily\twaiting", p.next(t))
	srv.UpdateTask("a1", func(task *cdn.ExportTask) { task.Status, task.UpdateTime = cdn.ExportTaskFail, later })
	assert.Equal(t, later.Local().Format(time.DateTime)+"\ta1\tdaily\tfail", p.next(t))
	srv.AddTask(cdn.ExportTask{TaskID: "b2", UpdateTime: later.Add(time.Minute)}, []byte("x"))
	assert.Regexp(t, `\tb2\t-\tsuccess$`, p.next(t))

	p.interrupt()
	assert.Equal(t, 0, p.end())
	assert.Empty(t, p.stderr.String())
}

// Names come from outside: none may clear the terminal, change its colours, or add a line or field.
func TestNamesCannotCommandTheTerminal(t *testing.T) {
	srv, watched := live(t)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms")
	begin(t, watched)
	srv.AddTask(cdn.ExportTask{TaskID: "1", TaskName: "a\x1b[2Jb\tc\nd\re\a\u009bf\u202eg\u2028h", Status: "s\n"}, nil)
	assert.Regexp(t, `\t1\t`+regexp.QuoteMeta(`a\x1b[2Jb\tc\nd\re\a\u009bf\u202eg\u2028h`)+`\ts\\n$`, p.next(t))
	p.interrupt()
	assert.Equal(t, 0, p.end())
}

func TestJSONIsTheWireForm(t *testing.T) {
	srv, watched := live(t)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms", "-json")
	begin(t, watched)
	link := "https://files.example.com/1?a=1&b=2"
	changed := time.UnixMilli(4102444800123)
	srv.AddTask(cdn.ExportTask{TaskID: "1", TaskName: "<R&D>\n\u009b\u202e", DownloadLink: link, UpdateTime: changed}, nil)
	assert.Equal(t, `{"task_id":"1","task_name":"<R&D>\n\u009b\u202e","status":"success","download_link":"`+link+
		`","create_time":4102444800123,"update_time":4102444800123}`, p.next(t))
	p.interrupt()
	assert.Equal(t, 0, p.end())
}

func TestStopsByItself(t *testing.T) {
	srv, watched := live(t)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms", "-for", "1s")
	begin(t, watched)
	assert.Equal(t, 0, p.end())
	assert.Empty(t, p.stderr.String())
}

func TestStopsByItselfWithoutHavingSeenAll(t *testing.T) {
	srv, watched := live(t)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms", "-for", "1s")
	begin(t, watched)
	srv.ClearFaults()
	srv.Inject(cdntest.Fault{Times: -1, Body: "<html>Log in</html>"})
	assert.Equal(t, 1, p.end())
	assert.Regexp(t, `(?m)^time=.* level=WARN .*`, p.stderr.String(), "it says so meanwhile")
	assert.Regexp(t, `\nwatch: cdn: WatchExportTasks: .*deadline exceeded; .*<html>Log in</html>.*\n$`, p.stderr.String())
}

func TestInterruptOfTheFirstRequest(t *testing.T) {
	srv, _ := live(t)
	asked := make(chan struct{})
	srv.ClearFaults()
	srv.Inject(cdntest.Fault{Delay: time.Minute, Match: func(*http.Request) bool {
		close(asked)
		return true
	}})
	p := start(t, "-endpoint", srv.URL)
	begin(t, asked)
	p.interrupt()
	assert.Equal(t, 0, p.end())
	assert.Empty(t, p.stderr.String())
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name  string
		sk    string
		fault *cdntest.Fault
		args  []string
		want  string
	}{
		{name: "wrong key", sk: "wrong", want: "APIGW.0301"},
		{name: "proxy", fault: &cdntest.Fault{Times: -1, Body: "<h1>Log in\x1b[2J</h1>"}, want: "<h1>Log in"},
		{name: "region", args: []string{"-region", "mars-1", "-endpoint", ""}, want: "cn-north-1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			srv, _ := live(t)
			if test.sk != "" {
				t.Setenv("CLOUD_SDK_SK", test.sk)
			}
			if test.fault != nil {
				srv.Inject(*test.fault)
			}
			p := start(t, append([]string{"-endpoint", srv.URL}, test.args...)...)
			assert.Equal(t, 1, p.end())
			assert.Regexp(t, `(?:^|\n)watch: cdn: [^\n]*`+regexp.QuoteMeta(test.want)+`[^\n]*\n$`, p.stderr.String())
			assert.NotContains(t, p.stderr.String(), "\x1b")
		})
	}
}

// A permission that is taken away ends the watch at once.
func TestPermissionTakenAway(t *testing.T) {
	srv, watched := live(t)
	p := start(t, "-endpoint", srv.URL, "-every", "10ms")
	begin(t, watched)
	srv.Inject(cdntest.Fault{Times: -1, Status: http.StatusForbidden})
	assert.Equal(t, 1, p.end())
	assert.Regexp(t, `^watch: cdn: WatchExportTasks: .*403 Forbidden`, p.stderr.String())
}

func TestOutputThatIsGone(t *testing.T) {
	srv, watched := live(t)
	status := make(chan int, 1)
	var stderr output
	go func() {
		status <- cli.Status("watch", run(t.Context(), []string{"-endpoint", srv.URL, "-every", "10ms"}, broken{}, &stderr), &stderr)
	}()
	begin(t, watched)
	srv.AddTask(cdn.ExportTask{}, nil)
	assert.Equal(t, 1, <-status)
	assert.Contains(t, stderr.String(), "watch: broken\n")
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestSandbox(t *testing.T) {
	t.Setenv("CLOUD_SDK_AK", "not-used")
	t.Setenv("CLOUD_SDK_SK", "")
	p := start(t, "-sandbox", "-json")
	statuses := make(map[cdn.ExportTaskStatus]bool)
	for len(statuses) < 3 {
		var task cdn.ExportTask
		require.NoError(t, json.Unmarshal([]byte(p.next(t)), &task))
		statuses[task.Status] = true
	}
	p.interrupt()
	assert.Equal(t, 0, p.end())
	assert.Contains(t, statuses, cdn.ExportTaskSuccess)
	assert.Empty(t, p.stderr.String())
}

func TestUsage(t *testing.T) {
	for flag, want := range map[string]string{
		"-bogus": "watch: wrong usage: flag provided but not defined: -bogus; -h shows the usage\n",
		"tasks":  `watch: wrong usage: unexpected argument "tasks"; -h shows the usage` + "\n",
	} {
		p := start(t, flag)
		assert.Equal(t, 2, p.end())
		assert.Equal(t, want, p.stderr.String())
	}
	p := start(t, "-h")
	assert.Equal(t, "watch prints a line for each export task that is created or changes.", p.next(t))
	assert.Equal(t, 0, p.end())
}
