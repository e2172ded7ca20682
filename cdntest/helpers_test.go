package cdntest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

const (
	tasksPath = "/v1/cdn/statistics/export-tasks"
	allTasks  = tasksPath + "?task_id=&task_name="
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a server with a clock, and a signer and an HTTP client that fit it.
type fixture struct {
	*cdntest.Server
	t      *testing.T
	clock  *clock
	signer cdn.Signer
	client *http.Client
}

func newFixture(t *testing.T, opts ...cdntest.Option) *fixture {
	t.Helper()
	clock := newClock()
	srv := cdntest.NewServer(append([]cdntest.Option{cdntest.WithClock(clock.Now)}, opts...)...)
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &fixture{
		Server: srv,
		t:      t,
		clock:  clock,
		signer: cdn.Signer{AccessKey: srv.AK, SecretKey: srv.SK},
		client: &http.Client{Transport: transport},
	}
}

// response is a response that was read to its end, or to the error that ended it.
type response struct {
	*http.Response
	body string
	err  error
}

// request makes a request that is not signed.
func (f *fixture) request(method, pathOrURL, body string) *http.Request {
	f.t.Helper()
	url := pathOrURL
	if strings.HasPrefix(url, "/") {
		url = f.URL + pathOrURL
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, url, strings.NewReader(body))
	require.NoError(f.t, err)
	return r
}

// send sends r as it is and expects a response.
func (f *fixture) send(r *http.Request) response {
	f.t.Helper()
	a, err := f.try(r)
	require.NoError(f.t, err)
	return a
}

func (f *fixture) try(r *http.Request) (response, error) {
	resp, err := f.client.Do(r)
	if err != nil {
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return response{resp, string(body), err}, nil
}

// signed makes a request that the server accepts.
func (f *fixture) signed(method, path, body string) *http.Request {
	f.t.Helper()
	r := f.request(method, path, body)
	require.NoError(f.t, f.signer.Sign(r, f.clock.Now()))
	return r
}

// call sends a signed request.
func (f *fixture) call(method, path, body string) response {
	f.t.Helper()
	return f.send(f.signed(method, path, body))
}

func (f *fixture) get(path string) response {
	f.t.Helper()
	return f.call(http.MethodGet, path, "")
}

// listing is a page as it is on the wire, read without the help of package cdn.
type listing struct {
	Total int              `json:"total"`
	Data  []map[string]any `json:"data"`
}

func (l listing) column(name string) []any {
	values := make([]any, 0, len(l.Data))
	for _, row := range l.Data {
		values = append(values, row[name])
	}
	return values
}

func (f *fixture) list(query string) listing {
	f.t.Helper()
	a := f.get(tasksPath + "?" + query)
	require.Equal(f.t, http.StatusOK, a.StatusCode, a.body)
	require.Equal(f.t, "application/json", a.Header.Get("Content-Type"))
	var page listing
	require.NoError(f.t, json.Unmarshal([]byte(a.body), &page))
	return page
}

// create creates a task and returns it as it is listed right after.
func (f *fixture) create(body string) cdn.ExportTask {
	f.t.Helper()
	a := f.call(http.MethodPost, tasksPath, body)
	require.Equal(f.t, http.StatusOK, a.StatusCode, a.body)
	return f.Tasks()[0]
}

func names(tasks []cdn.ExportTask) []string {
	all := make([]string, 0, len(tasks))
	for _, task := range tasks {
		all = append(all, task.TaskName)
	}
	return all
}

// assertGateway checks a response in the shape of the API gateway.
func assertGateway(t *testing.T, a response, status int, code, message string) {
	t.Helper()
	assert.Equal(t, status, a.StatusCode)
	var got map[string]string
	require.NoError(t, json.Unmarshal([]byte(a.body), &got), a.body)
	assert.Equal(t, code, got["error_code"])
	assert.Contains(t, got["error_msg"], message)
	assert.Equal(t, a.Header.Get("X-Request-Id"), got["request_id"])
	assert.Len(t, got, 3)
}

// assertRefused checks a response in the shape of the CDN, to an invalid parameter.
func assertRefused(t *testing.T, a response, message string) {
	t.Helper()
	assertCDN(t, a, http.StatusBadRequest, "CDN.0001", message)
}

// assertCDN checks an error in the shape of the CDN.
func assertCDN(t *testing.T, a response, status int, code, message string) {
	t.Helper()
	assert.Equal(t, status, a.StatusCode, a.body)
	var got map[string]map[string]string
	require.NoError(t, json.Unmarshal([]byte(a.body), &got), a.body)
	assert.Equal(t, code, got["error"]["error_code"])
	assert.Contains(t, got["error"]["error_msg"], message)
	assert.Len(t, got, 1)
	assert.Len(t, got["error"], 2)
}
