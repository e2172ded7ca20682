package cdntest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

// recordedRequest is a request as an official SDK of another language sends it. All its headers are signed.
type recordedRequest struct {
	name    string
	method  string
	query   string // as it is in the URL; the same signs in the order of its keys
	headers []string
	body    string
}

// recordedRequests are those of the Java SDK 3.1.212 and the Python SDK 3.1.211, and of the ones before that
// sent both filters on each call. Both sign every header that their cores set: content-type, host, user-agent,
// x-domain-id, x-sdk-date.
func recordedRequests() []recordedRequest {
	const export = `{"action":"reports_detail","domain_name":"www.example.com","start_time":1767225600000,"end_time":1767229200000,` +
		`"group_by":"domain","interval":300,"service_area":"global","stat_type":"flux","language":"en"}`
	java := []string{"User-Agent: huaweicloud-usdk-java/3.0", "X-Domain-Id: an-account"}
	javaJSON := append(slices.Clone(java), "Content-Type: application/json;charset=UTF-8")
	python := []string{"Content-Type: application/json", "User-Agent: huaweicloud-usdk-python/3.0", "X-Domain-Id: an-account"}
	return []recordedRequest{
		{"Java list", http.MethodGet, "", java, ""},
		{"Java page", http.MethodGet, "limit=100&offset=0", java, ""},
		{"Java one task", http.MethodGet, "task_id=1675134803874", java, ""},
		{"Java before 3.1.212", http.MethodGet, "limit=10&task_id=&task_name=", java, ""},
		{"Java create", http.MethodPost, "", javaJSON, export},
		{"Python list", http.MethodGet, "", python, ""},
		{"Python page", http.MethodGet, "limit=0&offset=10", python, ""},
		{"Python one name", http.MethodGet, "task_name=a%20name%20%26%20more", python, ""},
		{"Python before 3.1.211", http.MethodGet, "task_id=&task_name=", python, ""},
		{"Python create", http.MethodPost, "", python, strings.ReplaceAll(strings.ReplaceAll(export, ":", ": "), ",", ", ")},
	}
}

// sign signs r as the vendor's signing guide says, without package cdn, with all its headers.
func (c recordedRequest) sign(f *fixture, r *http.Request) {
	r.Header.Set("X-Sdk-Date", f.clock.Now().UTC().Format("20060102T150405Z"))
	values := map[string]string{"host": r.URL.Host}
	for name := range r.Header {
		values[strings.ToLower(name)] = r.Header.Get(name)
	}
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	canonical := r.Method + "\n" + tasksPath + "/\n" + c.query + "\n"
	for _, name := range names {
		canonical += name + ":" + values[name] + "\n"
	}
	signed := strings.Join(names, ";")
	canonical += "\n" + signed + "\n" + hexSHA256(c.body)
	mac := hmac.New(sha256.New, []byte(f.SK))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + values["x-sdk-date"] + "\n" + hexSHA256(canonical)))
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+f.AK+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(mac.Sum(nil)))
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestRecordedRequestsOfOfficialSDKs(t *testing.T) {
	for _, c := range recordedRequests() {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			for range 3 {
				f.AddTask(cdn.ExportTask{TaskName: "a name & more"}, nil)
			}
			f.AddTask(cdn.ExportTask{TaskID: "1675134803874", TaskName: "other"}, nil)
			r := f.request(c.method, tasksPath, c.body)
			r.URL.RawQuery = c.query
			for _, header := range c.headers {
				name, value, _ := strings.Cut(header, ": ")
				r.Header.Set(name, value)
			}
			c.sign(f, r)
			a := f.send(r)
			require.Equal(t, http.StatusOK, a.StatusCode, a.body)
			if c.method == http.MethodPost {
				assert.Empty(t, a.body)
				assert.Len(t, f.Tasks(), 5)
				return
			}
			query, err := url.ParseQuery(c.query)
			require.NoError(t, err)
			want := 4
			switch {
			case query.Get("task_id") != "":
				want = 1
			case query.Get("task_name") != "":
				want = 3
			}
			assert.Contains(t, a.body, `{"total":`+string(rune('0'+want))+`,`)
			assert.Contains(t, f.Requests()[0].Header.Get("Authorization"), "host;")
		})
	}
}

// A header that such an SDK has signed counts: one that a proxy rewrites is refused.
func TestRecordedRequestWithARewrittenHeader(t *testing.T) {
	for _, c := range recordedRequests() {
		f := newFixture(t)
		r := f.request(c.method, tasksPath, c.body)
		r.URL.RawQuery = c.query
		r.Header.Set("User-Agent", "as it was")
		c.sign(f, r)
		r.Header.Set("User-Agent", "as a proxy sends it")
		assertGateway(t, f.send(r), http.StatusUnauthorized, "APIGW.0301", "signature")
	}
}
