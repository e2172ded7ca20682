package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

//go:embed page.html
var pageHTML string

// keepTasks is the number of tasks that the page shows.
const keepTasks = 50

// page shows the sandbox's tasks and the last requests to a browser.
type page struct {
	template *template.Template
	requests *requestLog
	flags    serveFlags
	server   atomic.Pointer[cdntest.Server] // nil until the server has started
}

// view is the data of the template.
type view struct {
	URL, Welcome    string
	Settings        []setting
	Total, Finished int
	Failed, Open    int
	Tasks           []taskView
	Requests        []requestView
	Now             string
	Paused          bool // whether the page does not refresh itself
}

type taskView struct{ ID, Name, Status, Kind, Created, Updated, Ago, Link string }

type requestView struct {
	seenRequest
	Time, Kind, Duration string
}

func newPage(requests *requestLog, f serveFlags) *page {
	return &page{
		template: template.Must(template.New("page").Parse(pageHTML)),
		requests: requests,
		flags:    f,
	}
}

// middleware serves the page at / to requests that are not signed. next handles all others.
func (p *page) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		server := p.server.Load()
		if !reads || r.URL.Path != "/" || r.Header.Get("Authorization") != "" || server == nil {
			next.ServeHTTP(w, r)
			return
		}
		p.show(w, server, r.URL.Query().Has("pause"))
	})
}

func (p *page) show(w http.ResponseWriter, server *cdntest.Server, paused bool) {
	v := p.view(server, time.Now())
	v.Paused = paused
	var body bytes.Buffer
	if err := p.template.Execute(&body, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(body.Bytes()) // a browser that has left cannot be told
}

func (p *page) view(server *cdntest.Server, now time.Time) view {
	v := view{
		URL:      server.URL,
		Welcome:  welcome(server.URL, p.flags),
		Settings: p.flags.settings(),
		Now:      now.UTC().Format(time.TimeOnly),
	}
	for _, task := range server.Tasks() {
		v.count(task.Status)
		if v.Total <= keepTasks {
			v.Tasks = append(v.Tasks, viewTask(task, server.URL, now))
		}
	}
	for _, request := range p.requests.newestFirst() {
		v.Requests = append(v.Requests, requestView{
			seenRequest: request,
			Time:        request.At.UTC().Format("15:04:05.000"),
			Kind:        requestKind(request),
			Duration:    duration(request.Took),
		})
	}
	return v
}

func (v *view) count(status cdn.ExportTaskStatus) {
	v.Total++
	switch status {
	case cdn.ExportTaskSuccess:
		v.Finished++
	case cdn.ExportTaskFail:
		v.Failed++
	default:
		v.Open++
	}
}

func viewTask(task cdn.ExportTask, url string, now time.Time) taskView {
	return taskView{
		ID:      visible(task.TaskID),
		Name:    visible(task.TaskName),
		Status:  visible(cmp.Or(string(task.Status), "(none)")),
		Kind:    taskKind(task.Status),
		Created: task.CreateTime.UTC().Format(time.DateTime),
		Updated: task.UpdateTime.UTC().Format(time.DateTime),
		Ago:     ago(now.Sub(task.UpdateTime)),
		// Relative, since the browser may reach the server by another name.
		Link: strings.TrimPrefix(task.DownloadLink, url),
	}
}

// taskKind returns the CSS class of a task's status.
func taskKind(status cdn.ExportTaskStatus) string {
	switch status {
	case cdn.ExportTaskSuccess:
		return "good"
	case cdn.ExportTaskFail:
		return "bad"
	default:
		return "open"
	}
}

// requestKind returns the CSS class of a request's outcome.
func requestKind(r seenRequest) string {
	switch {
	case r.Status == http.StatusTooManyRequests:
		return "open"
	case r.Status >= 200 && r.Status < 400 && r.Code == "":
		return "good"
	default:
		return "bad"
	}
}

// ago returns how long ago something was, with at most two units.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return d.Truncate(time.Second).String() + " ago"
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh ago", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	default:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s") + " ago"
	}
}

// duration returns d with at most three digits.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond / 10).String()
	default:
		return d.Round(time.Second / 100).String()
	}
}
