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

// maxLimit is the largest page that the API reference allows.
const maxLimit = 100

// ListExportTasksRequest selects one page of the export tasks. The zero value, and nil, select the first
// page of all tasks.
type ListExportTasksRequest struct {
	// Limit is the largest number of tasks in the page, from 0 to 100. If it is 0, it is not sent, and the
	// service takes 10. A page may have fewer tasks without being the last.
	Limit int
	// Offset is how many tasks to skip, from 0 to 2147483647. The list is sorted by time of last change, newest
	// first, so a task may move from one page to another between two requests.
	Offset int
	// TaskID selects the task with this id; empty selects all. It is sent only if it is set.
	TaskID string
	// TaskName selects the tasks with this name; empty selects all. It is sent only if it is set. The API
	// reference does not say whether a part of the name is enough.
	TaskName string
}

// validate refuses what the API reference rules out. The reference gives an offset 32 bits and no maximum.
func (r *ListExportTasksRequest) validate() error {
	switch {
	case r.Limit < 0 || r.Limit > maxLimit:
		return invalid("Limit", r.Limit, "must be from 0 to "+strconv.Itoa(maxLimit))
	case r.Offset < 0 || r.Offset > math.MaxInt32:
		return invalid("Offset", r.Offset, "must be from 0 to 2147483647")
	}
	if err := validateText("TaskID", r.TaskID); err != nil {
		return err
	}
	return validateText("TaskName", r.TaskName)
}

// query returns the query string of the request: the parameters that are set, sorted.
func (r *ListExportTasksRequest) query() string {
	b := make([]byte, 0, 64+len(r.TaskID)+len(r.TaskName))
	if r.Limit > 0 {
		b = append(b, "&limit="...)
		b = strconv.AppendInt(b, int64(r.Limit), 10)
	}
	if r.Offset > 0 {
		b = append(b, "&offset="...)
		b = strconv.AppendInt(b, int64(r.Offset), 10)
	}
	if r.TaskID != "" {
		b = append(b, "&task_id="...)
		b = appendEscapedString(b, r.TaskID)
	}
	if r.TaskName != "" {
		b = append(b, "&task_name="...)
		b = appendEscapedString(b, r.TaskName)
	}
	return strings.TrimPrefix(string(b), "&")
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
	// Total is how many tasks the filters of the request select, on all pages.
	Total int `json:"total"`
	// Data has the tasks of the page, the last changed first. It may be shorter than the requested limit
	// without being the last page. The tasks of a page share its text: a task that is kept keeps the whole
	// text in memory, about 330 bytes for each task of the page and never more than 1 MiB.
	Data []ExportTask `json:"data"`

	ResponseMetadata `json:"-"`
}

// UnmarshalJSON reads the body of the service's response, by the rules of [ExportTask.UnmarshalJSON]. The members
// total and data are required; data may be null. A body with an error code is an error.
func (r *ListExportTasksResponse) UnmarshalJSON(data []byte) error {
	page, err := decodePage(string(data))
	if err != nil {
		return fmt.Errorf("cdn: ListExportTasksResponse: %w", err)
	}
	r.Total, r.Data = page.total, page.tasks
	return nil
}

// ResponseMetadata describes a response beside its content.
type ResponseMetadata struct {
	// StatusCode is the HTTP status of the response.
	StatusCode int
	// RequestID names the request to the vendor's support. It is empty if the response had none.
	RequestID string
	// Attempts is how many requests were sent for the call, 1 or more.
	Attempts int
}

// ExportTaskStatus is the state of an export task. The API reference documents two values, both final. Any
// other value, the empty one too, means that the task is not finished. It is kept as the service sent it.
type ExportTaskStatus string

// The final states.
const (
	// ExportTaskSuccess means that the file is ready at the task's DownloadLink.
	ExportTaskSuccess ExportTaskStatus = "success"
	// ExportTaskFail means that there will be no file.
	ExportTaskFail ExportTaskStatus = "fail"
)

// Done reports whether the state is final.
func (s ExportTaskStatus) Done() bool { return s == ExportTaskSuccess || s == ExportTaskFail }

// ExportTask is one export of statistics.
type ExportTask struct {
	// TaskID is the service's id of the task.
	TaskID string
	// TaskName is the task's name. If the service sent a number, it is the literal text of that number.
	TaskName string
	// Status is success or fail, or any other text while the task is not finished.
	Status ExportTaskStatus
	// DownloadLink is set once the status is success. Anyone who has the link can read the file until the
	// link expires: treat it as a secret. The service keeps the file for 7 days after the success.
	DownloadLink string
	// CreateTime is when the task was created, in UTC to the millisecond. It is zero if the service sent none.
	CreateTime time.Time
	// UpdateTime is when the task last changed, in UTC to the millisecond. It is zero if the service sent none.
	UpdateTime time.Time
}

// unshared returns the task with strings of its own, so that keeping it does not keep the text of its page.
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
	// The caller's encoder can add the escapes of HTML, and cannot remove them.
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

