package cdn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/huaweicloud/cdn/internal/redact"
)

// ListExportTasksRequest says which page of which export tasks to list. The zero value, and nil,
// ask for the first page of all tasks.
type ListExportTasksRequest struct {
	// Limit is the most tasks that the page may hold; 0 leaves it to the service, which takes 10.
	// The service's maximum is not documented: a page may be shorter than asked and not the last.
	Limit int
	// Offset is how many tasks to skip, 0 or more. The list is sorted by time of last change, newest
	// first, so a task may move between two pages that are read one after the other.
	Offset int
	// TaskID keeps the task with this id only; empty keeps all.
	TaskID string
	// TaskName keeps the tasks with this name only; empty keeps all.
	TaskName string
}

// validate refuses what the API reference rules out. Integer parameters are 32 bits wide there.
func (r *ListExportTasksRequest) validate() error {
	switch {
	case r.Limit < 0 || r.Limit > math.MaxInt32:
		return invalid("Limit", r.Limit, "must be from 0 to 2147483647")
	case r.Offset < 0 || r.Offset > math.MaxInt32:
		return invalid("Offset", r.Offset, "must be from 0 to 2147483647")
	}
	if err := validateText("TaskID", r.TaskID); err != nil {
		return err
	}
	return validateText("TaskName", r.TaskName)
}

// query is the request's query string. task_id and task_name are always sent: the reference's
// English page marks them as mandatory.
func (r *ListExportTasksRequest) query() string {
	b := make([]byte, 0, 64+len(r.TaskID)+len(r.TaskName))
	if r.Limit > 0 {
		b = append(b, "limit="...)
		b = strconv.AppendInt(b, int64(r.Limit), 10)
		b = append(b, '&')
	}
	if r.Offset > 0 {
		b = append(b, "offset="...)
		b = strconv.AppendInt(b, int64(r.Offset), 10)
		b = append(b, '&')
	}
	b = append(b, "task_id="...)
	b = appendEscapedString(b, r.TaskID)
	b = append(b, "&task_name="...)
	b = appendEscapedString(b, r.TaskName)
	return string(b)
}

func validateText(field, text string) error {
	if !utf8.ValidString(text) {
		return invalid(field, text, "must be valid UTF-8")
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return invalid(field, text, "must have no control character")
		}
	}
	return nil
}

// ListExportTasksResponse is one page of export tasks.
type ListExportTasksResponse struct {
	// Total is how many tasks the request's filters keep, over all pages.
	Total int `json:"total"`
	// Data holds the page's tasks, the last changed first; it may be shorter than the limit asked
	// for without being the last page. Tasks of one page share its text: one that is kept keeps it
	// all in memory, about 330 bytes for each task of the page and never more than 1 MiB.
	Data []ExportTask `json:"data"`

	ResponseMetadata `json:"-"`
}

// UnmarshalJSON reads the service's answer, by the rules of [ExportTask.UnmarshalJSON]. The total
// must be there, and data must be there or be null.
func (r *ListExportTasksResponse) UnmarshalJSON(data []byte) error {
	page, err := decodePage(string(data))
	if err != nil {
		return fmt.Errorf("cdn: ListExportTasksResponse: %w", err)
	}
	r.Total, r.Data = page.total, page.tasks
	return nil
}

// ResponseMetadata is what an answer says beside its content.
type ResponseMetadata struct {
	// StatusCode is the HTTP status of the answer.
	StatusCode int
	// RequestID names the request to the vendor's support; empty where the answer had none.
	RequestID string
	// Attempts is how many requests were sent for the call, 1 or more.
	Attempts int
}

// ExportTaskStatus is the state of an export task. The API reference knows two, both final; any
// other, the empty one too, is a task that is not finished.
type ExportTaskStatus string

// The final states.
const (
	// ExportTaskSuccess: the file is ready at the task's DownloadLink.
	ExportTaskSuccess ExportTaskStatus = "success"
	// ExportTaskFail: there will be no file.
	ExportTaskFail ExportTaskStatus = "fail"
)

// Done reports whether the state is final.
func (s ExportTaskStatus) Done() bool { return s == ExportTaskSuccess || s == ExportTaskFail }

