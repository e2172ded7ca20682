package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// TestMain keeps the developer's own keys out of the tests.
func TestMain(m *testing.M) {
	for _, name := range os.Environ() {
		name, _, _ = strings.Cut(name, "=")
		if strings.HasPrefix(name, "CLOUD_SDK_") || strings.HasPrefix(name, "HUAWEICLOUD_SDK_") || strings.HasPrefix(name, "HC_CONTAINER_") {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("HUAWEICLOUD_SDK_REGIONS_FILE", filepath.Join(os.DevNull, "none"))
	goleak.VerifyTestMain(m)
}

// examine runs the checks against a sandbox, or what stands before it.
func examine(t *testing.T, sandbox *cdntest.Server, endpoint string, options ...cdn.Option) *report {
	t.Helper()
	s := settings{endpoint: endpoint, watch: time.Millisecond, timeout: time.Minute}
	d := newDoctor(s, append([]cdn.Option{cdn.WithAKSK(sandbox.AK, sandbox.SK)}, options...)...)
	return d.examine(t.Context())
}

// find returns the line of a check.
func (r *report) find(t *testing.T, check string) line {
	t.Helper()
	for _, l := range r.Lines {
		if l.Check == check {
			return l
		}
	}
	require.Fail(t, "no such line", check)
	return line{}
}

// before starts a proxy in front of the sandbox that changes requests and responses.
func before(t *testing.T, sandbox *cdntest.Server, request func(*http.Request), response func(*http.Response)) string {
	t.Helper()
	target, err := url.Parse(sandbox.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
			if request != nil {
				request(r.Out)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if response != nil {
				response(r)
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// replaceIn returns what replaces text in the bodies of lists.
func replaceIn(pairs ...string) func(*http.Response) {
	return func(r *http.Response) {
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		changed := strings.NewReplacer(pairs...).Replace(string(body))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
		r.Header.Set("Content-Length", fmt.Sprint(len(changed)))
	}
}

func status(code int, body string) cdntest.Fault {
	return cdntest.Fault{Match: cdntest.IsList, Times: -1, Status: code, Body: body}
}

// Each line of the report has a fault that it finds.
func TestDoctor_each_line_finds_its_fault(t *testing.T) {
	healthy := []cdntest.Option{cdntest.WithSampleTasks(25)}
	tests := []struct {
		name    string
		sandbox []cdntest.Option
		prepare func(t *testing.T, sandbox *cdntest.Server) (endpoint string, options []cdn.Option)
		check   string
		verdict verdict
		detail  string
		advice  string
	}{
		{"wrong secret key", healthy, func(*testing.T, *cdntest.Server) (string, []cdn.Option) {
			return "", []cdn.Option{cdn.WithAKSK("SANDBOXACCESSKEY", "wrong")}
		}, "signature", broken, "401", "belong together"},
		{"locked key", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(status(401, `{"error_code":"APIGW.0301","error_msg":"AK access failed to reach the limit,forbidden"}`))
			return "", nil
		}, "signature", broken, "AK access failed", "wait 5 minutes"},
		{"clock 20 minutes behind", append(healthy, cdntest.WithClock(func() time.Time { return time.Now().Add(20 * time.Minute) })), nil,
			"clock", broken, "20m0s behind", "NTP"},
		{"clock 20 minutes ahead", append(healthy, cdntest.WithClock(func() time.Time { return time.Now().Add(-20 * time.Minute) })), nil,
			"clock", broken, "20m0s ahead", "NTP"},
		{"permission", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(status(403, `{"error":{"error_code":"CDN.0020","error_msg":"enterprise project"}}`))
			return "", nil
		}, "permission", broken, "CDN.0020", "enterprise project"},
		{"quota", append(healthy, cdntest.WithQuota(1, time.Minute)), func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			_, err := s.NewClient().ListExportTasks(t.Context(), nil)
			require.NoError(t, err)
			return "", nil
		}, "quota", broken, "limit:1", "wait a minute"},
		{"HTML instead of a list", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(status(200, "<html>"))
			return "", nil
		}, "list", broken, "malformed", "stands between"},
		{"a proxy rewrites the query", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, func(r *http.Request) {
				if r.URL.RawQuery != "" {
					r.URL.RawQuery += "&via=proxy"
				}
			}, nil), nil
		}, "query", broken, "its signature is refused", "rewrites the query"},
		{"names are numbers", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, replaceIn(`"task_name":"`, `"task_name":12,"x":"`)), nil
		}, "names", ok, "number", ""},
		{"names are objects", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, replaceIn(`"task_name":"`, `"task_name":null,"x":"`)), nil
		}, "names", different, "null", ""},
		{"a status that is not documented", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.UpdateTask(s.Tasks()[0].TaskID, func(task *cdn.ExportTask) { task.Status = "cancelled" })
			return "", nil
		}, "statuses", ok, `"cancelled" 1`, ""},
		{"times without a meaning", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, replaceIn(`"update_time":`, `"update_time":9`)), nil
		}, "stamps", different, "outside", ""},
		{"no times", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, replaceIn(`"update_time":`, `"changed":`)), nil
		}, "stamps", different, "without a time", ""},
		{"pages capped", append(healthy, cdntest.WithPageCap(7)), nil, "limit", different, "got 7", ""},
		{"totals off", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, replaceIn(`"total":25`, `"total":3`)), nil
		}, "totals", different, "the page has", ""},
		{"offsets ignored", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			first := s.Tasks()[0].TaskID
			second := s.Tasks()[1].TaskID
			return before(t, s, nil, func(r *http.Response) {
				if r.Request.URL.Query().Get("offset") == "1" {
					replaceIn(second, first)(r)
				}
			}), nil
		}, "offset", different, "another task", ""},
		{"order reversed", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, reverse), nil
		}, "order", different, "stand below an older one", ""},
		{"not found by id", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return before(t, s, nil, func(r *http.Response) {
				if r.Request.URL.Query().Get("task_id") != "" {
					replaceIn(`"task_id":"`, `"task_id":"x`)(r)
				}
			}), nil
		}, "look-up", different, "not found", ""},
		{"the list lags", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			lists := 0
			return before(t, s, nil, func(*http.Response) {
				if lists++; lists == 4 { // after the look-up
					s.AddTask(cdn.ExportTask{CreateTime: time.Now().Add(-10 * time.Second), UpdateTime: time.Now()}, nil)
				}
			}), nil
		}, "lag", different, "after it was created", ""},
		{"no finished task", nil, nil, "link", skipped, "no finished task", ""},
		{"the link is refused", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Match: cdntest.IsDownload, Times: -1, Status: 403})
			return "", nil
		}, "link", broken, "responds 403", "support"},
		{"the store has no ranges", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return changedStore(t, s, func(r *http.Request) { r.Header.Del("Range") }, nil), nil
		}, "ranges", different, "got 200", ""},
		{"the store has no If-Match", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return changedStore(t, s, func(r *http.Request) { r.Header.Del("If-Match") }, nil), nil
		}, "if-match", different, "another one 206", ""},
		{"the store has no ETag", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return changedStore(t, s, nil, func(r *http.Response) { r.Header.Del("ETag") }), nil
		}, "etag", different, "none", ""},
		{"weak ETags", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return changedStore(t, s, nil, func(r *http.Response) { r.Header.Set("ETag", `W/"1"`) }), nil
		}, "etag", different, "weak", ""},
		{"nothing listens", healthy, func(*testing.T, *cdntest.Server) (string, []cdn.Option) {
			return "http://127.0.0.1:1", nil
		}, "connection", broken, "connection refused", "firewalls"},
		{"not TLS", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return strings.Replace(s.URL, "http://", "https://", 1), nil
		}, "tls", broken, "", "certificates"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sandbox := cdntest.NewServer(append([]cdntest.Option{cdntest.WithAKSK("SANDBOXACCESSKEY", "sandbox-secret-key")}, test.sandbox...)...)
			defer sandbox.Close()
			endpoint, options := "", []cdn.Option(nil)
			if test.prepare != nil {
				endpoint, options = test.prepare(t, sandbox)
			}
			if endpoint == "" {
				endpoint = sandbox.URL
			}
			r := examine(t, sandbox, endpoint, options...)
			found := r.find(t, test.check)
			assert.Equal(t, test.verdict, found.Verdict, "%+v", found)
			assert.Contains(t, found.Detail, test.detail)
			assert.Contains(t, found.Advice, test.advice)
			assert.Equal(t, test.verdict == broken, r.broken(), "%+v", r.Lines)
			var text bytes.Buffer
			require.NoError(t, r.write(&text, false))
			assert.NotContains(t, text.String(), "Signature=")
			assert.NotContains(t, text.String(), "sandbox-secret-key")
			assert.Less(t, r.Requests, 10)
		})
	}
}

