package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// moduleRow matches a row of the table of modules.
var moduleRow = regexp.MustCompile("(?m)^\\| `([a-z0-9.]+/\\S+)` \\|")

// TestWeight compares the modules of a small program that imports the package with docs/dependencies.md, and the module
// graph with its record. The flag -update records the graph.
func TestWeight(t *testing.T) {
	consumer := newConsumer(t)
	checkout, err := filepath.Abs(root)
	require.NoError(t, err)
	run(t, consumer, nil, "go", "mod", "edit", "-replace", "example.com/huaweicloud/cdn="+checkout)
	run(t, consumer, nil, "go", "mod", "tidy")

	var modules []string
	for module := range strings.Lines(run(t, consumer, nil, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")) {
		if module = strings.TrimSpace(module); strings.Contains(module, "/") && module != "example.com/consumer" {
			modules = append(modules, module)
		}
	}
	slices.Sort(modules)
	modules = slices.Compact(modules)
	var documented []string
	for _, match := range moduleRow.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		documented = append(documented, match[1])
	}
	slices.Sort(documented)
	assert.Equal(t, modules, documented)

	graph := strings.ReplaceAll(run(t, consumer, nil, "go", "mod", "graph"), "example.com/huaweicloud/cdn@v0.0.0-00010101000000-000000000000", "example.com/huaweicloud/cdn")
	const record = "docs/consumer-graph.txt"
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root, record), []byte(graph), 0o600))
	}
	assert.True(t, read(t, record) == graph, "%s is out of date: go test -run TestWeight ./... -update records the graph", record)
}
