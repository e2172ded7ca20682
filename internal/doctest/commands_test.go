//go:build unix

package doctest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// notRun has the commands that the test does not run, with the reason.
var notRun = map[string]string{
	".ci/run":                         "it runs this test",
	"go test ./...":                   "it is a step of .ci/run",
	"go run ./examples/list -sandbox": "it is a step of .ci/run, which looks at what it prints",
	"go run ./examples/watch -sandbox -for 10s":                                       "it is a step of .ci/run, which looks at what it prints",
	"go run ./examples/export -sandbox -o /tmp/report":                                "it is a step of .ci/run, which looks at what it writes",
	"docker build -f cmd/cdn-sandbox/Dockerfile -t cdn-sandbox .":                     "it needs Docker",
	"docker run --rm -p 127.0.0.1:8086:8086 cdn-sandbox -quota 20/1m":                 "it needs Docker",
	"go run ./examples/fleet -sandbox -replicas 3 -kill -days 3":                      "it is a step of .ci/run",
	"go run ./examples/otel":                                                          "it is a step of .ci/run, which looks at what it prints",
	"(cd internal/doctest && GOWORK=off go test -run 'TestAPI|TestWeight' . -update)": "it is these tests",
	"go run golang.org/x/vuln/cmd/govulncheck@latest ./...":                           "it needs the vulnerability database",
}

// sandbox matches a command that runs until it is stopped.
var sandbox = regexp.MustCompile(`^go run \./cmd/cdn-sandbox( -no-auth)?$`)

// inlineCommand matches a command within a paragraph.
var inlineCommand = regexp.MustCompile("`((?:go (?:run|test|doc|build|vet) |\\.ci/)[^`]+)`")

// TestCommandsRun runs every command of the docs in a copy of the checkout. The environment has keys for a service on
// this machine.
func TestCommandsRun(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	t.Cleanup(srv.Close)
	task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("domain,flux\n"))
	checkout := copyCheckout(t)
	address := freeAddress(t)
	stand := strings.NewReplacer(
		"/path/to/checkout", checkout,
		"127.0.0.1:8086", address,
		" ID ", " "+task.TaskID+" ",
		" FILE", " "+filepath.Join(t.TempDir(), "file"),
		"/tmp/", t.TempDir()+"/",
	)
	var printed string // by the sandbox, for the other terminal
	stop := func() {}
	defer func() { stop() }()
	for _, script := range scripts(t) {
		script.text = runnable(t, script)
		folder := checkout
		switch {
		case script.text == "":
			continue
		case sandbox.MatchString(script.text):
			stop()
			printed, stop = startSandbox(t, checkout, script.text+" -addr "+address)
			continue
		case strings.Contains(script.text, "127.0.0.1:8086"):
			script.text = printed + script.text
		case strings.Contains(script.text, "/path/to/checkout"):
			folder = newConsumer(t)
		case strings.Contains(script.text, "xargs"): // the script changes the checkout
			folder = copyCheckout(t)
		}
		runScript(t, script, folder, stand.Replace(script.text), environment(t, srv))
		if folder != checkout {
			run(t, folder, []string{"GOWORK="}, "go", "build", "./...")
		}
	}
}

// scripts returns the blocks of commands and the commands within paragraphs, without duplicates.
func scripts(t *testing.T) []block {
	t.Helper()
	var found []block
	seen := map[string]bool{}
	add := func(b block) {
		b.text = strings.TrimSpace(b.text)
		if !seen[b.text] {
			found = append(found, b)
		}
		seen[b.text] = true
	}
	for _, b := range blocksOf(t, "sh") {
		add(b)
	}
	_, prose := blocks(t, "README.md")
	for _, match := range inlineCommand.FindAllStringSubmatch(prose, -1) {
		add(block{document: "README.md", text: match[1]})
	}
	return found
}

// tools matches programs that a machine with Go and git may lack.
var tools = regexp.MustCompile(`\b(curl|perl)\b`)

// runnable returns the script without the lines that cannot run here.
func runnable(t *testing.T, script block) string {
	t.Helper()
	if tool := tools.FindString(script.text); tool != "" {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s: %s: not run: %v", script, script.text, err)
			return ""
		}
	}
	var lines []string
	for line := range strings.SplitSeq(script.text, "\n") {
		if reason, ok := notRun[line]; ok {
			t.Logf("%s: %s: not run, since %s", script, line, reason)
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// environment returns the environment of a user of srv.
func environment(t *testing.T, srv *cdntest.Server) []string {
	none := filepath.Join(t.TempDir(), "none")
	return append(os.Environ(),
		"GOWORK=",
		"CLOUD_SDK_AK="+srv.AK, "CLOUD_SDK_SK="+srv.SK,
		"HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1="+srv.URL,
		"HUAWEICLOUD_SDK_CREDENTIALS_FILE="+none, "HUAWEICLOUD_SDK_REGIONS_FILE="+none,
	)
}

func runScript(t *testing.T, script block, folder, text string, env []string) {
	t.Helper()
	t.Logf("%s: %s", script, text)
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = folder, env
	output, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s: %s\n%s", script, text, output)
	assert.NotContains(t, string(output), `"error_code"`, "%s: %s", script, text)
}

// copyCheckout copies the tracked files of the checkout, and those that git add would track.
func copyCheckout(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name := range strings.SplitSeq(run(t, root, nil, "git", "ls-files", "-co", "--exclude-standard"), "\n") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if name == "" || os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		target := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		mode, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(target, data, mode.Mode()))
	}
	run(t, folder, nil, "git", "init", "-q")
	run(t, folder, nil, "git", "add", "-A")
	return folder
}

// newConsumer writes a module that imports the package and does not require it yet.
func newConsumer(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "go.mod"), "module example.com/consumer\n\ngo 1.26.0\n")
	writeFile(t, filepath.Join(folder, "main.go"), `package main

import "example.com/huaweicloud/cdn"

func main() { _, _ = cdn.NewCdnClient() }
`)
	return folder
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// startSandbox starts a server and returns the export lines that it prints for a shell.
func startSandbox(t *testing.T, folder, command string) (printed string, stop func()) {
	t.Helper()
	t.Log(command)
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run and what it runs end together
	cmd.WaitDelay = 10 * time.Second
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stop = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait() // go run reports the signal
	}
	var exports strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch {
		case strings.HasPrefix(lines.Text(), "export "):
			exports.WriteString(lines.Text() + "\n")
		case exports.Len() > 0: // after the last export line
			return exports.String(), stop
		}
	}
	stop()
	require.Fail(t, "the sandbox has ended", command)
	return "", stop
}

// TestDailyReport runs the cookbook's daily report twice and expects one export.
func TestDailyReport(t *testing.T) {
	srv := cdntest.NewServer(cdntest.WithExportTime(0))
	t.Cleanup(srv.Close)
	module := t.TempDir()
	writeModule(t, module)
	for _, b := range blocksOf(t, "go") {
		if strings.HasPrefix(b.text, "// Command daily ") {
			writeFile(t, filepath.Join(module, "main.go"), b.text)
		}
	}
	run(t, module, nil, "go", "build", "-o", "daily", ".")
	for range 2 {
		run(t, module, environment(t, srv), "./daily")
		reports, err := filepath.Glob(filepath.Join(module, "traffic-????-??-??"))
		require.NoError(t, err)
		assert.Len(t, reports, 1)
		assert.Len(t, srv.Tasks(), 1)
	}
}
