package cdn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListExportTasksRequest_query(t *testing.T) {
	tests := []struct {
		name    string
		request ListExportTasksRequest
		want    string
	}{
		{"nothing is sent unless set", ListExportTasksRequest{}, ""},
		{"largest page", ListExportTasksRequest{Limit: 100, Offset: 1<<31 - 1}, "limit=100&offset=2147483647"},
		{"only an offset", ListExportTasksRequest{Offset: 1}, "offset=1"},
		{"one filter", ListExportTasksRequest{Limit: 1, TaskName: "n"}, "limit=1&task_name=n"},
		{"filters", ListExportTasksRequest{TaskID: "a/b", TaskName: "日 报+&="}, "task_id=a%2Fb&task_name=%E6%97%A5%20%E6%8A%A5%2B%26%3D"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, test.request.validate())
			assert.Equal(t, test.want, test.request.query())
		})
	}
}

func TestListExportTasksRequest_invalid(t *testing.T) {
	tests := []struct {
		request ListExportTasksRequest
		want    string
	}{
		{ListExportTasksRequest{Limit: -1}, "invalid parameter: Limit -1: must be from 0 to 100"},
		{ListExportTasksRequest{Limit: 101}, "invalid parameter: Limit 101: must be from 0 to 100"},
		{ListExportTasksRequest{Offset: 1 << 31}, "invalid parameter: Offset 2147483648: must be from 0 to 2147483647"},
		{ListExportTasksRequest{Offset: -5}, "invalid parameter: Offset -5: must be from 0 to 2147483647"},
		{ListExportTasksRequest{TaskID: "a\nb"}, `invalid parameter: TaskID "a\nb": must have no control character`},
		{ListExportTasksRequest{TaskName: "a\xffb"}, `invalid parameter: TaskName "a\xffb": must be valid UTF-8`},
	}
	for _, test := range tests {
		err := test.request.validate()
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.EqualError(t, err, test.want)
	}
}

func TestExportTaskStatus_Done(t *testing.T) {
	assert.True(t, ExportTaskSuccess.Done())
	assert.True(t, ExportTaskFail.Done())
	for _, s := range []ExportTaskStatus{"", "processing", "SUCCESS", "failed"} {
		assert.False(t, s.Done(), s)
	}
}

func TestExportTask_JSON_is_the_wire_form(t *testing.T) {
	task := ExportTask{"a", "日报", ExportTaskSuccess, "https://x/f?a=b", time.UnixMilli(1675134803874), time.UnixMilli(0)}
	text, err := json.Marshal(task)
	require.NoError(t, err)
	assert.Equal(t, `{"task_id":"a","task_name":"日报","status":"success","download_link":"https://x/f?a=b","create_time":1675134803874,"update_time":0}`, string(text))

	var back ExportTask
	require.NoError(t, json.Unmarshal(text, &back))
	task.CreateTime, task.UpdateTime = task.CreateTime.UTC(), task.UpdateTime.UTC()
	assert.Equal(t, task, back)

	text, err = ExportTask{DownloadLink: "https://x/?a&b"}.MarshalJSON()
	require.NoError(t, err)
	assert.Contains(t, string(text), `"https://x/?a&b"`)

	text, err = json.Marshal(&ExportTask{})
	require.NoError(t, err)
	assert.Equal(t, `{"task_id":"","task_name":"","status":"","download_link":""}`, string(text))
}

func TestListExportTasksResponse_JSON_is_the_wire_form(t *testing.T) {
	const text = `{"total":3,"data":[{"task_id":"a","task_name":"n","status":"fail","download_link":"","create_time":1,"update_time":2}]}`
	var got ListExportTasksResponse
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	got.StatusCode, got.RequestID, got.Attempts = 200, "r", 1
	back, err := json.Marshal(got)
	require.NoError(t, err)
	assert.Equal(t, text, string(back), "the metadata is no part of the wire form")
}

