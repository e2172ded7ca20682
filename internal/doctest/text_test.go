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

// TestLinksLeadSomewhere checks that links within the checkout name an existing file and heading.
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
			if strings.HasSuffix(document, translationEnd) && path != englishOf(document) {
				assert.NotContains(t, documents, strings.TrimSuffix(path, ".md")+translationEnd, "%s: there is a translation of %s", document, path)
			}
			if _, err := os.Stat(filepath.Join(root, path)); !assert.NoError(t, err, document) || target.Fragment == "" {
				continue
			}
			_, text := blocks(t, path)
			assert.Contains(t, anchors(text), target.Fragment, "%s: %s", document, match[1])
		}
	}
}

// englishOf returns the English page of a translation.
func englishOf(page string) string { return strings.TrimSuffix(page, translationEnd) + ".md" }

// anchors returns the names that GitHub gives to the headings of a document.
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

// TestNamedTestsExist checks that every test that a document names exists.
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

// TestTranslationsSayTheSame checks that a translation has the same headings, tables, code and commands as its English page.
func TestTranslationsSayTheSame(t *testing.T) {
	translated := 0
	for _, page := range documents {
		if !strings.HasSuffix(page, translationEnd) {
			continue
		}
		translated++
		wantBlocks, wantProse := blocks(t, englishOf(page))
		gotBlocks, gotProse := blocks(t, page)
		assert.Equal(t, codeOf(wantBlocks), codeOf(gotBlocks), page)
		assert.Equal(t, shapeOf(wantProse), shapeOf(gotProse), "%s: headings and rows of tables", page)
		assert.Equal(t, inlineCodeOf(wantProse), inlineCodeOf(gotProse), "%s: code within the text", page)
	}
	assert.NotZero(t, translated)
}

// comment matches a comment in a block. A translation may word it differently.
var comment = regexp.MustCompile(`(?m)(^|\s)(//|#) .*$`)

func codeOf(blocks []block) []string {
	var code []string
	for _, b := range blocks {
		code = append(code, b.language+"\n"+comment.ReplaceAllString(b.text, "$1$2"))
	}
	return code
}

// shapeOf returns a line for each heading and each table row, in order.
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