// ExportTask is one export of statistics.
type ExportTask struct {
	// TaskID is the service's id of the task.
	TaskID string
	// TaskName is the task's name. Where the service sends it as a number, it is the number's text.
	TaskName string
	// Status is success, fail, or, while the task is not finished, anything else.
	Status ExportTaskStatus
	// DownloadLink is there once the status is success. Whoever has the link can read the file
	// until the link expires, so treat it as a secret.
	DownloadLink string
	// CreateTime is when the task was created, in UTC to the millisecond; zero where the service
	// sent none.
	CreateTime time.Time
	// UpdateTime is when the task changed last, in UTC to the millisecond; zero where the service
	// sent none.
	UpdateTime time.Time
}

// unshared is the task with strings of its own, so that keeping it does not keep its page's text.
func (t ExportTask) unshared() ExportTask {
	t.TaskID = strings.Clone(t.TaskID)
	t.TaskName = strings.Clone(t.TaskName)
	t.Status = ExportTaskStatus(strings.Clone(string(t.Status)))
	t.DownloadLink = strings.Clone(t.DownloadLink)
	return t
}

// MarshalJSON writes the task as the service does: names as in the API reference, times in
// milliseconds since 1970-01-01 UTC, and no time that is zero.
func (t ExportTask) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	// Whether & is escaped in a link is for the encoder that asks; it can add escapes, not remove them.
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		TaskID       string           `json:"task_id"`
		TaskName     string           `json:"task_name"`
		Status       ExportTaskStatus `json:"status"`
		DownloadLink string           `json:"download_link"`
		CreateTime   *int64           `json:"create_time,omitempty"`
		UpdateTime   *int64           `json:"update_time,omitempty"`
	}{t.TaskID, t.TaskName, t.Status, t.DownloadLink, milliseconds(t.CreateTime), milliseconds(t.UpdateTime)})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func milliseconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

// UnmarshalJSON reads a task as the service writes it. A null, and a name that is not there, leave
// the zero value; unknown names are passed over; where a name is there twice, the last one counts;
// names are compared exactly. task_name may be a string or a number; a time must be a whole number
// of milliseconds. Text must be valid UTF-8; an escape that is half of a surrogate pair becomes
// U+FFFD, as in [encoding/json].
func (t *ExportTask) UnmarshalJSON(data []byte) error {
	task, err := decodeTask(string(data))
	if err != nil {
		return fmt.Errorf("cdn: ExportTask: %w", err)
	}
	*t = task
	return nil
}

// Format prints the task as fmt prints any struct, but without the query of its download link, which
// lets anyone read the file. A struct that embeds a task is printed as the task; one that has it in an
// unexported field is printed with the whole link, since fmt calls no methods there.
func (t ExportTask) Format(f fmt.State, verb rune) {
	type exportTask ExportTask // without this method
	t.DownloadLink = redact.Link(t.DownloadLink)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), exportTask(t))
}

// LogValue logs the task without the query of its download link, and without times that are zero. It
// is not asked for tasks in a slice, which a [slog.JSONHandler] logs in full, as JSON shows them.
func (t ExportTask) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("task_id", t.TaskID),
		slog.String("task_name", t.TaskName),
		slog.String("status", string(t.Status)),
		slog.String("download_link", redact.Link(t.DownloadLink)),
		timeAttr("create_time", t.CreateTime),
		timeAttr("update_time", t.UpdateTime),
	)
}

// timeAttr is nothing at all for the zero time.
func timeAttr(key string, t time.Time) slog.Attr {
	if t.IsZero() {
		return slog.Attr{}
	}
	return slog.Time(key, t)
}

// CreateExportTaskRequest says what to export. The service requires no field; its own defaults stand
// for those that are zero. The console's manual gives limits for the same statistics, which are not
// checked here: data of the last 90 days, at most 31 days at once, steps of 5 minutes or, from 8 days
// on, 1 hour, and the last hour not there yet.
type CreateExportTaskRequest struct {
	// Action is passed on as it is; the API reference does not say what values there are.
	Action string
	// DomainNames are the accelerated domains, or "all" alone.
	DomainNames []string
	// StartTime and EndTime bound the statistics, to the millisecond; the end comes after the start.
	StartTime, EndTime time.Time
	// GroupBy is "domain" for figures of each domain, or empty.
	GroupBy string
	// Interval is the step of the figures, in whole seconds.
	Interval time.Duration
	// ServiceArea is the part of the world that is counted; the service's default is mainland China.
	ServiceArea ServiceArea
	// StatType is what is counted.
	StatType StatType
	// Countries are country codes, or "all" alone. Not for carrier or top-URL data; for regional data
	// only "cn".
	Countries []string
	// Provinces are province codes, or "all" alone; only with the one country "cn".
	Provinces []string
	// ISP is the carrier.
	ISP string
	// Language is the language of the file; the service's default is Chinese.
	Language Language
}