func TestUnmarshalJSON_error_names_the_member(t *testing.T) {
	var task ExportTask
	assert.EqualError(t, json.Unmarshal([]byte(`{"create_time":"x"}`), &task), `cdn: ExportTask: create_time: the string at byte 15 is not a whole number of 64 bits`)
	var response ListExportTasksResponse
	assert.EqualError(t, json.Unmarshal([]byte(`{"total":1}`), &response), `cdn: ListExportTasksResponse: data is missing`)
}

func TestUnmarshalJSON_null_is_the_zero_task(t *testing.T) {
	task := ExportTask{TaskID: "a"}
	require.NoError(t, task.UnmarshalJSON([]byte(" null ")))
	assert.Zero(t, task)
}

func FuzzExportTaskRoundTrip(f *testing.F) {
	f.Add(`{"task_id":"a","task_name":12,"status":"success","create_time":-1}`)
	f.Add(`{"task_name":"\ud83d"}`)
	f.Fuzz(func(t *testing.T, text string) {
		task, err := decodeTask(text)
		if err != nil {
			return
		}
		wire, err := json.Marshal(task)
		require.NoError(t, err)
		back, err := decodeTask(string(wire))
		require.NoError(t, err)
		require.Equal(t, task, back)
	})
}

func TestExportTask_logged_without_the_key_to_its_file(t *testing.T) {
	var out bytes.Buffer
	task := ExportTask{TaskID: "id-1", DownloadLink: "https://user:pw@store.example/f.csv?AccessKeyId=k&Signature=s3cret#frag", CreateTime: time.UnixMilli(1)}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("done", "task", task)
	assert.Contains(t, out.String(), `"download_link":"https://store.example/f.csv?redacted"`)
	assert.Contains(t, out.String(), `"task_id":"id-1"`)
	assert.Contains(t, out.String(), `"create_time":"1970-01-01T`)
	assert.NotContains(t, out.String(), "update_time", "it is zero")
	for _, secret := range []string{"s3cret", "pw", "frag"} {
		assert.NotContains(t, out.String(), secret)
	}
}

func TestExportTask_printed_without_the_key_to_its_file(t *testing.T) {
	task := ExportTask{TaskID: "id-1", DownloadLink: "https://store.example/f.csv?Signature=s3cret"}
	page := &ListExportTasksResponse{Total: 1, Data: []ExportTask{task}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{task, &task, page, *page, &AmbiguousExportError{page.Data}} {
			assert.NotContains(t, fmt.Sprintf(verb, value), "s3cret", "%s of %T", verb, value)
		}
	}
	assert.Contains(t, fmt.Sprintf("%+v", task), "TaskID:id-1 TaskName: Status: DownloadLink:https://store.example/f.csv?redacted ")
	assert.Contains(t, fmt.Sprintf("%#v", task), `cdn.exportTask{TaskID:"id-1", `)
	assert.Contains(t, task.DownloadLink, "s3cret", "the task itself keeps it")
}

