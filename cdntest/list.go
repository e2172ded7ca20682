package cdntest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"example.com/huaweicloud/cdn"
)

// defaultLimit is the page size of a request that asks for none, as the API reference has it.
const defaultLimit = 10

// listQuery is what a list request asks for.
type listQuery struct {
	limit, offset    int
	taskID, taskName string
}

// keeps reports whether a task passes the filters: an empty one lets every task pass.
func (q listQuery) keeps(t *task) bool {
	return (q.taskID == "" || t.TaskID == q.taskID) && (q.taskName == "" || t.TaskName == q.taskName)
}

func (s *service) listExportTasks(w http.ResponseWriter, r *http.Request) {
	query, err := parseListQuery(r.URL.RawQuery)
	if err != nil {
		invalidParameter(w, err)
		return
	}
	query.limit = min(query.limit, s.pageCap)
	total, page := s.store.page(query)
	writeJSON(w, http.StatusOK, struct {
		Total int              `json:"total"`
		Data  []cdn.ExportTask `json:"data"`
	}{total, s.listed(page, baseURL(r, s.url))})
}

// baseURL is the server as the client of r reaches it, which may be through a proxy or a name of
// its own; links have to lead there too.
func baseURL(r *http.Request, fallback string) string {
	if r.Host == "" {
		return fallback
	}
	return "http://" + r.Host
}

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
	// The English API reference marks both as mandatory, and the official SDKs send them empty.
	for _, key := range []string{"task_id", "task_name"} {
		if !values.Has(key) {
			return listQuery{}, fmt.Errorf("%s is missing; without a filter, send it empty", key)
		}
	}
	limit, err := integer(values, "limit", 1, defaultLimit)
	if err != nil {
		return listQuery{}, err
	}
	offset, err := integer(values, "offset", 0, 0)
	if err != nil {
		return listQuery{}, err
	}
	return listQuery{limit, offset, values.Get("task_id"), values.Get("task_name")}, nil
}

// integer reads a parameter of at least lowest; one that is not there is byDefault.
func integer(values url.Values, key string, lowest, byDefault int) (int, error) {
	if !values.Has(key) {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(values.Get(key), 10, 32)
	if err != nil || int(n) < lowest {
		return 0, fmt.Errorf("%s must be an integer from %d on, not %q", key, lowest, values.Get(key))
	}
	return int(n), nil
}