func (r *CreateExportTaskRequest) validate() error {
	texts := []struct{ field, text string }{
		{"Action", r.Action}, {"GroupBy", r.GroupBy}, {"ServiceArea", string(r.ServiceArea)},
		{"StatType", string(r.StatType)}, {"ISP", r.ISP}, {"Language", string(r.Language)},
	}
	for _, t := range texts {
		if err := validateText(t.field, t.text); err != nil {
			return err
		}
	}
	lists := []struct {
		field string
		names []string
	}{{"DomainNames", r.DomainNames}, {"Countries", r.Countries}, {"Provinces", r.Provinces}}
	for _, l := range lists {
		if err := validateNames(l.field, l.names); err != nil {
			return err
		}
	}
	return r.validateCombination()
}

// validateCombination checks what one field says about another.
func (r *CreateExportTaskRequest) validateCombination() error {
	switch {
	case !r.StartTime.IsZero() && !r.EndTime.IsZero() && r.EndTime.UnixMilli() <= r.StartTime.UnixMilli():
		return invalid("EndTime", r.EndTime, "must be after StartTime")
	case r.Interval < 0 || r.Interval%time.Second != 0:
		return invalid("Interval", r.Interval, "must be whole seconds, not negative")
	case len(r.Provinces) > 0 && !(len(r.Countries) == 1 && r.Countries[0] == "cn"):
		return invalid("Provinces", strings.Join(r.Provinces, ","), `needs Countries to be "cn" alone`)
	}
	return nil
}

// validateNames checks names that will be joined with commas.
func validateNames(field string, names []string) error {
	for i, name := range names {
		at := field + "[" + strconv.Itoa(i) + "]"
		switch {
		case strings.TrimSpace(name) == "":
			return invalid(at, name, "must not be blank")
		case strings.Contains(name, ","):
			return invalid(at, name, "must have no comma: give each name an element of its own")
		case name == "all" && len(names) > 1:
			return invalid(at, name, "must stand alone")
		}
		if err := validateText(at, name); err != nil {
			return err
		}
	}
	return nil
}

// body is the request as the service reads it.
func (r *CreateExportTaskRequest) body() ([]byte, error) {
	return json.Marshal(struct {
		Action      string      `json:"action,omitempty"`
		DomainName  string      `json:"domain_name,omitempty"`
		StartTime   *int64      `json:"start_time,omitempty"`
		EndTime     *int64      `json:"end_time,omitempty"`
		GroupBy     string      `json:"group_by,omitempty"`
		Interval    int64       `json:"interval,omitempty"`
		ServiceArea ServiceArea `json:"service_area,omitempty"`
		StatType    StatType    `json:"stat_type,omitempty"`
		Country     string      `json:"country,omitempty"`
		Province    string      `json:"province,omitempty"`
		ISP         string      `json:"isp,omitempty"`
		Language    Language    `json:"language,omitempty"`
	}{
		r.Action, strings.Join(r.DomainNames, ","), milliseconds(r.StartTime), milliseconds(r.EndTime),
		r.GroupBy, int64(r.Interval / time.Second), r.ServiceArea, r.StatType,
		strings.Join(r.Countries, ","), strings.Join(r.Provinces, ","), r.ISP, r.Language,
	})
}

// CreateExportTaskResponse is the service's word that it took the request.
type CreateExportTaskResponse struct {
	// TaskID is the new task's id where the service gives one. The API reference does not promise it;
	// the new task has to be found in the list.
	TaskID string

	ResponseMetadata `json:"-"`
}

// ServiceArea is the part of the world whose traffic is counted.
type ServiceArea string

// The service areas. A domain that is served globally is counted for mainland China and for the rest
// of the world separately.
const (
	ServiceAreaMainlandChina        ServiceArea = "mainland_china"
	ServiceAreaOutsideMainlandChina ServiceArea = "outside_mainland_china"
	ServiceAreaGlobal               ServiceArea = "global"
)

// StatType is what is counted.
type StatType string

// The kinds of statistics.
const (
	// StatTypeFlux is traffic, in bytes.
	StatTypeFlux StatType = "flux"
	// StatTypeReqNum is the number of requests.
	StatTypeReqNum StatType = "req_num"
)

// Language is the language of the exported file.
type Language string

// The languages.
const (
	LanguageChinese Language = "zh"
	LanguageEnglish Language = "en"
)
