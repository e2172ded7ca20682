package doctest

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^(#+) (.+)$`)
	inlineCode = regexp.MustCompile("`([^`]+)`")
	testName   = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz|Example)[A-Z]\w*$`)
)

// Links within the checkout lead to a file, and to a heading of it where they name one.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, document := range documents {
		_, prose := blocks(t, document)
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			target, err := url.Parse(match[1])
			require.NoError(t, err, document)
			if target.Scheme != "" {
				continue
			}
			path := document
			if target.Path != "" {
				path = filepath.Join(filepath.Dir(document), target.Path)
			}
			if _, err := os.Stat(filepath.Join(root, path)); !assert.NoError(t, err, document) || target.Fragment == "" {
				continue
			}
			_, text := blocks(t, path)
			assert.Contains(t, anchors(text), target.Fragment, "%s: %s", document, match[1])
		}
	}
}

// anchors are the names that GitHub gives to the headings of a document.
func anchors(text string) []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[2]))
	}
	return names
}

// A test that a document names as its witness must be there.
func TestNamedTestsExist(t *testing.T) {
	var sources strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		sources.Write(text)
		return err
	}))
	named := 0
	for _, document := range documents {
		_, prose := blocks(t, document)
		for _, match := range inlineCode.FindAllStringSubmatch(prose, -1) {
			if testName.MatchString(match[1]) {
				named++
				assert.True(t, strings.Contains(sources.String(), "\nfunc "+match[1]+"("), "%s: %s", document, match[1])
			}
		}
	}
	assert.NotZero(t, named)
}

// A translation has the same chapters, tables, code and commands; only what is said in words differs.
func TestTranslationsSayTheSame(t *testing.T) {
	for translation, original := range translations {
		wantBlocks, wantProse := blocks(t, original)
		gotBlocks, gotProse := blocks(t, translation)
		assert.Equal(t, codeOf(wantBlocks), codeOf(gotBlocks), translation)
		assert.Equal(t, shapeOf(wantProse), shapeOf(gotProse), "%s: headings and rows of tables", translation)
		assert.Equal(t, inlineCodeOf(wantProse), inlineCodeOf(gotProse), "%s: code within the text", translation)
	}
}

// comment is what a translation may say in other words within a block: the words of a comment.
var comment = regexp.MustCompile(`(?m)(^|\s)(//|#) .*$`)

func codeOf(blocks []block) []string {
	var code []string
	for _, b := range blocks {
		code = append(code, b.language+"\n"+comment.ReplaceAllString(b.text, "$1$2"))
	}
	return code
}

// shapeOf has a line for each heading and each row of a table, in their order.
func shapeOf(prose string) []string {
	var shape []string
	for line := range strings.SplitSeq(prose, "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			shape = append(shape, strings.Fields(line)[0])
		case strings.HasPrefix(line, "|"):
			shape = append(shape, strings.Repeat("|", strings.Count(line, "|")))
		}
	}
	return shape
}

func inlineCodeOf(prose string) []string {
	var code []string
	for _, match := range inlineCode.FindAllStringSubmatch(prose, -1) {
		code = append(code, match[1])
	}
	slices.Sort(code)
	return slices.Compact(code)
}
