package cdn

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
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
	// for without being the last page. The strings of a page share its memory: a task that is kept
	// keeps the whole answer's text, which is at most 32 MiB.
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

// MarshalJSON writes the task as the service does: names as in the API reference, times in
// milliseconds since 1970-01-01 UTC, and no time that is zero.
func (t ExportTask) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		TaskID       string           `json:"task_id"`
		TaskName     string           `json:"task_name"`
		Status       ExportTaskStatus `json:"status"`
		DownloadLink string           `json:"download_link"`
		CreateTime   *int64           `json:"create_time,omitempty"`
		UpdateTime   *int64           `json:"update_time,omitempty"`
	}{t.TaskID, t.TaskName, t.Status, t.DownloadLink, milliseconds(t.CreateTime), milliseconds(t.UpdateTime)})
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

// LogValue logs the task without the query of its download link, which lets anyone read the file.
func (t ExportTask) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("task_id", t.TaskID),
		slog.String("task_name", t.TaskName),
		slog.String("status", string(t.Status)),
		slog.String("download_link", redactLink(t.DownloadLink)),
		slog.Time("create_time", t.CreateTime),
		slog.Time("update_time", t.UpdateTime),
	)
}

// redactLink is link without what makes it a key to the file: its query, fragment and user.
func redactLink(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return "[unreadable link]"
	}
	redacted := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.RawQuery != "" {
		redacted.RawQuery = "redacted"
	}
	return redacted.String()
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
