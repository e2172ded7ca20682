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
	// Advice is what to do if something is broken.
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

// add adds a line. The detail may have text of the service, so it is made printable and its links are redacted.
func (r *report) add(check string, v verdict, detail, advice string) {
	const limit = 600 // bytes
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
	fmt.Fprintf(&b, "cdn-doctor %s, %s %s, %s, requests: %d\n\n", r.Version, r.Go, r.Platform, r.Time.Format(time.RFC3339), r.Requests)
	for _, l := range r.Lines {
		if l.Verdict != skipped {
			fmt.Fprintf(&b, "%-10s%-12s%s\n", l.Verdict, l.Check, l.Detail)
		}
		if l.Advice != "" {
			fmt.Fprintf(&b, "%22s→ %s\n", "", l.Advice)
		}
	}
	b.WriteString(r.skippedChecks())
	_, err := io.WriteString(w, b.String())
	return err
}

// skippedChecks returns a line for each reason, with the checks that were skipped for it.
func (r *report) skippedChecks() string {
	var reasons []string
	checks := map[string][]string{}
	for _, l := range r.Lines {
		if l.Verdict != skipped {
			continue
		}
		if checks[l.Detail] == nil {
			reasons = append(reasons, l.Detail)
		}
		checks[l.Detail] = append(checks[l.Detail], l.Check)
	}
	var b strings.Builder
	for _, reason := range reasons {
		fmt.Fprintf(&b, "%-10s%s: %s\n", skipped, reason, strings.Join(checks[reason], ", "))
	}
	return b.String()
}
