package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the checkout.
const root = "../.."

// documents are the files whose blocks, links and names are checked.
var documents = slices.Concat(pages("*.md"), pages("docs/*.md"))

// pages returns the files of the checkout that match pattern, as paths relative to root.
func pages(pattern string) []string {
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(paths) == 0 {
		panic(fmt.Sprintf("no page matches %s: %v", pattern, err))
	}
	for i, path := range paths {
		paths[i] = strings.TrimPrefix(filepath.ToSlash(path), root+"/")
	}
	return paths
}

// translationEnd is the end of the name of a page in Chinese.
const translationEnd = "_CN.md"

// block is a fenced block of a document.
type block struct {
	document string
	line     int // of its first line of text
	language string
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.document, b.line) }

func read(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	return string(text)
}

// blocks returns the fenced blocks of a document, and the text outside of them.
func blocks(t *testing.T, document string) (blocks []block, prose string) {
	t.Helper()
	var open *block
	var rest strings.Builder
	for i, line := range strings.SplitAfter(read(t, document), "\n") {
		language, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open != nil:
			blocks = append(blocks, *open)
			open = nil
		case isFence:
			require.NotEmpty(t, language, "%s:%d: a block without a language", document, i+1)
			open = &block{document: document, line: i + 2, language: language}
		case open != nil:
			open.text += line
		default:
			rest.WriteString(line)
		}
	}
	require.Nil(t, open, "%s: a block is not closed", document)
	return blocks, rest.String()
}

// blocksOf returns the blocks in one language of all English pages. Translations have the same blocks.
func blocksOf(t *testing.T, language string) []block {
	t.Helper()
	var found []block
	for _, document := range documents {
		if strings.HasSuffix(document, translationEnd) {
			continue
		}
		all, _ := blocks(t, document)
		for _, b := range all {
			if b.language == language {
				found = append(found, b)
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}
