package cdn

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/errors.md has a row for each known code, with its sentinel and whether a list is retried.
func TestErrorCodes_are_documented(t *testing.T) {
	names := map[string]error{
		"`ErrBadRequest`": ErrBadRequest, "`ErrUnauthorized`": ErrUnauthorized, "`ErrForbidden`": ErrForbidden,
		"`ErrThrottled`": ErrThrottled, "`ErrQuotaExceeded`": ErrQuotaExceeded, "": nil,
	}
	documented := map[string]bool{}
	for _, cells := range tableRows(t, "## Codes") {
		for _, code := range regexp.MustCompile("`([A-Z]+\\.[0-9]+)`").FindAllStringSubmatch(cells[0], -1) {
			m, known := meaningOf(code[1])
			require.True(t, known, code[1])
			want, ok := names[cells[2]]
			require.True(t, ok, cells[2])
			assert.Equal(t, want, m.sentinel, code[1])
			assert.Equal(t, cells[3] == "yes", m.transient, code[1])
			documented[code[1]] = true
		}
	}
	source, err := os.ReadFile("errorcodes.go")
	require.NoError(t, err)
	cases, _, _ := strings.Cut(string(source), "// meaningOfStatus")
	known := regexp.MustCompile(`"((?:CDN|APIGW)\.[0-9]+)"`).FindAllStringSubmatch(cases, -1)
	require.NotEmpty(t, known)
	for _, code := range known {
		assert.True(t, documented[code[1]], "%s is not in docs/errors.md", code[1])
	}
}

func TestErrors_are_documented(t *testing.T) {
	source, err := os.ReadFile("errors.go")
	require.NoError(t, err)
	var documented strings.Builder
	for _, cells := range tableRows(t, "## All kinds") {
		documented.WriteString(cells[0])
	}
	sentinels := regexp.MustCompile(`(?m)^\t(Err[A-Za-z]+) += errors\.New`).FindAllStringSubmatch(string(source), -1)
	require.NotEmpty(t, sentinels)
	for _, name := range sentinels {
		assert.Contains(t, documented.String(), "`"+name[1]+"`")
	}
}

// tableRows returns the cells of the first table after a heading of docs/errors.md.
func tableRows(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("docs/errors.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), heading+"\n")
	require.True(t, found, heading)
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.SplitSeq(section, "\n") {
		if line, isRow := strings.CutPrefix(line, "| "); isRow {
			cells := strings.Split(line, "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	require.Greater(t, len(rows), 2, heading)
	return rows[1:]
}
