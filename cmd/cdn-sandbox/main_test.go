package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
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
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
)

// asProgram makes the test binary behave as the program, so that a test can send it signals, or as one
// that uses the vendor's client.
const asProgram = "CDN_SANDBOX_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		goleak.VerifyTestMain(m)
	case "official client":
		if err := useOfficialClient(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		main()
	}
}

// sandbox is the program running in this process.
type sandbox struct {
	url, welcome string
	end          func() int    // stops it and returns its exit status
	rest         func() string // what it printed after the welcome; after end
	stderr       lineWriter
}

func startSandbox(t *testing.T, args ...string) sandbox {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	status, stderr := make(chan int, 1), make(lineWriter, 100)
	go func() {
		status <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), streams{nil, writer, stderr})
		_ = writer.Close()
	}()
	lines := bufio.NewReader(reader)
	welcome := readWelcome(t, lines)
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines)
		rest <- string(text)
	}()
	end := func() int {
		cancel()
		return <-status
	}
	return sandbox{endpointIn(t, welcome), welcome, end, func() string { return <-rest }, stderr}
}

// lineWriter is a writer whose writes a test can wait for.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// readWelcome reads up to the welcome's last line.
func readWelcome(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err, "the welcome ends early: %s", text.String())
		text.WriteString(line)
		if strings.Contains(line, "cdn.WithEndpoint(") {
			return text.String()
		}
	}
}

func endpointIn(t *testing.T, welcome string) string {
	t.Helper()
	match := regexp.MustCompile(`at (http://127\.0\.0\.1:\d+) `).FindStringSubmatch(welcome)
	require.Len(t, match, 2, welcome)
	return match[1]
}

func TestServe(t *testing.T) {
	s := startSandbox(t)
	client, err := cdn.NewCdnClient(cdn.WithEndpoint(s.url), cdn.WithAKSK(defaultAK, defaultSK))
	require.NoError(t, err)
	page, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 6, page.Total)
	statuses := make(map[cdn.ExportTaskStatus]bool)
	for _, task := range page.Data {
		statuses[task.Status] = true
	}
	assert.Len(t, statuses, 3, "finished, unfinished and failed")

	assert.Equal(t, 0, s.end())
	_, err = http.Get(s.url)
	require.Error(t, err, "nothing listens any more")
}

func TestServeFlags(t *testing.T) {
	s := startSandbox(t, "-tasks", "2", "-ak", "my-ak", "-sk", "my-sk", "-export-time", "0s", "-no-auth")
	defer s.end()
	response, err := http.Post(s.url+"/v1/cdn/statistics/export-tasks", "application/json", strings.NewReader(`{}`))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, response.StatusCode, "-no-auth")
	require.NoError(t, response.Body.Close())

	client, err := cdn.NewCdnClient(cdn.WithEndpoint(s.url), cdn.WithAKSK("my-ak", "my-sk"))
	require.NoError(t, err)
	page, err := client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 3, page.Total)
	assert.Equal(t, cdn.ExportTaskSuccess, page.Data[0].Status)
	assert.Contains(t, page.Data[0].TaskName, "flux_", "it is the created one")
}

// The welcome can be pasted into a shell as it is, and sets what clients read. The farewell undoes it.
func TestWelcomeIsForAShell(t *testing.T) {
	const show = `printf '%s|%s|%s|%s\n' "$CLOUD_SDK_AK" "$CLOUD_SDK_SK" "$CLOUD_SDK_SECURITY_TOKEN" "$HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1"` + "\n"
	s := startSandbox(t, "-fail", "list=503:1", "-quota", "20/1m", "-lag", "1s", "-latency", "1ms")
	assert.Equal(t, 0, s.end())
	farewell := s.rest()
	for line := range strings.Lines(s.welcome + farewell) {
		assert.Regexp(t, `^(#.*|export [A-Z_0-9]+=\S+|unset [A-Z_0-9 ]+)\n$`, line)
	}
	for _, setting := range []string{"# -fail list=503:1", "# -quota 20/1m", "# -lag 1s", "# -latency 1ms"} {
		assert.Contains(t, s.welcome, setting+"\n")
	}
	out, err := exec.Command("sh", "-c", s.welcome+show+farewell+show).Output()
	require.NoError(t, err)
	assert.Equal(t, defaultAK+"|"+defaultSK+"||"+s.url+"\n|||\n", string(out))
}

func TestFarewellLeavesAGivenKey(t *testing.T) {
	assert.NotContains(t, farewell(serveFlags{ak: defaultAK, sk: "given"}), "CLOUD_SDK_SK")
}

