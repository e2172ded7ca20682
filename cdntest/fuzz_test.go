package cdntest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func openService(t testing.TB) *service {
	t.Helper()
	c, err := newConfig([]Option{WithNoAuth(), WithSampleTasks(3), WithExportTime(time.Hour)})
	assert.NoError(t, err)
	s := newService(c, "http://127.0.0.1")
	s.addSamples(c.samples)
	return s
}

// FuzzList: any query gets a page or is refused.
func FuzzList(f *testing.F) {
	for _, seed := range []string{"", "task_id&task_name", "task_id=a&task_name=%zz", "&&=;", "limit=1e9&offset=-0&task_id=&task_name="} {
		f.Add(seed)
	}
	s := openService(f)
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{
			Method: http.MethodGet, Host: "a", Header: http.Header{}, Body: http.NoBody,
			URL: &url.URL{Path: exportTasksPath, RawQuery: query},
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, w.Code)
	})
}

// FuzzCreate: any body makes a task, or is refused and makes none. Business errors come with 200.
func FuzzCreate(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"start_time":-9223372036854775808}`, `{"interval":300,"group_by":"domain","domain_name":",\n\""}`,
		`{"end_time":4102416000000,"interval":3600,"group_by":"domain","domain_name":"all"}`, `{"action":"uv","domain_name":"a,b"}`,
		`{"end_time":9223372036854775807,"interval":9223372036854775807}`, "{\"action\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := openService(t)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, exportTasksPath, strings.NewReader(body)))
		total, _ := s.store.page(listQuery{})
		if w.Code == http.StatusOK && w.Body.Len() == 0 {
			assert.Equal(t, 4, total)
			return
		}
		assert.Contains(t, []int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge}, w.Code)
		assert.Contains(t, w.Body.String(), "error_code")
		assert.Equal(t, 3, total)
	})
}

// FuzzRange: any Range asks for the whole file, or for a part that lies in it.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-", "bytes=-1", "bytes=1-2", "bytes=9-", "bytes=0-0,1-1", "bytes=9223372036854775807-"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size = max(0, size)
		part, asked := parseRange(header, size)
		if !asked {
			assert.Equal(t, byteRange{0, size}, part)
			return
		}
		assert.GreaterOrEqual(t, part.length, int64(0))
		if part.length > 0 {
			assert.GreaterOrEqual(t, part.start, int64(0))
			assert.LessOrEqual(t, part.start, size-part.length)
		}
	})
}

// FuzzFile: no link but the server's own leads anywhere.
func FuzzFile(f *testing.F) {
	f.Add("/files/", "")
	f.Add("/files/../x", "AccessKeyId=CDNEXPORTSTOREKEY&Expires=1&Signature=a")
	f.Add("/files/x", "X-Amz-Date=20260304T050607Z&X-Amz-Expires=9223372036854775807&X-Amz-Signature=a")
	s := openService(f)
	f.Fuzz(func(t *testing.T, path, query string) {
		r := &http.Request{
			Method: http.MethodGet, Host: "a", Header: http.Header{}, Body: http.NoBody,
			URL: &url.URL{Path: filesPrefix + path, RawQuery: query},
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		assert.Equal(t, http.StatusForbidden, w.Code)
	})
}