// UnmarshalJSON reads a task as the service writes it. A null or missing member leaves the zero value.
// Unknown members are skipped, the last of two equal names counts, and names are compared exactly.
//
// task_id and task_name may be strings or numbers. A time is a whole number of milliseconds, also as
// 1.7e12 or as a string. Text must be valid UTF-8; half of a surrogate pair becomes U+FFFD, as in
// [encoding/json]. An error names the member.
func (t *ExportTask) UnmarshalJSON(data []byte) error {
	task, err := decodeTask(string(data))
	if err != nil {
		return fmt.Errorf("cdn: ExportTask: %w", err)
	}
	*t = task
	return nil
}

// Format prints the task as fmt prints any struct, but without the query of its download link, which is a key to
// the file. A struct that embeds a task is printed as the task. A task in an unexported field is printed with the
// whole link, since fmt calls no methods there.
func (t ExportTask) Format(f fmt.State, verb rune) {
	type exportTask ExportTask // without this method
	t.DownloadLink = redact.Link(t.DownloadLink)
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), exportTask(t))
}

// LogValue returns the task without the query of its download link and without zero times. slog does not call it
// for tasks in a slice: a [slog.JSONHandler] logs these with the whole link.
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

// timeAttr returns an empty Attr, which slog leaves out, for the zero time.
func timeAttr(key string, t time.Time) slog.Attr {
	if t.IsZero() {
		return slog.Attr{}
	}
	return slog.Time(key, t)
}

// CreateExportTaskRequest describes an export. No field is required: zero values are not sent, and the service has
// defaults. The constants are the documented values. Other values are sent too, since the vendor adds some.
//
// The service has limits that are not checked before sending. An export covers up to 365 days, and has no
// bandwidth if it covers more than 90. It has steps of 5 minutes or 1 hour, and at most 100 domains. The figures
// are about one hour behind. The format of the file is not documented.
type CreateExportTaskRequest struct {
	// Action is the kind of data.
	Action Action
	// DomainNames are the accelerated domains, at most 100, or "all" alone. With "all" and [GroupByDomain], one
	// task has the figures of each domain.
	DomainNames []string
	// StartTime and EndTime limit the statistics, to the millisecond. If both are set, the end must be at least one
	// millisecond after the start.
	StartTime, EndTime time.Time
	// GroupBy is [GroupByDomain] for figures of each domain, or empty.
	GroupBy string
	// Interval is the step of the figures: 5 minutes or 1 hour, and only 1 hour if the export covers more than 90
	// days. It must be whole seconds.
	Interval time.Duration
	// ServiceArea is the part of the world whose traffic is counted. The default is mainland China.
	ServiceArea ServiceArea
	// StatType selects traffic or requests.
	StatType StatType
	// Countries are country codes, or "all" alone. Carrier data and top-URL data take none. Regional data takes
	// only "cn".
	Countries []string
	// Provinces are province codes, or "all" alone. If they are set, Countries must be "cn" alone.
	Provinces []string
	// ISP is the carrier.
	ISP string
	// Language is the language of the file. The default is Chinese.
	Language Language
}

// Action is the kind of data that is exported.
type Action string

// The documented kinds of data. The kinds that begin with top_ need an operations report, which is ordered in the
// console and has data from the next day on. They take [ServiceAreaMainlandChina] or
// [ServiceAreaOutsideMainlandChina], not [ServiceAreaGlobal].
const (
	ActionReportsDetail    Action = "reports_detail"
	ActionTopURLDetail     Action = "top_url_detail"
	ActionTopUADetail      Action = "top_ua_detail"
	ActionTopRefererDetail Action = "top_referer_detail"
	ActionTopIPDetail      Action = "top_ip_detail"
	ActionISPDetail        Action = "isp_detail"
	ActionTopPathDetail    Action = "top_path_detail"
	ActionUV               Action = "uv"
)

// GroupByDomain asks for the figures of each domain.
const GroupByDomain = "domain"

func (r *CreateExportTaskRequest) validate() error {
	texts := []struct{ field, text string }{
		{"Action", string(r.Action)}, {"GroupBy", r.GroupBy}, {"ServiceArea", string(r.ServiceArea)},
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

// validateCombination checks fields that depend on each other.
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

// body returns the body of the request.
func (r *CreateExportTaskRequest) body() ([]byte, error) {
	return json.Marshal(struct {
		Action      Action      `json:"action,omitempty"`
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

// CreateExportTaskResponse is the response to an accepted request.
type CreateExportTaskResponse struct {
	// TaskID is the id of the new task. It is empty if the service sends none, which is what the API reference
	// documents. The new task is then found in the list.
	TaskID string

	ResponseMetadata `json:"-"`
}

// ServiceArea is the part of the world whose traffic is counted.
type ServiceArea string

// The documented service areas. If a domain is served globally, the service counts it separately for mainland
// China and for the rest of the world.
const (
	ServiceAreaMainlandChina        ServiceArea = "mainland_china"
	ServiceAreaOutsideMainlandChina ServiceArea = "outside_mainland_china"
	ServiceAreaGlobal               ServiceArea = "global"
)

// StatType selects what is counted.
type StatType string

// The documented kinds of statistics.
const (
	// StatTypeFlux is the traffic.
	StatTypeFlux StatType = "flux"
	// StatTypeReqNum is the number of requests.
	StatTypeReqNum StatType = "req_num"
)

// Language is the language of the exported file.
type Language string

// The documented languages.
const (
	LanguageChinese Language = "zh"
	LanguageEnglish Language = "en"
)
