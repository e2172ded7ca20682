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

// FuzzList: any query is answered with a page or refused.
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

// FuzzCreate: any body makes a task whose file can be written, or is refused and makes none.
func FuzzCreate(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"start_time":-9223372036854775808}`, `{"interval":1,"group_by":"domain","domain_name":",\n\""}`,
		`{"end_time":9223372036854775807,"interval":9223372036854775807}`, "{\"action\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := openService(t)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, exportTasksPath, strings.NewReader(body)))
		total, _ := s.store.page(listQuery{})
		if w.Code == http.StatusOK {
			assert.Equal(t, 4, total)
			return
		}
		assert.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, w.Code)
		assert.Equal(t, 3, total)
	})
}

// FuzzFile: no link but the server's own leads anywhere.
func FuzzFile(f *testing.F) {
	f.Add("/files/", "")
	f.Add("/files/../x", "Expires=1&Signature=a")
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
