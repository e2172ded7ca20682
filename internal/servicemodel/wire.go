package servicemodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// outcome is the response to a request before it is written.
type outcome struct {
	status int
	body   string
	header http.Header
	err    error
	failed bool
}

// failure draws a failure that may pass.
func (s *Service) failure() outcome {
	switch s.answers.IntN(5) {
	case 0:
		return outcome{status: http.StatusInternalServerError, body: errorBody("CDN.0000", "internal error"), failed: true}
	case 1:
		return outcome{status: http.StatusServiceUnavailable, body: "<html>busy</html>", failed: true}
	case 2:
		return outcome{status: http.StatusOK, body: "<html>welcome</html>", failed: true}
	}
	return s.lost()
}

// lost draws how a response does not arrive.
func (s *Service) lost() outcome {
	if s.answers.maybe(2) {
		return outcome{status: http.StatusBadGateway, failed: true}
	}
	return outcome{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, failed: true}
}

func refusal(status int, body string) outcome {
	return outcome{status: status, body: body, failed: true}
}

func errorBody(code, message string) string {
	return fmt.Sprintf(`{"error":{"error_code":%q,"error_msg":%q}}`, code, message)
}

func named(tasks []*Task, name string) []*Task {
	var kept []*Task
	for _, task := range tasks {
		if task.Name == name {
			kept = append(kept, task)
		}
	}
	return kept
}

// Row is a task in a response. A nil time is absent.
type Row struct {
	TaskID       string `json:"task_id"`
	TaskName     string `json:"task_name"`
	Status       string `json:"status"`
	DownloadLink string `json:"download_link,omitempty"`
	CreateTime   *int64 `json:"create_time,omitempty"`
	UpdateTime   *int64 `json:"update_time,omitempty"`
}

// Page is the response to a list or a look-up by id.
type Page struct {
	Total int   `json:"total"`
	Data  []Row `json:"data"`
}

func rowsOf(tasks []*Task) []Row {
	rows := make([]Row, 0, len(tasks))
	for _, t := range tasks {
		rows = append(rows, Row{t.ID, t.Name, t.Status, t.Link, timeOf(t.Created), timeOf(t.Updated)})
	}
	return rows
}

func timeOf(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	return &ms
}

func (p Page) outcome() outcome {
	body, err := json.Marshal(p)
	if err != nil {
		return outcome{err: err}
	}
	return outcome{status: http.StatusOK, body: string(body)}
}

func (o outcome) response(req *http.Request) *http.Response {
	header := o.header
	if header == nil {
		header = http.Header{}
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Content-Type", "application/json")
	return &http.Response{
		Status:        strconv.Itoa(o.status) + " " + http.StatusText(o.status),
		StatusCode:    o.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(o.body)),
		ContentLength: int64(len(o.body)),
		Request:       req,
	}
}

// parse reads a request and closes its body.
func parse(req *http.Request) (Request, error) {
	query := req.URL.Query()
	r := Request{Kind: Other, ID: query.Get("task_id"), Name: query.Get("task_name")}
	r.Offset, r.Limit = number(query, "offset", 0), number(query, "limit", 10)
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		if err = errors.Join(err, req.Body.Close()); err != nil {
			return r, err
		}
	}
	switch {
	case req.URL.Path != Path:
	case req.Method == http.MethodPost:
		r.Kind = Create
		var create struct {
			DomainName string `json:"domain_name"`
		}
		if err := json.Unmarshal(body, &create); err != nil {
			return r, err
		}
		r.Owner = create.DomainName
	case req.Method == http.MethodGet && r.ID != "":
		r.Kind = Lookup
	case req.Method == http.MethodGet:
		r.Kind = List
	}
	return r, nil
}

// number reads an integer parameter; text that is no number is -1, which the service refuses.
func number(query url.Values, name string, missing int) int {
	text := query.Get(name)
	if text == "" {
		return missing
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}
