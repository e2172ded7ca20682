package cdntest_test

import (
	"encoding/csv"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestCreateAnswersWithNothing(t *testing.T) {
	f := newFixture(t)
	a := f.call(http.MethodPost, tasksPath, `{}`)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Empty(t, a.body)
	assert.EqualValues(t, 0, a.ContentLength)
}

func TestCreateMakesATaskEachTime(t *testing.T) {
	f := newFixture(t)
	r := f.signed(http.MethodPost, tasksPath, `{"stat_type":"req_num"}`)
	for range 2 {
		require.Equal(t, http.StatusOK, f.send(r).StatusCode)
		r.Body, _ = r.GetBody()
	}
	tasks := f.Tasks()
	require.Len(t, tasks, 2)
	assert.NotEqual(t, tasks[0].TaskID, tasks[1].TaskID)
	for _, task := range tasks {
		assert.Regexp(t, `^[0-9a-f]{32}$`, task.TaskID)
		assert.Equal(t, "req_num_20260304050607", task.TaskName)
		assert.Equal(t, f.clock.Now(), task.CreateTime)
		assert.Equal(t, f.clock.Now(), task.UpdateTime)
	}
}

func TestCreateParameters(t *testing.T) {
	f := newFixture(t)
	domains := func(n int) string { return strings.Repeat("a.example.com,", n-1) + "a.example.com" }
	for _, c := range []struct {
		body    string
		message string // of a refusal; empty: accepted
		code    string // of a refusal that comes with 200; empty: CDN.0001 with 400
	}{
		{body: `{}`},
		{body: " \r\n\t{} \n"},
		{body: `{"action":"reports_detail","domain_name":"a.example.com,b.example.com","start_time":1,"end_time":2,"group_by":"domain",` +
			`"interval":300,"service_area":"global","stat_type":"flux","country":"cn","province":"all","isp":"any","language":"en"}`},
		{body: `{"service_area":"mainland_china","stat_type":"req_num","language":"zh","country":"cn,us"}`},
		{body: `{"service_area":"outside_mainland_china","domain_name":"all"}`},
		{body: `{"action":"","stat_type":"","start_time":null,"language":null,"interval":null}`},
		{body: `{"start_time":4102415999999,"end_time":4102416000000,"interval":3600}`},
		{body: `{"start_time":0,"end_time":31536000000}`}, // 365 days
		{body: `{"start_time":0,"end_time":7776000000,"interval":300}`},
		{body: `{"start_time":0,"end_time":7776000001,"interval":3600}`},
		{body: `{"domain_name":"` + domains(100) + `"}`},
		{body: `{"domain_name":"*.example.com,例子.example.com"}`},
		{body: ``, message: "must be a JSON object"},
		{body: `null`, message: "must be a JSON object"},
		{body: `[]`, message: "must be a JSON object"},
		{body: `"{}"`, message: "must be a JSON object"},
		{body: "\xef\xbb\xbf{}", message: "must be a JSON object"},
		{body: `{`, message: "the body cannot be read"},
		{body: `{"stat_type":flux}`, message: "the body cannot be read"},
		{body: `{} {}`, message: "has data after"},
		{body: `{}]`, message: "has data after"},
		{body: `{"domain_names":"all"}`, message: `unknown field \"domain_names\"`},
		{body: `{"Start_Time":1}`, message: `unknown field \"Start_Time\"`},
		{body: `{"ſtart_time":1}`, message: `unknown field \"ſtart_time\"`}, // encoding/json takes this s for one
		{body: `{"action":"a","ACTION":"b"}`, message: `unknown field \"ACTION\"`},
		{body: `{"\u0061ction":"uv"}`},
		{body: `{"action":"a","isp":"any","action":"a"}`, message: `field \"action\" is given twice`},
		{body: `{"action":"a","\u0061ction":null}`, message: `field \"action\" is given twice`},
		{body: `{"action":1}`, message: "action must be of type string, not number"},
		{body: `{"domain_name":["a"]}`, message: "domain_name must be of type string, not array"},
		{body: `{"start_time":"1"}`, message: "start_time must be of type int64, not string"},
		{body: `{"end_time":1.5}`, message: "end_time must be of type int64, not number 1.5"},
		{body: `{"interval":1e3}`, message: "interval must be of type int64"},
		{body: `{"start_time":2,"end_time":2}`, message: "end_time 2 is not after start_time 2", code: "CDN.0202"},
		{body: `{"start_time":2,"end_time":1}`, message: "end_time 1 is not after start_time 2", code: "CDN.0202"},
		{body: `{"start_time":1772600767001}`, message: "end_time 1772600767000 is not after", code: "CDN.0202"}, // now
		{body: `{"start_time":0,"end_time":31536000001}`, message: "longer than 365 days", code: "CDN.0202"},
		{body: `{"start_time":0}`, message: "longer than 365 days", code: "CDN.0202"},
		{body: `{"start_time":-1}`, message: "start_time must be"},
		{body: `{"end_time":-1}`, message: "end_time must be"},
		{body: `{"start_time":4102416000001}`, message: "start_time must be milliseconds from 0 to 4102416000000"},
		{body: `{"end_time":9223372036854775807}`, message: "end_time must be milliseconds from 0 to 4102416000000"},
		{body: `{"interval":0}`, message: "interval must be 300 or 3600, not 0", code: "CDN.0203"},
		{body: `{"interval":600}`, message: "interval must be 300 or 3600, not 600", code: "CDN.0203"},
		{body: `{"interval":-300}`, message: "interval must be 300 or 3600", code: "CDN.0203"},
		{body: `{"start_time":0,"end_time":7776000001,"interval":300}`, message: "more than 90 days", code: "CDN.0203"},
		{body: `{"action":"location_detail"}`, message: "action must be one of reports_detail"},
		{body: `{"action":"UV"}`, message: "action must be one of"},
		{body: `{"service_area":"mars"}`, message: `service_area must be one of mainland_china, outside_mainland_china, global, not "mars"`},
		{body: `{"stat_type":"bw"}`, message: "stat_type must be one of flux, req_num"},
		{body: `{"language":"EN"}`, message: "language must be one of zh, en"},
		{body: `{"group_by":"isp"}`, message: "group_by must be one of domain"},
		{body: `{"domain_name":"a,,b"}`, message: "domain_name has an empty name", code: "CDN.0201"},
		{body: `{"domain_name":"a b"}`, message: `domain_name has "a b"`, code: "CDN.0201"},
		{body: `{"domain_name":"a\"b"}`, message: "which is not a domain name", code: "CDN.0201"},
		{body: `{"domain_name":"` + strings.Repeat("a", 254) + `"}`, message: "which is not a domain name", code: "CDN.0201"},
		{body: `{"domain_name":"` + domains(101) + `"}`, message: "domain_name has 101 names", code: "CDN.0201"},
		{body: `{"country":"cn","action":"isp_detail"}`, message: "country cannot be combined with action isp_detail"},
		{body: `{"country":"cn","action":"top_url_detail"}`, message: "country cannot be combined with action top_url_detail"},
		{body: `{"province":"beijing"}`, message: "province needs country cn"},
		{body: `{"province":"beijing","country":"us"}`, message: "province needs country cn"},
	} {
		t.Run(c.body[:min(len(c.body), 100)], func(t *testing.T) {
			before := len(f.Tasks())
			a := f.call(http.MethodPost, tasksPath, c.body)
			if c.message == "" {
				assert.Equal(t, http.StatusOK, a.StatusCode, a.body)
				assert.Len(t, f.Tasks(), before+1)
				return
			}
			message := strings.ReplaceAll(c.message, `\"`, `"`)
			if c.code != "" {
				assertCDN(t, a, http.StatusOK, c.code, message)
			} else {
				assertRefused(t, a, message)
			}
			assert.Len(t, f.Tasks(), before)
		})
	}
}

func TestExportGoesThroughItsStates(t *testing.T) {
	f := newFixture(t, cdntest.WithExportTime(10*time.Second))
	start := f.clock.Now()
	created := f.create(`{}`)
	assert.Equal(t, cdn.ExportTaskStatus("waiting"), created.Status)
	f.clock.Advance(time.Second)
	f.AddTask(cdn.ExportTask{TaskName: "other"}, nil)

	for _, c := range []struct {
		after, updated time.Duration // since the start
		status         cdn.ExportTaskStatus
		place          int // in the list
	}{
		{4999 * time.Millisecond, 0, "waiting", 1},
		{5 * time.Second, 5 * time.Second, "processing", 0},
		{9999 * time.Millisecond, 5 * time.Second, "processing", 0},
		{10 * time.Second, 10 * time.Second, "success", 0},
		{time.Minute, 10 * time.Second, "success", 0},
	} {
		f.clock.Advance(start.Add(c.after).Sub(f.clock.Now()))
		row := f.list("task_id&task_name").Data[c.place]
		assert.Equal(t, created.TaskID, row["task_id"], c.after)
		assert.EqualValues(t, c.status, row["status"], c.after)
		assert.EqualValues(t, start.UnixMilli(), row["create_time"], c.after)
		assert.EqualValues(t, start.Add(c.updated).UnixMilli(), row["update_time"], c.after)
		link, _ := row["download_link"].(string)
		assert.Equal(t, c.status == cdn.ExportTaskSuccess, link != "", c.after)
	}
	file := f.send(f.request(http.MethodGet, f.Tasks()[0].DownloadLink, ""))
	assert.Equal(t, start.Add(10*time.Second).Format(http.TimeFormat), file.Header.Get("Last-Modified"))
}

// Changes that no request has seen happen all the same, and in order.
func TestExportsFinishInOrder(t *testing.T) {
	f := newFixture(t, cdntest.WithExportTime(10*time.Second))
	first := f.create(`{}`)
	f.clock.Advance(time.Second)
	second := f.create(`{}`)
	third := f.create(`{}`)
	f.clock.Advance(4 * time.Second) // the first is processing since now
	assert.Equal(t, first.TaskID, f.Tasks()[0].TaskID)

	f.clock.Advance(time.Hour)
	tasks := f.Tasks()
	assert.Equal(t, []string{third.TaskID, second.TaskID, first.TaskID}, []string{tasks[0].TaskID, tasks[1].TaskID, tasks[2].TaskID})
	assert.Equal(t, second.CreateTime.Add(10*time.Second), tasks[1].UpdateTime)
}

func TestDefaultExportTime(t *testing.T) {
	f := newFixture(t)
	f.create(`{}`)
	f.clock.Advance(2*time.Second - time.Millisecond)
	assert.False(t, f.Tasks()[0].Status.Done())
	f.clock.Advance(time.Millisecond)
	assert.Equal(t, cdn.ExportTaskSuccess, f.Tasks()[0].Status)
}

func TestExportThatTakesNoTime(t *testing.T) {
	f := newFixture(t, cdntest.WithExportTime(0))
	f.clock.Advance(300 * time.Microsecond)
	assert.Equal(t, cdn.ExportTaskSuccess, f.create(`{}`).Status)
}

func TestWithFailedExports(t *testing.T) {
	f := newFixture(t, cdntest.WithFailedExports())
	f.create(`{}`)
	f.clock.Advance(time.Minute)
	task := f.Tasks()[0]
	assert.Equal(t, cdn.ExportTaskFail, task.Status)
	assert.Empty(t, task.DownloadLink)
}

func TestExportIsOverruled(t *testing.T) {
	f := newFixture(t)
	task := f.create(`{}`)
	f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.TaskName = "renamed" })
	f.clock.Advance(time.Second)
	assert.Equal(t, cdn.ExportTaskStatus("processing"), f.Tasks()[0].Status, "another name changes nothing")
	f.UpdateTask(task.TaskID, func(t *cdn.ExportTask) { t.Status = cdn.ExportTaskFail })
	f.clock.Advance(time.Hour)
	assert.Equal(t, cdn.ExportTaskFail, f.Tasks()[0].Status)

	task = f.create(`{}`)
	assert.True(t, f.RemoveTask(task.TaskID))
	f.clock.Advance(time.Hour)
	assert.Len(t, f.Tasks(), 1, "a removed task does not come back")
}

