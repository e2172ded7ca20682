package doctest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
)

var update = flag.Bool("update", false, "record the exported API as it is now")

// public are the packages of the root module that users import.
var public = []string{"example.com/huaweicloud/cdn", "example.com/huaweicloud/cdn/cdntest"}

func load(t *testing.T, path string) *packages.Package {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo |
			packages.NeedImports | packages.NeedDeps,
		Env: append(os.Environ(), "GOWORK=off"),
	}, path)
	require.NoError(t, err)
	require.Len(t, loaded, 1)
	require.Empty(t, loaded[0].Errors)
	return loaded[0]
}

// TestAPI compares the exported API with its record. A removed or changed line breaks users, so it needs a new version
// and a line in the changelog. This records the API: go test -run TestAPI ./... -update
func TestAPI(t *testing.T) {
	for _, path := range public {
		pkg := load(t, path)
		record := filepath.Join("testdata", pkg.Name+".api")
		now := strings.Join(surface(pkg.Types), "\n") + "\n"
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(record, []byte(now), 0o600))
		}
		recorded, err := os.ReadFile(record)
		require.NoError(t, err)
		lines := strings.Split(string(recorded), "\n")
		for _, line := range lines {
			assert.Contains(t, strings.Split(now, "\n"), line, "%s: this line is gone", path)
		}
		for line := range strings.SplitSeq(now, "\n") {
			assert.Contains(t, lines, line, "%s: this line is not recorded", path)
		}
	}
}

// surface returns a line for each exported name, field and method of a package.
func surface(pkg *types.Package) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	short := types.RelativeTo(pkg)
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			if name == "Version" { // its value changes with every version
				add("const Version %s", types.TypeString(object.Type(), short))
				continue
			}
			add("const %s %s = %s", name, types.TypeString(object.Type(), short), object.Val())
		case *types.TypeName:
			addType(add, object, short)
		default:
			add("%s", types.ObjectString(object, short))
		}
	}
	slices.Sort(lines)
	return lines
}

func addType(add func(string, ...any), object *types.TypeName, short types.Qualifier) {
	name := object.Name()
	switch underlying := object.Type().Underlying().(type) {
	case *types.Struct:
		add("type %s struct", name)
		for i := range underlying.NumFields() {
			if field := underlying.Field(i); field.Exported() {
				add("field %s.%s %s %q", name, field.Name(), types.TypeString(field.Type(), short), underlying.Tag(i))
			}
		}
	default:
		add("type %s %s", name, types.TypeString(underlying, short))
	}
	if types.IsInterface(object.Type()) {
		return
	}
	methods := types.NewMethodSet(types.NewPointer(object.Type()))
	for i := range methods.Len() {
		if method := methods.At(i); method.Obj().Exported() {
			add("%s", types.SelectionString(method, short))
		}
	}
}

// needNoExample are methods that fmt, errors, encoding/json or log/slog call for the user.
var needNoExample = []string{"Error", "Unwrap", "Is", "As", "Format", "String"}

// TestEverythingIsDocumented checks that every exported name has a comment, and every exported function and method an
// example with checked output.
func TestEverythingIsDocumented(t *testing.T) {
	for _, path := range public {
		pkg := load(t, path)
		files := pkg.Syntax
		folder := filepath.Dir(pkg.GoFiles[0])
		examples := map[string]bool{}
		for _, example := range examplesIn(t, folder) {
			name, _, _ := strings.Cut(example.Name, "_")
			if method := strings.Split(example.Name, "_"); len(method) > 1 && ast.IsExported(method[1]) {
				name += "." + method[1]
			}
			examples[name] = true
			assert.True(t, example.Output != "" || example.EmptyOutput, "%s: Example%s: its output is not checked", path, example.Name)
		}
		documented, err := doc.NewFromFiles(pkg.Fset, files, path)
		require.NoError(t, err)
		assert.NotEmpty(t, documented.Doc, path)
		for _, f := range documented.Funcs {
			checkFunction(t, examples, "", f)
		}
		for _, typ := range documented.Types {
			assert.NotEmpty(t, typ.Doc, typ.Name)
			checkFields(t, typ)
			for _, f := range typ.Funcs {
				checkFunction(t, examples, "", f)
			}
			for _, method := range typ.Methods {
				checkFunction(t, examples, typ.Name+".", method)
			}
			checkValues(t, typ.Consts)
			checkValues(t, typ.Vars)
		}
		checkValues(t, documented.Consts)
		checkValues(t, documented.Vars)
	}
}

func checkFunction(t *testing.T, examples map[string]bool, receiver string, f *doc.Func) {
	t.Helper()
	assert.NotEmpty(t, f.Doc, "%s%s", receiver, f.Name)
	if receiver == "" || !slices.Contains(needNoExample, f.Name) {
		assert.True(t, examples[receiver+f.Name], "%s%s has no example", receiver, f.Name)
	}
}

// checkFields checks the fields of a struct and the methods of an interface.
func checkFields(t *testing.T, typ *doc.Type) {
	t.Helper()
	ast.Inspect(typ.Decl, func(n ast.Node) bool {
		fields, ok := n.(*ast.FieldList)
		if !ok {
			return true
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				if name.IsExported() {
					assert.True(t, field.Doc != nil || field.Comment != nil, "%s.%s has no comment", typ.Name, name.Name)
				}
			}
		}
		return false
	})
}

// checkValues checks constants and variables: each has a comment, or is in a group that has one.
func checkValues(t *testing.T, values []*doc.Value) {
	t.Helper()
	for _, value := range values {
		for _, spec := range value.Decl.Specs {
			one := spec.(*ast.ValueSpec)
			if one.Names[0].IsExported() {
				assert.True(t, one.Doc != nil || one.Comment != nil || value.Doc != "", "%s has no comment", one.Names[0].Name)
			}
		}
	}
}

func examplesIn(t *testing.T, folder string) []*doc.Example {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	return doc.Examples(files...)
}
