package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

// TestMain puts every test into a time zone that no machine is in by chance.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 5*3600+45*60)
	os.Exit(m.Run())
}

// result is what one run of the program left behind.
type result struct {
	status         int
	stdout, stderr string
}

func runWith(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := cli.Status("list", run(ctx, args, &stdout, &stderr), &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// live starts a server and puts its keys into the environment.
func live(t *testing.T, opts ...cdntest.Option) *cdntest.Server {
	t.Helper()
	srv := cdntest.NewServer(opts...)
	t.Cleanup(srv.Close)
	t.Setenv("CLOUD_SDK_AK", srv.AK)
	t.Setenv("CLOUD_SDK_SK", srv.SK)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", "")
	return srv
}

func TestTable(t *testing.T) {
	srv := live(t)
	created := time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
	srv.AddTask(cdn.ExportTask{TaskID: "a1", TaskName: "February", CreateTime: created, UpdateTime: created.Add(time.Minute)}, []byte("x"))
	srv.AddTask(cdn.ExportTask{TaskID: "b22", Status: "processing", CreateTime: created, UpdateTime: created.Add(time.Hour)}, nil)

	got := runWith(t.Context(), "-endpoint", srv.URL)
	want := result{0, `ID   NAME      STATUS      CREATED              UPDATED
b22  -         processing  2026-03-02 01:45:00  2026-03-02 02:45:00
a1   February  success     2026-03-02 01:45:00  2026-03-02 01:46:00
`, "2 of 2 tasks\n"}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestTimeThatIsNotThere(t *testing.T) {
	srv := live(t)
	srv.Inject(cdntest.Fault{Body: `{"total":1,"data":[{"task_id":"a","task_name":"b","status":"success"}]}`})

	got := runWith(t.Context(), "-endpoint", srv.URL)
	if want := "a   b     success  -        -\n"; got.status != 0 || !strings.HasSuffix(got.stdout, want) {
		t.Errorf("got %+v\nwant a table that ends with %q", got, want)
	}
}

// Names come from outside: none may clear the terminal, change its colours, or add a row or column.
func TestNamesCannotCommandTheTerminal(t *testing.T) {
	srv := live(t)
	name := "a\x1b[2Jb\tc\nd\re\a\u009bf\u202eg\u2028h\xff"
	body, err := json.Marshal(map[string]any{"total": 1, "data": []any{map[string]any{"task_id": "1", "task_name": name}}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Inject(cdntest.Fault{Body: string(body)})

	got := runWith(t.Context(), "-endpoint", srv.URL)
	if want := `a\x1b[2Jb\tc\nd\re\a\u009bf\u202eg\u2028h` + "\ufffd"; !strings.Contains(got.stdout, " "+want+" ") {
		t.Errorf("got %q\nwant the name as %q", got.stdout, want)
	}
	srv.Inject(cdntest.Fault{Body: string(body)})
	asJSON := runWith(t.Context(), "-json", "-endpoint", srv.URL)
	if want := `"a\u001b[2Jb\tc\nd\re\u0007\u009bf\u202eg\u2028h` + "\ufffd"; !strings.Contains(asJSON.stdout, want) {
		t.Errorf("got %q\nwant the name as %q", asJSON.stdout, want)
	}
	if lines := strings.Count(got.stdout, "\n"); lines != 2 {
		t.Errorf("the table has %d lines, want 2: %q", lines, got.stdout)
	}
}

func TestJSONIsTheWireForm(t *testing.T) {
	srv := live(t)
	body := `{"total":7,"data":[{"task_id":"1","task_name":"<R&D>","status":"success",` +
		`"download_link":"https://files.example.com/1?a=1&b=2","create_time":1675134803874,"update_time":1675134803875}]}`
	srv.Inject(cdntest.Fault{Body: body})

	got := runWith(t.Context(), "-json", "-endpoint", srv.URL)
	if want := (result{0, body + "\n", ""}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestJSONOfAnEmptyList(t *testing.T) {
	srv := live(t)
	got := runWith(t.Context(), "-json", "-endpoint", srv.URL)
	if want := (result{0, `{"total":0,"data":[]}` + "\n", ""}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPagesAndFilters(t *testing.T) {
	srv := live(t)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i, id := range []string{"t1", "t2", "t3", "t4", "t5"} {
		name := []string{"even", "odd"}[(i+1)%2]
		srv.AddTask(cdn.ExportTask{TaskID: id, TaskName: name, UpdateTime: start.Add(time.Duration(i) * time.Hour)}, nil)
	}
	tests := []struct {
		args   []string
		ids    []string
		stderr string
	}{
		{nil, []string{"t5", "t4", "t3", "t2", "t1"}, "5 of 5 tasks\n"},
		{[]string{"-limit", "2"}, []string{"t5", "t4"}, "2 of 5 tasks\n"},
		{[]string{"-limit", "2", "-offset", "3"}, []string{"t2", "t1"}, "2 of 5 tasks\n"},
		{[]string{"-offset", "9"}, nil, "0 of 5 tasks\n"},
		{[]string{"-task-id", "t3"}, []string{"t3"}, "1 of 1 tasks\n"},
		{[]string{"-task-id", "t9"}, nil, "0 of 0 tasks\n"},
		{[]string{"-task-name", "even"}, []string{"t4", "t2"}, "2 of 2 tasks\n"},
		{[]string{"-task-name", "odd", "-limit", "1", "-offset", "1"}, []string{"t3"}, "1 of 3 tasks\n"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := runWith(t.Context(), append(test.args, "-endpoint", srv.URL)...)
			var ids []string
			for line := range strings.Lines(got.stdout) {
				ids = append(ids, strings.Fields(line)[0])
			}
			if want := append([]string{"ID"}, test.ids...); got.status != 0 || !slices.Equal(ids, want) {
				t.Errorf("status %d, first column %q, want 0, %q", got.status, ids, want)
			}
			if got.stderr != test.stderr {
				t.Errorf("stderr %q, want %q", got.stderr, test.stderr)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	gone := cdntest.NewServer()
	gone.Close()
	always := func(status int, body string) cdntest.Fault {
		return cdntest.Fault{Times: -1, Status: status, Body: body}
	}
	tests := []struct {
		name  string
		fault cdntest.Fault
		sk    string
		args  []string
		want  string
	}{
		{name: "half the keys", sk: "none", want: "CLOUD_SDK_SK is not set"},
		{name: "wrong key", sk: "wrong", want: "check the secret key"},
		{name: "denied", fault: always(http.StatusForbidden, `{"error":{"error_code":"CDN.0403","error_msg":"no permission"}}`), want: "CDN.0403: no permission"},
		{name: "proxy", fault: always(http.StatusOK, "<html>\n<h1>Log in\x1b[2J</h1>\n</html>"), want: "<html> <h1>Log in"},
		{name: "timeout", fault: cdntest.Fault{Times: -1, Delay: time.Minute}, args: []string{"-timeout", "50ms"}, want: "deadline exceeded"},
		{name: "connection refused", args: []string{"-endpoint", gone.URL, "-timeout", "2s"}, want: "dial tcp"},
		{name: "limit", args: []string{"-limit", "-1"}, want: "Limit -1: must be"},
		{name: "endpoint", args: []string{"-endpoint", "ftp://example.com"}, want: "Endpoint"},
		{name: "region", args: []string{"-endpoint", "", "-region", "mars-1"}, want: "cn-north-1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			srv := live(t)
			srv.Inject(test.fault)
			switch test.sk {
			case "":
			case "none":
				t.Setenv("CLOUD_SDK_SK", "")
			default:
				t.Setenv("CLOUD_SDK_SK", test.sk)
			}
			got := runWith(t.Context(), append([]string{"-endpoint", srv.URL}, test.args...)...)
			if got.status != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 || strings.Contains(got.stderr, "\x1b") {
				t.Fatalf("got %+v, want status 1 and one line on stderr", got)
			}
			if !strings.HasPrefix(got.stderr, "list: cdn: ") || !strings.Contains(got.stderr, test.want) {
				t.Errorf("stderr %q, want %q in it", got.stderr, test.want)
			}
		})
	}
}

func TestInterruptStopsAtOnce(t *testing.T) {
	srv := live(t)
	srv.Inject(cdntest.Fault{Times: -1, Delay: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	stop := time.AfterFunc(50*time.Millisecond, cancel)
	defer stop.Stop()

	start := time.Now()
	got := runWith(ctx, "-endpoint", srv.URL)
	if got.status != 130 || got.stdout != "" || !strings.Contains(got.stderr, "context canceled") {
		t.Errorf("got %+v, want status 130", got)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSandbox(t *testing.T) {
	t.Setenv("CLOUD_SDK_AK", "not-used")
	t.Setenv("CLOUD_SDK_SK", "")
	got := runWith(t.Context(), "-sandbox")
	if got.status != 0 || strings.Count(got.stdout, "\n") != 11 || !strings.Contains(got.stdout, " success ") {
		t.Errorf("got %+v, want a table of ten tasks, finished ones among them", got)
	}
	if got.stderr != "10 of 12 tasks\n" {
		t.Errorf("stderr %q, want the numbers of tasks", got.stderr)
	}

	got = runWith(t.Context(), "-sandbox", "-json", "-limit", "1")
	var page cdn.ListExportTasksResponse
	if err := json.Unmarshal([]byte(got.stdout), &page); err != nil || page.Total != 12 || len(page.Data) != 1 {
		t.Errorf("got %+v, %v, want one of 12 tasks", page, err)
	}
}

func TestUsage(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-h"}, 0, "CLOUD_SDK_AK"},
		{[]string{"-bogus"}, 2, "list: wrong usage: flag provided but not defined: -bogus; -h shows the usage\n"},
		{[]string{"-limit", "ten"}, 2, "-limit"},
		{[]string{"tasks"}, 2, `unexpected argument "tasks"`},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := runWith(t.Context(), test.args...)
			if got.status != test.status || !strings.Contains(got.stdout+got.stderr, test.want) {
				t.Errorf("got %+v, want status %d and %q", got, test.status, test.want)
			}
		})
	}
}