func TestReport(t *testing.T) {
	const day = `"start_time":1767225600000,"end_time":1767226500000` // a quarter of an hour
	for _, c := range []struct {
		name, body string
		want       [][]string // without the numbers
	}{
		{"in steps of five minutes", `{` + day + `,"domain_name":"a.example.com,b.example.com"}`, [][]string{
			{"time", "domain", "flux"},
			{"2026-01-01T00:00:00Z", "a.example.com,b.example.com"},
			{"2026-01-01T00:05:00Z", "a.example.com,b.example.com"},
			{"2026-01-01T00:10:00Z", "a.example.com,b.example.com"},
		}},
		{"by domain", `{` + day + `,"domain_name":"a.example.com,b.example.com","group_by":"domain","interval":3600,"stat_type":"req_num"}`, [][]string{
			{"time", "domain", "req_num"},
			{"2026-01-01T00:00:00Z", "a.example.com"},
			{"2026-01-01T00:00:00Z", "b.example.com"},
		}},
		{"of all domains", `{` + day + `,"domain_name":"all","group_by":"domain","interval":3600}`, [][]string{
			{"time", "domain", "flux"},
			{"2026-01-01T00:00:00Z", "www.example.com"},
			{"2026-01-01T00:00:00Z", "img.example.com"},
			{"2026-01-01T00:00:00Z", "video.example.com"},
			{"2026-01-01T00:00:00Z", "download.example.com"},
		}},
		{"the last hour", `{"interval":3600}`, [][]string{
			{"time", "domain", "flux"},
			{"2026-03-04T04:06:07Z", "all"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := exported(t, c.body)
			assert.Equal(t, content, exported(t, c.body), "the same each time")
			rows, err := csv.NewReader(strings.NewReader(content)).ReadAll()
			require.NoError(t, err)
			for i := range rows[1:] {
				assert.Regexp(t, `^\d+$`, rows[1+i][2])
				rows[1+i] = rows[1+i][:2]
			}
			assert.Equal(t, c.want, rows)
		})
	}
}

// A report is as long as its time range and its domains demand.
func TestReportIsWhole(t *testing.T) {
	for body, rows := range map[string]int{
		`{"start_time":0,"end_time":7776000000,"interval":300}`:                                             90 * 288,
		`{"start_time":0,"end_time":7776000000}`:                                                            90 * 288,
		`{"start_time":0,"end_time":7776000001}`:                                                            90*24 + 1,
		`{"start_time":0,"end_time":31536000000,"interval":3600}`:                                           365 * 24,
		`{"start_time":0,"end_time":2678400000,"group_by":"domain","domain_name":"all","stat_type":"flux"}`: 31 * 288 * 4,
	} {
		content := exported(t, body)
		assert.Equal(t, rows+1, strings.Count(content, "\n"), body)
		assert.True(t, strings.HasSuffix(content, "\n"), "it ends with a whole row")
	}
}

// exported returns the file of a new export.
func exported(t *testing.T, body string) string {
	t.Helper()
	f := newFixture(t, cdntest.WithExportTime(0))
	a := f.send(f.request(http.MethodGet, f.create(body).DownloadLink, ""))
	require.Equal(t, http.StatusOK, a.StatusCode)
	require.NoError(t, a.err)
	return a.body
}
