package cdntest

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"example.com/huaweicloud/cdn"
)

// The page size of a request that asks for none, and the largest that one may ask for. The smallest is 0:
// a page without tasks, with the total.
const (
	defaultLimit = 10
	maxLimit     = 100
)

// listQuery is what a request for a list asks for.
type listQuery struct {
	limit, offset    int
	taskID, taskName string
}

// keeps reports whether a task matches the filters. An empty filter matches each task.
func (q listQuery) keeps(t *task) bool {
	return (q.taskID == "" || t.TaskID == q.taskID) && (q.taskName == "" || t.TaskName == q.taskName)
}

func (s *service) listExportTasks(w http.ResponseWriter, r *http.Request) {
	query, err := parseListQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, err)
		return
	}
	query.limit = min(query.limit, s.pageCap)
	total, page := s.store.page(query)
	writeJSON(w, http.StatusOK, struct {
		Total int              `json:"total"`
		Data  []cdn.ExportTask `json:"data"`
	}{total, s.listed(page, baseURL(r, s.url))})
}

// baseURL returns the URL at which the client of r reaches the server, perhaps through a proxy. Links must have it too.
func baseURL(r *http.Request, fallback string) string {
	if r.Host == "" {
		return fallback
	}
	return "http://" + r.Host
}

// parseListQuery parses the query of a list. Each parameter is optional. Older SDKs send task_id and task_name empty.
func parseListQuery(raw string) (listQuery, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return listQuery{}, fmt.Errorf("the query cannot be read: %w", err)
	}
	for _, key := range []string{"limit", "offset", "task_id", "task_name"} {
		if len(values[key]) > 1 {
			return listQuery{}, fmt.Errorf("%s is given %d times", key, len(values[key]))
		}
	}
	limit, err := integer(values, "limit", maxLimit, defaultLimit)
	if err != nil {
		return listQuery{}, err
	}
	offset, err := integer(values, "offset", math.MaxInt32, 0)
	if err != nil {
		return listQuery{}, err
	}
	return listQuery{limit, offset, values.Get("task_id"), values.Get("task_name")}, nil
}

// integer parses a parameter from 0 to highest. It returns byDefault if the parameter is absent.
func integer(values url.Values, key string, highest, byDefault int) (int, error) {
	if !values.Has(key) {
		return byDefault, nil
	}
	n, err := strconv.Atoi(values.Get(key))
	if err != nil || n < 0 || n > highest {
		return 0, fmt.Errorf("%s must be an integer from 0 to %d, not %q", key, highest, values.Get(key))
	}
	return n, nil
}
