package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the checkout.
const root = "../.."

// documents are the files whose blocks and names are checked.
var documents = []string{
	"README.md", "README_CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md",
	"docs/cookbook.md", "docs/credentials.md", "docs/credentials_CN.md", "docs/dependencies.md", "docs/errors.md",
	"docs/errors_CN.md", "docs/exports-at-scale.md", "docs/exports-at-scale_CN.md", "docs/migrating.md",
	"docs/options.md", "docs/performance.md", "docs/reliability.md", "docs/retries-and-pace.md",
	"docs/retries-and-pace_CN.md", "docs/runbook-ambiguous-exports.md", "docs/runbook-ambiguous-exports_CN.md",
	"docs/testing.md", "docs/waits-and-requests.md",
}

// translations are documents that must say in another language what the first one says.
var translations = map[string]string{
	"docs/exports-at-scale_CN.md":          "docs/exports-at-scale.md",
	"docs/retries-and-pace_CN.md":          "docs/retries-and-pace.md",
	"docs/runbook-ambiguous-exports_CN.md": "docs/runbook-ambiguous-exports.md",
}

// A block is a fenced block of a document.
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

// blocks are the fenced blocks of a document; prose is the rest of it.
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

// blocksOf are the blocks in one language of all documents but translations, whose blocks are the same.
func blocksOf(t *testing.T, language string) []block {
	t.Helper()
	var found []block
	for _, document := range documents {
		if _, translated := translations[document]; translated {
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