// changedStore starts a proxy before the sandbox, to which the links of tasks lead too.
func changedStore(t *testing.T, s *cdntest.Server, request func(*http.Request), response func(*http.Response)) string {
	t.Helper()
	var here string
	isFile := func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/v1/") }
	here = before(t, s, func(r *http.Request) {
		if request != nil && isFile(r) {
			request(r)
		}
	}, func(r *http.Response) {
		switch {
		case !isFile(r.Request):
			replaceIn(s.URL, here, strings.ReplaceAll(s.URL, "/", `\/`), here)(r)
		case response != nil:
			response(r)
		}
	})
	return here
}

// reverse turns the tasks of a list around.
func reverse(r *http.Response) {
	var page struct {
		Total int               `json:"total"`
		Data  []json.RawMessage `json:"data"`
	}
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &page)
	for i, j := 0, len(page.Data)-1; i < j; i, j = i+1, j-1 {
		page.Data[i], page.Data[j] = page.Data[j], page.Data[i]
	}
	body, _ = json.Marshal(page)
	r.Body = io.NopCloser(bytes.NewReader(body))
	replaceIn()(r)
}

func TestDoctor_no_keys(t *testing.T) {
	t.Setenv("CLOUD_SDK_AK", "half-a-pair")
	d := newDoctor(settings{endpoint: "http://127.0.0.1:1", timeout: time.Minute})
	r := d.examine(t.Context())
	keys := r.find(t, "keys")
	assert.Equal(t, broken, keys.Verdict)
	assert.Contains(t, keys.Detail, "CLOUD_SDK_SK")
	assert.Equal(t, skipped, r.find(t, "etag").Verdict)
	assert.NotContains(t, keys.Detail, "half-a-pair")
}

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	assert.Equal(t, 0, run(t.Context(), []string{"-sandbox", "-watch", "0"}, &out, &errs), out.String())
	assert.Empty(t, errs.String())
	assert.Contains(t, out.String(), "etag        strong, an MD5")
	assert.NotContains(t, out.String(), "broken")
	assert.NotContains(t, out.String(), "different")

	out.Reset()
	assert.Equal(t, 0, run(t.Context(), []string{"-sandbox", "-watch", "0", "-json"}, &out, &errs))
	var r report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	assert.Len(t, r.Lines, 1+len(networkChecks)+len(serviceChecks)+len(listChecks)+len(storeChecks))
	for _, l := range r.Lines {
		assert.Equal(t, ok, l.Verdict, "%+v", l)
	}

	out.Reset()
	assert.Equal(t, 1, run(t.Context(), []string{"-endpoint", "not a URL"}, &out, &errs))
	assert.Contains(t, out.String(), "broken    options")

	for _, args := range [][]string{{"-wrong"}, {"list"}, {"-timeout", "0"}} {
		errs.Reset()
		assert.Equal(t, 2, run(t.Context(), args, &out, &errs))
		assert.Equal(t, 1, strings.Count(errs.String(), "\n"), errs.String())
	}
	out.Reset()
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &out, &errs))
	assert.Contains(t, out.String(), "usage: cdn-doctor")
}
