package doctest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// imports are the packages that blocks may use without an import declaration.
var imports = map[string]string{
	"cdn":         "example.com/huaweicloud/cdn",
	"cdntest":     "example.com/huaweicloud/cdn/cdntest",
	"cdnv2":       "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2",
	"config":      "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config",
	"context":     "context",
	"errors":      "errors",
	"fmt":         "fmt",
	"global":      "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global",
	"http":        "net/http",
	"httphandler": "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/httphandler",
	"httptest":    "net/http/httptest",
	"io":          "io",
	"journal":     "example.com/huaweicloud/cdn/journal",
	"log":         "log",
	"model":       "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model",
	"net":         "net",
	"os":          "os",
	"pgxpool":     "github.com/jackc/pgx/v5/pgxpool",
	"otelhttp":    "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
	"rate":        "golang.org/x/time/rate",
	"pgjournal":   "example.com/huaweicloud/cdn/pgjournal",
	"region":      "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/region",
	"sdkerr":      "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr",
	"slog":        "log/slog",
	"strings":     "strings",
	"sync":        "sync",
	"testing":     "testing",
	"time":        "time",
	"tls":         "crypto/tls",
	"url":         "net/url",
	"x509":        "crypto/x509",
}

// parameters are the variables that blocks may use without a declaration.
var parameters = map[string]string{
	"ak":          "string",
	"client":      "*cdn.CdnClient",
	"credentials": "*global.Credentials",
	"ctx":         "context.Context",
	"databaseURL": "string",
	"day":         "time.Time",
	"err":         "error",
	"link":        "string",
	"logger":      "*slog.Logger",
	"official":    "*cdnv2.CdnClient",
	"request":     "*cdn.CreateExportTaskRequest",
	"roots":       "*x509.CertPool",
	"sk":          "string",
	"t":           "*testing.T",
	"taskID":      "string",
	"token":       "string",
	"w":           "io.Writer",
}

// TestGoBlocksBuild builds every Go block: a file, declarations, or the statements of a function. Statements may use
// the declarations of earlier blocks of the same document.
func TestGoBlocksBuild(t *testing.T) {
	module := t.TempDir()
	writeModule(t, module)
	declarations := map[string]string{} // of each document
	for i, b := range blocksOf(t, "go") {
		if formatted, err := format.Source([]byte(b.text)); assert.NoError(t, err, b) {
			assert.Equal(t, string(formatted), b.text, "%s: gofmt", b)
		}
		folder := filepath.Join(module, fmt.Sprintf("block%02d", i))
		if isFile(b) {
			name := "block.go"
			if strings.Contains(b.text, "\nfunc Test") {
				name = "block_test.go"
			}
			writeFile(t, filepath.Join(folder, name), b.text)
			continue
		}
		source := "package block\n\n" + b.text
		if _, err := parser.ParseFile(token.NewFileSet(), "", source, 0); err == nil {
			declarations[b.document] += "\n" + b.text
		} else {
			source = "package block\n\n" + inFunction(t, b) + declarations[b.document]
		}
		writeFile(t, filepath.Join(folder, "block.go"), withImports(t, b, source))
	}
	if t.Failed() {
		return
	}
	run(t, module, nil, "go", "vet", "./...")
	assert.Contains(t, run(t, module, nil, "go", "test", "-count=1", "./..."), "ok  \t", "a block with a test")
}

func isFile(b block) bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", b.text, parser.PackageClauseOnly)
	return err == nil
}

// writeModule writes a module with the requirements of this one, in which the blocks are built.
func writeModule(t *testing.T, folder string) {
	t.Helper()
	checkout, err := filepath.Abs(root)
	require.NoError(t, err)
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	writeFile(t, filepath.Join(folder, "go.mod"), strings.NewReplacer(
		"=> ../..", "=> "+checkout,
		"module example.com/huaweicloud/cdn/internal/doctest", "module example.com/blocks",
	).Replace(string(mod)))
	sum, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	writeFile(t, filepath.Join(folder, "go.sum"), string(sum))
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// run runs a command without a workspace and with additional environment variables. It returns the output.
func run(t *testing.T, folder string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), output)
	return string(output)
}

// inFunction returns a function with the statements of a block. Undeclared variables become its parameters. Variables
// that the block declares and does not use are used at the end of the function.
func inFunction(t *testing.T, b block) string {
	t.Helper()
	const before = "package block\n\nfunc _() {\n"
	file, err := parser.ParseFile(token.NewFileSet(), "", before+b.text+"}\n", parser.SkipObjectResolution)
	require.NoError(t, err, b)
	body := file.Decls[0].(*ast.FuncDecl).Body

	var takes []string
	for _, name := range unresolved(t, before+b.text+"}\n") {
		if kind, ok := parameters[name]; ok {
			takes = append(takes, name+" "+kind)
		}
	}
	uses := "\n"
	for _, statement := range body.List {
		if declared, ok := statement.(*ast.AssignStmt); ok && declared.Tok == token.DEFINE {
			for _, name := range declared.Lhs {
				uses += "_ = " + name.(*ast.Ident).Name + "\n"
			}
		}
	}
	if _, returns := body.List[len(body.List)-1].(*ast.ReturnStmt); returns {
		uses = ""
	}
	types, last := results(body)
	return fmt.Sprintf("func _(%s) %s {\n%s%s%s}\n", strings.Join(takes, ", "), types, b.text, uses, last)
}

// results returns result types that match the return statements of a function. last is a final return statement, or
// empty if the function has one.
func results(body *ast.BlockStmt) (types, last string) {
	most := 0
	ast.Inspect(body, func(n ast.Node) bool {
		if returned, ok := n.(*ast.ReturnStmt); ok {
			most = max(most, len(returned.Results))
		}
		_, inner := n.(*ast.FuncLit)
		return !inner
	})
	_, ends := body.List[len(body.List)-1].(*ast.ReturnStmt)
	switch {
	case most == 0:
		return "", ""
	case most == 1:
		types, last = "error", "return nil\n"
	default:
		types, last = "(any, error)", "return nil, nil\n"
	}
	if ends {
		last = ""
	}
	return types, last
}

// unresolved returns the names that source uses and does not declare.
func unresolved(t *testing.T, source string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, 0)
	require.NoError(t, err)
	var names []string
	check := types.Config{Error: func(err error) {
		var problem types.Error
		if errors.As(err, &problem) {
			if name, ok := strings.CutPrefix(problem.Msg, "undefined: "); ok {
				names = append(names, name)
			}
		}
	}}
	// The error is expected: names are missing.
	_, _ = check.Check("block", files, []*ast.File{file}, nil)
	slices.Sort(names)
	return slices.Compact(names)
}

// withImports adds an import for every package that source uses.
func withImports(t *testing.T, b block, source string) string {
	t.Helper()
	var list strings.Builder
	for _, name := range unresolved(t, source) {
		if path, ok := imports[name]; ok {
			fmt.Fprintf(&list, "import %s %q\n", name, path)
		}
	}
	return strings.Replace(source, "package block\n", "package block\n\n// "+b.String()+"\n\n"+list.String(), 1)
}
