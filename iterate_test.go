package cdn

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exportTasksFrom returns a client whose pages come from page, and the number of its requests.
func exportTasksFrom(t *testing.T, page func(offset, limit int) string) (*CdnClient, *int) {
	requests := new(int)
	return newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		*requests++
		query, err := url.ParseQuery(req.URL.RawQuery)
		require.NoError(t, err)
		number := func(key string, absent int) int {
			if !query.Has(key) {
				return absent
			}
			n, err := strconv.Atoi(query.Get(key))
			require.NoError(t, err)
			return n
		}
		return reply(200, page(number("offset", 0), number("limit", 10))), nil
	})), requests
}

func wirePage(total, from, to int) string {
	var tasks []string
	for i := from; i < to; i++ {
		tasks = append(tasks, fmt.Sprintf(`{"task_id":"task-%d","update_time":%d}`, i, 1_000_000-i))
	}
	return fmt.Sprintf(`{"total":%d,"data":[%s]}`, total, strings.Join(tasks, ","))
}

func collect(seq func(func(ExportTask, error) bool)) (ids []string, err error) {
	for task, taskErr := range seq {
		if taskErr != nil {
			return ids, taskErr
		}
		ids = append(ids, task.TaskID)
	}
	return ids, nil
}

func TestExportTasks_contradictory_list(t *testing.T) {
	tests := []struct {
		name string
		page func(offset, limit int) string
		want string
	}{
		{"repeats its first page", func(int, int) string { return wirePage(1000, 0, 10) },
			"cdn: ExportTasks: malformed response: the list contradicts itself, or moves faster than it can be read: nothing new in 6 pages before offset 69 of 1000"},
		{"rows without ids", func(offset, limit int) string {
			return strings.ReplaceAll(wirePage(30, offset, min(offset+10, 30)), `"task_id"`, `"x"`)
		}, "cdn: ExportTasks: malformed response: the list contradicts itself: row 0 of a page has no id"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, _ := exportTasksFrom(t, test.page)
			_, err := collect(client.ExportTasks(t.Context(), nil))
			require.ErrorIs(t, err, ErrMalformedResponse)
			assert.EqualError(t, err, test.want)
		})
	}
}

func TestExportTasks_requests(t *testing.T) {
	client, requests := exportTasksFrom(t, func(offset, limit int) string { return wirePage(1000, offset, min(offset+limit, 1000)) })
	ids, err := collect(client.ExportTasks(t.Context(), nil))
	require.NoError(t, err)
	assert.Len(t, ids, 1000)
	assert.Equal(t, 11, *requests)
}

// Tasks without times are read like any others.
func TestExportTasks_without_times(t *testing.T) {
	client, _ := exportTasksFrom(t, func(offset, limit int) string {
		return strings.ReplaceAll(wirePage(30, offset, min(offset+10, 30)), `"update_time"`, `"x"`)
	})
	ids, err := collect(client.ExportTasks(t.Context(), nil))
	require.NoError(t, err)
	assert.Len(t, ids, 30)
}

func TestExportTasks_request_fields(t *testing.T) {
	list := func(offset, limit int) string { return wirePage(30, offset, min(offset+limit, 30)) }
	client, requests := exportTasksFrom(t, list)
	ids, err := collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Offset: 28}))
	require.NoError(t, err)
	assert.Equal(t, []string{"task-28", "task-29"}, ids, "the first 28 tasks are skipped")

	ids, err = collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Limit: 1}))
	require.NoError(t, err)
	assert.Len(t, ids, 30)

	*requests = 0
	_, err = collect(client.ExportTasks(t.Context(), &ListExportTasksRequest{Limit: -1}))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.EqualError(t, err, "cdn: ExportTasks: invalid parameter: Limit -1: must be from 0 to 100")
	assert.Zero(t, *requests)

	_, err = collect(client.ExportTasks(noContext, nil))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

func TestExportTasks_left_early_sends_nothing_more(t *testing.T) {
	client, requests := exportTasksFrom(t, func(offset, limit int) string { return wirePage(30, offset, min(offset+10, 30)) })
	tasks := client.ExportTasks(t.Context(), nil)
	for task, err := range tasks {
		require.NoError(t, err)
		if task.TaskID == "task-3" {
			break
		}
	}
	assert.Equal(t, 1, *requests)
	ids, err := collect(tasks)
	require.NoError(t, err)
	assert.Len(t, ids, 30, "a second range reads the list again")
}

func TestExportTasks_error_is_last(t *testing.T) {
	client, _ := exportTasksFrom(t, func(offset, limit int) string {
		if offset > 0 {
			return `{"error":{"error_code":"CDN.0105","error_msg":"slow down"}}`
		}
		return wirePage(30, 0, 10)
	})
	ids, err := collect(client.ExportTasks(t.Context(), nil))
	assert.Len(t, ids, 10)
	require.Error(t, err)
	assert.EqualError(t, err, "cdn: ExportTasks: 200 OK: CDN.0105: slow down")

	client, _ = exportTasksFrom(t, func(offset, limit int) string { return wirePage(30, offset, min(offset+10, 30)) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err = range client.ExportTasks(ctx, nil) {
		if n++; n == 10 {
			cancel()
		}
	}
	assert.Equal(t, 11, n)
	require.ErrorIs(t, err, context.Canceled)
}

func heapAlloc() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
