package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// Two attempts, the second of which succeeds, lie within the caller's own span.
func TestEachAttemptIsASpan(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^trace ([0-9a-f]{32})  span ([0-9a-f]{16})  parent ([0-9a-f]{16}|-) +(".+)$`).FindAllStringSubmatch(out.String(), -1)
	if len(lines) != 3 {
		t.Fatalf("got %s\nwant three spans", out.String())
	}
	for _, want := range []string{
		"\nmetric cdn.requests operation=ListExportTasks,status=503 = 1\n",
		"\nmetric cdn.requests operation=ListExportTasks,status=200 = 1\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s\nwant the line %q", out.String(), want)
		}
	}
	first, second, call := lines[0], lines[1], lines[2]
	for i, want := range []string{
		`"HTTP GET"  http.response.status_code=503`,
		`"HTTP GET"  http.response.status_code=200`,
		`"list export tasks"  cdn.attempts=2  cdn.tasks=3`,
	} {
		if lines[i][4] != want {
			t.Errorf("span %d is %s, want %s", i, lines[i][4], want)
		}
		if lines[i][1] != call[1] {
			t.Errorf("span %d is of trace %s, not %s", i, lines[i][1], call[1])
		}
	}
	if first[3] != call[2] || second[3] != call[2] || call[3] != "-" {
		t.Errorf("got %s\nwant the last span as the parent of the others", out.String())
	}
}
