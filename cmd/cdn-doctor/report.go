package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/internal/redact"
)

// verdict is the outcome of a check.
type verdict string

const (
	ok        verdict = "ok"
	broken    verdict = "broken"
	different verdict = "different"
	skipped   verdict = "skipped"
)

// line is the outcome of one check.
type line struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	// Detail is what was found.
	Detail string `json:"detail"`
	// Advice is what to do, if something is broken.
	Advice string `json:"advice,omitempty"`
}

// report is the outcome of all checks.
type report struct {
	Version  string    `json:"version"`
	Go       string    `json:"go"`
	Platform string    `json:"platform"`
	Time     time.Time `json:"time"`
	Requests int       `json:"requests"`
	Lines    []line    `json:"checks"`
}

func newReport() *report {
	return &report{Version: cdn.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Time: time.Now().UTC().Truncate(time.Second)}
}

// add adds a line. The detail may hold text of the service, so it is made printable and its links lose their keys.
func (r *report) add(check string, v verdict, detail, advice string) {
	const limit = 300 // bytes
	r.Lines = append(r.Lines, line{check, v, redact.Excerpt(redact.Links(detail), limit), advice})
}

func (r *report) ok(check, format string, args ...any) {
	r.add(check, ok, fmt.Sprintf(format, args...), "")
}

func (r *report) different(check, format string, args ...any) {
	r.add(check, different, fmt.Sprintf(format, args...), "")
}

func (r *report) skip(why string, checks ...string) {
	for _, check := range checks {
		r.add(check, skipped, why, "")
	}
}

// broken reports whether a check found something broken.
func (r *report) broken() bool {
	for _, l := range r.Lines {
		if l.Verdict == broken {
			return true
		}
	}
	return false
}

// write prints the report, as lines or as JSON.
func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cdn-doctor %s, %s %s, %s, %d requests\n\n", r.Version, r.Go, r.Platform, r.Time.Format(time.RFC3339), r.Requests)
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "%-10s%-12s%s\n", l.Verdict, l.Check, l.Detail)
		if l.Advice != "" {
			fmt.Fprintf(&b, "%22s→ %s\n", "", l.Advice)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
