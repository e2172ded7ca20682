package main

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

var update = flag.Bool("update", false, "write the reports into docs/doctor.md")

const docs = "../../docs/doctor.md"

// Each block after "<!-- report: NAME -->" is a report as the program prints it.
func TestDocs_have_the_reports(t *testing.T) {
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	page := string(text)
	for name, report := range documentedReports(t) {
		block := regexp.MustCompile("(?s)(<!-- report: " + name + " -->\n```text\n).*?(```\n)")
		require.Regexp(t, block, page)
		page = block.ReplaceAllString(page, "${1}"+strings.ReplaceAll(report, "$", "$$")+"${2}")
	}
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(page), 0o644))
	}
	assert.Equal(t, page, string(text), "run: go test ./cmd/cdn-doctor -run TestDocs -update")
}

// documentedReports returns the reports of a healthy service and of one with each fault.
func documentedReports(t *testing.T) map[string]string {
	wrongKey := cdn.WithAKSK("SANDBOXACCESSKEY", "wrong")
	now := time.Now().Truncate(time.Second)
	twentyMinutesLater := cdntest.WithClock(func() time.Time { return now.Add(20 * time.Minute) })
	viaProxy := changing(query("limit"), func(r *http.Request) { r.URL.RawQuery += "&via=proxy" })
	portal := cdntest.Fault{Match: cdntest.IsList, Times: -1, Body: "<html><body>Log in to use this network.</body></html>"}
	late := func(s *cdntest.Server) {
		requests := 0
		s.Inject(cdntest.Fault{Match: func(*http.Request) bool {
			if requests++; requests == 5 {
				s.AddTask(cdn.ExportTask{CreateTime: now.Add(-10 * time.Second)}, nil)
			}
			return false
		}})
	}
	return map[string]string{
		"healthy":   documentedReport(t, nil),
		"wrong key": documentedReport(t, nil, wrongKey),
		"clock":     documentedReport(t, nil, twentyMinutesLater),
		"proxy":     documentedReport(t, nil, viaProxy),
		"portal":    documentedReport(t, func(s *cdntest.Server) { s.Inject(portal) }),
		"lag":       documentedReport(t, late, cdntest.WithClock(func() time.Time { return now })),
	}
}

// documentedReport returns the report about a sandbox with the options, without what differs from run to run. If there
// is a fault, it leaves out the lines that say ok.
func documentedReport(t *testing.T, prepare func(*cdntest.Server), options ...any) string {
	t.Helper()
	sandboxOptions, clientOptions := []cdntest.Option{cdntest.WithAKSK("SANDBOXACCESSKEY", "sandbox-secret-key")}, []cdn.Option(nil)
	for _, option := range options {
		switch option := option.(type) {
		case cdntest.Option:
			sandboxOptions = append(sandboxOptions, option)
		case cdn.Option:
			clientOptions = append(clientOptions, option)
		}
	}
	sandbox := cdntest.NewServer(sandboxOptions...)
	defer sandbox.Close()
	yesterday := time.Now().Add(-24*time.Hour + time.Minute)
	for i := range 30 {
		sandbox.AddTask(cdn.ExportTask{UpdateTime: yesterday.Add(time.Duration(i) * time.Millisecond)}, []byte("time,domain,flux\n"))
	}
	if prepare != nil {
		prepare(sandbox)
	}
	r := examine(t, sandbox, sandbox.URL, clientOptions...)
	r.Version, r.Go, r.Platform, r.Time = "0.2.0", "go1.26.0", "linux/amd64", time.Date(2026, time.November, 26, 4, 0, 0, 0, time.UTC)
	var text bytes.Buffer
	require.NoError(t, r.write(&text, false))
	for pattern, fixed := range map[string]string{
		strings.TrimPrefix(sandbox.URL, "http://"): "127.0.0.1:8086",
		`request id [0-9a-f]{32}`:                  "request id 89bf544f0832ddab0f4817a1a4746d95",
		`\ds from the service's`:                   "0s from the service's",
		`within 1ms`:                               "within 3s",
	} {
		text = *bytes.NewBuffer(regexp.MustCompile(pattern).ReplaceAll(text.Bytes(), []byte(fixed)))
	}
	if prepare == nil && options == nil {
		return text.String()
	}
	return regexp.MustCompile(`(?m)^ok .*\n`).ReplaceAllString(text.String(), "")
}
