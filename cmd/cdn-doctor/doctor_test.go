package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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

// examine runs the checks against the sandbox, or a proxy in front of it.
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

// changing makes requests arrive as a proxy changes them.
func changing(match func(*http.Request) bool, change func(*http.Request)) cdntest.Option {
	return cdntest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				change(r)
			}
			next.ServeHTTP(w, r)
		})
	})
}

// replace returns a Rewrite that replaces text.
func replace(pairs ...string) func([]byte) []byte {
	return func(body []byte) []byte { return []byte(strings.NewReplacer(pairs...).Replace(string(body))) }
}

// rewritten makes the sandbox replace text in lists.
func rewritten(s *cdntest.Server, pairs ...string) (string, []cdn.Option) {
	s.Inject(cdntest.Fault{Match: cdntest.IsList, Times: -1, Rewrite: replace(pairs...)})
	return "", nil
}

// query returns a Match for requests with the parameter.
func query(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Query().Get(name) != "" }
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
		}, "list", broken, "malformed", "not a response of the service"},
		{"a proxy changes the query", append(healthy, changing(query("limit"), func(r *http.Request) { r.URL.RawQuery += "&via=proxy" })), nil,
			"query", broken, "one with limit=100 is refused", "changes the query"},
		{"names are numbers", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return rewritten(s, `"task_name":"`, `"task_name":12,"x":"`)
		}, "names", ok, "number", ""},
		{"names are objects", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return rewritten(s, `"task_name":"`, `"task_name":null,"x":"`)
		}, "names", different, "null", ""},
		{"a status that is not documented", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.UpdateTask(s.Tasks()[0].TaskID, func(task *cdn.ExportTask) { task.Status = "cancelled" })
			return "", nil
		}, "statuses", ok, `"cancelled" 1`, ""},
		{"times without a meaning", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return rewritten(s, `"update_time":`, `"update_time":9`)
		}, "stamps", different, "outside", ""},
		{"no times", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return rewritten(s, `"update_time":`, `"changed":`)
		}, "stamps", different, "without a time", ""},
		{"pages capped", append(healthy, cdntest.WithPageCap(7)), nil, "limit", different, "got 7", ""},
		{"totals off", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return rewritten(s, `"total":25`, `"total":3`)
		}, "totals", different, "the page has", ""},
		{"offsets ignored", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			first := s.Tasks()[0].TaskID
			second := s.Tasks()[1].TaskID
			s.Inject(cdntest.Fault{Times: -1, Match: query("offset"), Rewrite: replace(second, first)})
			return "", nil
		}, "offset", different, "another task", ""},
		{"order reversed", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Match: cdntest.IsList, Times: -1, Rewrite: reverse})
			return "", nil
		}, "order", different, "listed after an older one", ""},
		{"not found by id", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Times: -1, Match: query("task_id"), Body: `{"total":0,"data":[]}`})
			return "", nil
		}, "lookup", different, "not found", ""},
		{"the list lags", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			lists := 0
			s.Inject(cdntest.Fault{Match: func(*http.Request) bool {
				if lists++; lists == 5 { // after the lookup
					s.AddTask(cdn.ExportTask{CreateTime: time.Now().Add(-10 * time.Second), UpdateTime: time.Now()}, nil)
				}
				return false
			}})
			return "", nil
		}, "lag", different, "after its create", ""},
		{"no finished task", nil, nil, "link", skipped, "no finished task", ""},
		{"quota used up in the middle", append(healthy, cdntest.WithQuota(3, time.Minute)), nil, "lookup", broken, "limit:3", "wait a minute"},
		{"a proxy refuses", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(status(403, "<html>blocked</html>"))
			return "", nil
		}, "list", broken, "403", "not a response of the service"},
		{"the service fails", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			fault := cdntest.FaultCode("CDN.0000")
			fault.Times = -1
			s.Inject(fault)
			return "", nil
		}, "list", broken, "CDN.0000", "support"},
		{"a proxy strips a header", append(healthy, changing(cdntest.IsList, func(r *http.Request) { r.Header.Del("X-Sdk-Date") })), nil,
			"signature", broken, "x-sdk-date is missing", "a proxy may change the host or a header"},
		{"an unknown authority", healthy, func(t *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.URL, nil
		}, "tls", broken, "unknown authority", "install its authority"},
		{"the link is refused", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Match: cdntest.IsDownload, Times: -1, Status: 403})
			return "", nil
		}, "link", broken, "responds 403", "proxy"},
		{"the store has no ranges", append(healthy, changing(cdntest.IsDownload, func(r *http.Request) { r.Header.Del("Range") })), nil,
			"ranges", different, "got 200", ""},
		{"the store has no If-Match", append(healthy, changing(cdntest.IsDownload, func(r *http.Request) { r.Header.Del("If-Match") })), nil,
			"if-match", different, "another one 206", ""},
		{"the store has no ETag", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Match: cdntest.IsDownload, Times: -1, Header: http.Header{"Etag": nil}})
			return "", nil
		}, "etag", different, "none", ""},
		{"weak ETags", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			s.Inject(cdntest.Fault{Match: cdntest.IsDownload, Times: -1, Header: http.Header{"Etag": {`W/"1"`}}})
			return "", nil
		}, "etag", different, "weak", ""},
		{"nothing listens", healthy, func(*testing.T, *cdntest.Server) (string, []cdn.Option) {
			return "http://127.0.0.1:1", nil
		}, "connection", broken, "connection refused", "firewalls"},
		{"not TLS", healthy, func(_ *testing.T, s *cdntest.Server) (string, []cdn.Option) {
			return strings.Replace(s.URL, "http://", "https://", 1), nil
		}, "tls", broken, "", "speaks no TLS"},
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
			seen := map[string]bool{}
			for _, l := range r.Lines {
				assert.False(t, seen[l.Check], "%s is there twice", l.Check)
				seen[l.Check] = true
			}
			var text bytes.Buffer
			require.NoError(t, r.write(&text, false))
			assert.NotContains(t, text.String(), "Signature=")
			assert.NotContains(t, text.String(), "sandbox-secret-key")
			assert.Less(t, r.Requests, 10)
		})
	}
}

// reverse is a Rewrite that reverses the tasks of a list.
func reverse(body []byte) []byte {
	var page struct {
		Total int               `json:"total"`
		Data  []json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(body, &page)
	slices.Reverse(page.Data)
	body, _ = json.Marshal(page)
	return body
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

	for _, args := range [][]string{{"-wrong"}, {"list"}, {"-timeout", "0"}, {"-sandbox", "-region", "cn-north-1"}, {"-sandbox", "-endpoint", "x"}} {
		errs.Reset()
		assert.Equal(t, 2, run(t.Context(), args, &out, &errs))
		assert.Equal(t, 1, strings.Count(errs.String(), "\n"), errs.String())
	}
	out.Reset()
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &out, &errs))
	assert.Contains(t, out.String(), "usage: cdn-doctor")
	assert.Contains(t, out.String(), "CLOUD_SDK_AK")
}

func TestRun_interrupted_prints_no_report(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	assert.Equal(t, 130, run(ctx, []string{"-sandbox"}, &out, &errs))
	assert.Empty(t, out.String())
	assert.Equal(t, "cdn-doctor: stopped\n", errs.String())
}