func TestWelcomeKeepsAGivenKeySecret(t *testing.T) {
	text := welcome("http://127.0.0.1:1", serveFlags{ak: "it's", sk: "given", noAuth: true})
	assert.NotContains(t, text, "given\n")
	assert.NotContains(t, text, "=given")
	assert.NotContains(t, text, "'given'")
	assert.Contains(t, text, `export CLOUD_SDK_AK='it'\''s'`)
	assert.Contains(t, text, "# -no-auth\n")
}

func TestMistakes(t *testing.T) {
	busy := startSandbox(t)
	defer busy.end()
	address := strings.TrimPrefix(busy.url, "http://")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"unknown flag", []string{"-unknown"}, 2, "flag provided but not defined: -unknown"},
		{"bad number", []string{"-tasks", "x"}, 2, `invalid value "x"`},
		{"negative tasks", []string{"-tasks", "-1"}, 2, "-tasks must not be negative"},
		{"negative time", []string{"-export-time", "-1s"}, 2, "-export-time, -lag and -latency must not be negative"},
		{"no key", []string{"-sk", ""}, 2, "-ak and -sk must not be empty"},
		{"argument", []string{"extra"}, 2, `unexpected argument "extra"`},
		{"all addresses", []string{"-addr", ":8086"}, 2, "-allow-remote"},
		{"all IPv4 addresses", []string{"-addr", "0.0.0.0:0"}, 2, "-allow-remote"},
		{"another machine's", []string{"-addr", "192.0.2.1:80"}, 2, "-allow-remote"},
		{"a name", []string{"-addr", "example.com:80"}, 2, "-allow-remote"},
		{"no port", []string{"-addr", "127.0.0.1"}, 1, "missing port"},
		{"negative lag", []string{"-lag", "-1s"}, 2, "-export-time, -lag and -latency must not be negative"},
		{"negative latency", []string{"-latency", "-1s"}, 2, "must not be negative"},
		{"a quota without a time", []string{"-quota", "20"}, 2, "must be N/PERIOD, such as 20/1m"},
		{"a quota of none", []string{"-quota", "0/1m"}, 2, "must be N/PERIOD, such as 20/1m"},
		{"a quota of an odd time", []string{"-quota", "20/minute"}, 2, `the period "minute" must be a duration such as 1m`},
		{"an unknown fault", []string{"-fail", "SlowDwon"}, 2, `unknown fault "SlowDwon"`},
		{"an unknown code", []string{"-fail", "CDN.9999"}, 2, `unknown fault "CDN.9999"`},
		{"no fault", []string{"-fail", "list="}, 2, `unknown fault ""`},
		{"an odd status", []string{"-fail", "99"}, 2, "status 99 is not from 200 to 599"},
		{"faults of unknown requests", []string{"-fail", "get=503"}, 2, `unknown requests "get"`},
		{"faults of no requests", []string{"-fail", "503:0"}, 2, `"0" must be a number, at least 1, or a percentage`},
		{"faults of too many percent", []string{"-fail", "503:101%"}, 2, `"101%" must be`},
		{"faults of odd requests", []string{"-fail", "503:x"}, 2, `"x" must be`},
		{"a control character", []string{"-\u009b31m"}, 2, `-\u009b31m`},
		{"a mark of direction", []string{"\u202eabc"}, 2, `\u202eabc`},
		{"address in use", []string{"-addr", address}, 1, address + " is in use, perhaps by another sandbox: stop it or give another -addr"},
		{"another machine's address", []string{"-addr", "192.0.2.1:80", "-allow-remote"}, 1, "cannot listen on -addr 192.0.2.1:80: "},
		{"impossible key", []string{"-addr", "127.0.0.1:0", "-sk", "a b"}, 1, "SecretKey"},
		{"sign a file that is not there", []string{"sign", "-data", "@/nowhere", "POST", "http://127.0.0.1/"}, 1, "/nowhere"},
		{"sign without a URL", []string{"sign", "GET"}, 2, "a method and a URL, not 1 arguments"},
		{"sign with a flag at the end", []string{"sign", "GET", "http://127.0.0.1/", "-sk", "x"}, 2, "give -sk before the method and the URL"},
		{"sign with an unknown flag", []string{"sign", "-x"}, 2, "-x"},
		{"sign an odd method", []string{"sign", "G T", "http://127.0.0.1/"}, 2, "invalid method"},
		{"sign a URL without a scheme", []string{"sign", "GET", "example.com/x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign a host for a scheme", []string{"sign", "GET", "localhost:8086/x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign a path", []string{"sign", "GET", "/x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign a URL of another scheme", []string{"sign", "GET", "ftp://example.com/x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign a URL without a host", []string{"sign", "GET", "http:///x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign a URL with a port only", []string{"sign", "GET", "http://:8086/x"}, 2, "the URL needs http:// or https:// and a host"},
		{"sign an odd URL", []string{"sign", "GET", "http://127.0.0.1/?a=%zz"}, 1, "invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, c.status, run(t.Context(), c.args, streams{nil, &stdout, &stderr}))
			assert.Regexp(t, `^cdn-sandbox: [^\n]+\n$`, stderr.String(), "one line")
			assert.Contains(t, stderr.String(), c.stderr)
			assert.Empty(t, stdout.String())
		})
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"[::]:1": false, ":1": false, "10.0.0.1:1": false, "localhost.example.com:1": false,
	} {
		assert.Equal(t, want, isLoopback(addr), addr)
	}
	assert.NoError(t, serveFlags{addr: ":1", ak: "a", sk: "b", allowRemote: true}.check(nil))
}

func TestHelp(t *testing.T) {
	for command, want := range map[string]string{"": "cdn-sandbox -fail create=lost:1", "sign": "curl -H @-"} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 0, run(t.Context(), append(strings.Fields(command), "-h"), streams{nil, &stdout, &stderr}))
		assert.Contains(t, stdout.String(), want)
		assert.Contains(t, stdout.String(), "\n  -ak key\n")
		assert.Empty(t, stderr.String())
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestOutputThatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{{"-addr", "127.0.0.1:0"}, {"sign", "GET", "http://127.0.0.1/"}} {
		var stderr bytes.Buffer
		assert.Equal(t, 1, run(t.Context(), args, streams{nil, fullDisk{}, &stderr}))
		assert.Contains(t, stderr.String(), syscall.ENOSPC.Error())
	}
}

func TestSign(t *testing.T) {
	s := startSandbox(t)
	defer s.end()
	tasks := s.url + "/v1/cdn/statistics/export-tasks"
	for _, c := range []struct {
		name        string
		environment string // the secret key in it, beside the sandbox's access key
		args        []string
		method, url string
		body        string
		want        int
	}{
		{name: "list", method: "GET", url: tasks + "?task_id&task_name", want: 200},
		{name: "method in small letters", method: "get", url: tasks, want: 200},
		{name: "create", args: []string{"-data", `{"stat_type":"flux"}`}, method: "POST", url: tasks, body: `{"stat_type":"flux"}`, want: 200},
		{name: "another body", args: []string{"-data", `{}`}, method: "POST", url: tasks, body: `{"stat_type":"flux"}`, want: 401},
		{name: "another key", args: []string{"-sk", "wrong"}, method: "GET", url: tasks + "?task_id&task_name", want: 401},
		{name: "the environment's key", environment: "wrong", method: "GET", url: tasks + "?task_id&task_name", want: 401},
		{name: "flags win", environment: "wrong", args: []string{"-sk", defaultSK}, method: "GET", url: tasks + "?task_id&task_name", want: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			setKeys(t, "", "", "")
			if c.environment != "" {
				setKeys(t, defaultAK, c.environment, "")
			}
			var stdout, stderr bytes.Buffer
			args := append(append([]string{"sign"}, c.args...), c.method, c.url)
			require.Equal(t, 0, run(t.Context(), args, streams{nil, &stdout, &stderr}), stderr.String())
			assert.NotContains(t, stdout.String(), defaultSK)

			response, err := http.DefaultClient.Do(signedRequest(t, strings.ToUpper(c.method), c.url, c.body, stdout.String()))
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, c.want, response.StatusCode)
		})
	}
}