func TestCreateExportTaskRequest_body(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 123e6, time.FixedZone("", 8*3600))
	tests := []struct {
		name    string
		request CreateExportTaskRequest
		want    string
	}{
		{"nothing is required", CreateExportTaskRequest{}, `{}`},
		{"everything", CreateExportTaskRequest{
			Action: "location_detail", DomainNames: []string{"a.example.com", "b.example.com"}, StartTime: at, EndTime: at.Add(time.Hour),
			GroupBy: "domain", Interval: time.Hour, ServiceArea: ServiceAreaGlobal, StatType: StatTypeReqNum,
			Countries: []string{"cn"}, Provinces: []string{"beijing", "hubei"}, ISP: "dianxin", Language: LanguageChinese,
		}, `{"action":"location_detail","domain_name":"a.example.com,b.example.com","start_time":1772323200123,"end_time":1772326800123,
			"group_by":"domain","interval":3600,"service_area":"global","stat_type":"req_num","country":"cn","province":"beijing,hubei","isp":"dianxin","language":"zh"}`},
		{"documented constants", CreateExportTaskRequest{Action: ActionTopURLDetail, GroupBy: GroupByDomain, Interval: 5 * time.Minute},
			`{"action":"top_url_detail","group_by":"domain","interval":300}`},
		{"only a start", CreateExportTaskRequest{StartTime: time.UnixMilli(5)}, `{"start_time":5}`},
		{"all", CreateExportTaskRequest{DomainNames: []string{"all"}, Countries: []string{"all"}}, `{"domain_name":"all","country":"all"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, test.request.validate())
			body, err := test.request.body()
			require.NoError(t, err)
			assert.JSONEq(t, test.want, string(body))
		})
	}
}

func TestCreateExportTaskRequest_invalid(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		request CreateExportTaskRequest
		want    string
	}{
		{CreateExportTaskRequest{StartTime: now, EndTime: now}, "EndTime 2026-03-01 00:00:00 +0000 UTC: must be after StartTime"},
		{CreateExportTaskRequest{StartTime: now, EndTime: now.Add(time.Nanosecond)}, "must be after StartTime"},
		{CreateExportTaskRequest{StartTime: now, EndTime: now.Add(-time.Hour)}, "must be after StartTime"},
		{CreateExportTaskRequest{Interval: -time.Second}, "Interval -1s: must be whole seconds"},
		{CreateExportTaskRequest{Interval: 1500 * time.Millisecond}, "Interval 1.5s: must be whole seconds"},
		{CreateExportTaskRequest{DomainNames: []string{"a", "b,c"}}, `DomainNames[1] "b,c": must have no comma`},
		{CreateExportTaskRequest{DomainNames: []string{" "}}, `DomainNames[0] " ": must not be blank`},
		{CreateExportTaskRequest{DomainNames: []string{"all", "a"}}, `DomainNames[0] "all": must stand alone`},
		{CreateExportTaskRequest{Countries: []string{"c\tn"}}, `Countries[0] "c\tn": must have no control character`},
		{CreateExportTaskRequest{Provinces: []string{"all"}}, `Provinces "all": needs Countries to be "cn" alone`},
		{CreateExportTaskRequest{Provinces: []string{"all"}, Countries: []string{"cn", "us"}}, `needs Countries to be "cn" alone`},
		{CreateExportTaskRequest{Action: "a\n"}, `Action "a\n": must have no control character`},
		{CreateExportTaskRequest{ISP: "\xff"}, `ISP "\xff": must be valid UTF-8`},
	}
	for _, test := range tests {
		err := test.request.validate()
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.ErrorContains(t, err, test.want)
	}
}

// A task that the caller keeps does not keep its whole response in memory.
func TestExportTask_kept_in_little_memory(t *testing.T) {
	const responses = 32
	thousand := pageText(1000)
	page, err := decodePage(thousand)
	require.NoError(t, err)
	padded := strings.Replace(pageText(10), "{", `{"padding":"`+strings.Repeat("-", 4<<20)+`",`, 1)
	tests := []struct {
		name     string
		response string
		read     func(*CdnClient) (any, error)
	}{
		{"a task by its id", thousand, func(client *CdnClient) (any, error) {
			return client.GetExportTask(t.Context(), page.tasks[0].TaskID)
		}},
		{"the tasks of a padded page", padded, func(client *CdnClient) (any, error) {
			return client.ListExportTasks(t.Context(), nil)
		}},
		{"a snapshot of a poll", thousand, func(client *CdnClient) (any, error) {
			page, err := client.ListExportTasks(t.Context(), nil)
			if err != nil {
				return nil, err
			}
			known := newSnapshot()
			known.merge(pageOf(page).Rows[:1], time.Now())
			return known, nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := newTestClient(t, roundTripper(func(*http.Request) (*http.Response, error) {
				return reply(200, test.response), nil
			}))
			kept := make([]any, responses)
			before := heapAlloc()
			for i := range kept {
				kept[i], err = test.read(client)
				require.NoError(t, err)
			}
			used := heapAlloc() - before
			runtime.KeepAlive(kept)
			assert.Less(t, used, int64(responses*len(test.response)/4))
		})
	}
}