func TestSignReadsTheBody(t *testing.T) {
	setKeys(t, "", "", "")
	const body, url = "{\"stat_type\":\"flux\"}\n", "http://127.0.0.1:8086/v1/cdn/statistics/export-tasks"
	file := filepath.Join(t.TempDir(), "export.json")
	require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
	for data, stdin := range map[string]string{body: "not read", "@" + file: "not read", "@-": body} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{"sign", "-data", data, "POST", url}, streams{strings.NewReader(stdin), &stdout, &stderr})
		require.Equal(t, 0, status, stderr.String())
		signer := cdn.Signer{AccessKey: defaultAK, SecretKey: defaultSK}
		assert.NoError(t, signer.Verify(signedRequest(t, "POST", url, body, stdout.String()), time.Now()), data)
	}
}

// setKeys sets what sign reads in the environment.
func setKeys(t *testing.T, ak, sk, token string) {
	t.Helper()
	t.Setenv("CLOUD_SDK_AK", ak)
	t.Setenv("CLOUD_SDK_SK", sk)
	t.Setenv("CLOUD_SDK_SECURITY_TOKEN", token)
}

func TestSignTakesKeysFromFlagsThenTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		name          string
		ak, sk, token string // in the environment
		args          []string
		want          cdn.Signer
		mistake       string
	}{
		{name: "nothing given", want: cdn.Signer{AccessKey: defaultAK, SecretKey: defaultSK}},
		{name: "flags", args: []string{"-ak", "a", "-sk", "s"}, want: cdn.Signer{AccessKey: "a", SecretKey: "s"}},
		{name: "-ak alone", args: []string{"-ak", "a"}, want: cdn.Signer{AccessKey: "a", SecretKey: defaultSK}},
		{name: "-sk alone", args: []string{"-sk", "s"}, want: cdn.Signer{AccessKey: defaultAK, SecretKey: "s"}},
		{name: "a token without keys", token: "t", want: cdn.Signer{AccessKey: defaultAK, SecretKey: defaultSK}},
		{name: "environment", ak: "ea", sk: "es", want: cdn.Signer{AccessKey: "ea", SecretKey: "es"}},
		{name: "environment with a token", ak: "ea", sk: "es", token: "t", want: cdn.Signer{AccessKey: "ea", SecretKey: "es", SecurityToken: "t"}},
		{name: "half from each", ak: "ea", args: []string{"-sk", "s"}, want: cdn.Signer{AccessKey: "ea", SecretKey: "s"}},
		{name: "half from each, the token is the access key's", ak: "ea", token: "t", args: []string{"-sk", "s"},
			want: cdn.Signer{AccessKey: "ea", SecretKey: "s", SecurityToken: "t"}},
		{name: "other half from each", sk: "es", args: []string{"-ak", "a"}, want: cdn.Signer{AccessKey: "a", SecretKey: "es"}},
		{name: "flags win", ak: "ea", sk: "es", token: "t", args: []string{"-ak", "a", "-sk", "s"}, want: cdn.Signer{AccessKey: "a", SecretKey: "s"}},
		{name: "flags win over half", sk: "es", args: []string{"-ak", "a", "-sk", "s"}, want: cdn.Signer{AccessKey: "a", SecretKey: "s"}},
		{name: "no secret key", ak: "ea", mistake: "CLOUD_SDK_SK is not set while CLOUD_SDK_AK is"},
		{name: "no access key", sk: "es", mistake: "CLOUD_SDK_AK is not set while CLOUD_SDK_SK is"},
		{name: "no secret key for the flag", ak: "ea", args: []string{"-ak", "a"}, mistake: "CLOUD_SDK_SK is not set while CLOUD_SDK_AK is"},
		{name: "no access key for the flag", sk: "es", args: []string{"-sk", "s"}, mistake: "CLOUD_SDK_AK is not set while CLOUD_SDK_SK is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			setKeys(t, c.ak, c.sk, c.token)
			const url = "http://127.0.0.1:8086/v1"
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append(append([]string{"sign"}, c.args...), "GET", url), streams{nil, &stdout, &stderr})
			if c.mistake != "" {
				assert.Equal(t, 2, status)
				assert.Contains(t, stderr.String(), c.mistake)
				assert.Empty(t, stdout.String())
				return
			}
			require.Equal(t, 0, status, stderr.String())
			assert.NoError(t, c.want.Verify(signedRequest(t, "GET", url, "", stdout.String()), time.Now()))
		})
	}
}

// signedRequest is a request with the headers that sign has printed.
func signedRequest(t *testing.T, method, url, body, printed string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for line := range strings.Lines(printed) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(name, value)
	}
	return r
}

func TestSignals(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		program := exec.CommandContext(t.Context(), os.Args[0], "-addr", "127.0.0.1:0")
		program.Env = append(os.Environ(), asProgram+"=1")
		stdout, err := program.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, program.Start())
		readWelcome(t, bufio.NewReader(stdout))
		require.NoError(t, program.Process.Signal(signal))
		assert.NoError(t, program.Wait(), "exit status 0 after %v", signal)
	}
}
