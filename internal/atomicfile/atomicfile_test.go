package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newFile creates the temporary file for path with some content.
func newFile(t *testing.T, path, content string) *File {
	t.Helper()
	f, err := Create(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(f.Discard)
	n, err := f.Write([]byte(content))
	require.NoError(t, err)
	require.Equal(t, len(content), n)
	return f
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func namesIn(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestFile(t *testing.T) {
	commit := func(t *testing.T, f *File) { require.NoError(t, f.Commit()) }
	discard := func(_ *testing.T, f *File) { f.Discard() }
	tests := []struct {
		name string
		old  string // content before; "" for no file
		do   []func(*testing.T, *File)
		want string // content after; "" for no file
	}{
		{"new, committed", "", []func(*testing.T, *File){commit}, "new"},
		{"new, discarded", "", []func(*testing.T, *File){discard}, ""},
		{"replaced, committed", "old", []func(*testing.T, *File){commit}, "new"},
		{"replaced, discarded", "old", []func(*testing.T, *File){discard}, "old"},
		{"discarded after commit", "old", []func(*testing.T, *File){commit, discard}, "new"},
		{"discarded twice", "old", []func(*testing.T, *File){discard, discard}, "old"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "report")
			if test.old != "" {
				require.NoError(t, os.WriteFile(path, []byte(test.old), 0o600))
			}
			f := newFile(t, path, "new")
			if test.old != "" {
				assert.Equal(t, test.old, contentOf(t, path), "untouched before the commit")
			} else {
				assert.NoFileExists(t, path)
			}
			for _, do := range test.do {
				do(t, f)
			}
			if test.want == "" {
				assert.Empty(t, namesIn(t, folder))
				return
			}
			assert.Equal(t, test.want, contentOf(t, path))
			assert.Equal(t, []string{"report"}, namesIn(t, folder), "no temporary file is left")
		})
	}
}

func TestFile_restarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "a long beginning")
	require.NoError(t, f.Restart())
	_, err := f.Write([]byte("short"))
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	assert.Equal(t, "short", contentOf(t, path))
}

func TestCreateFails(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), nil, 0o600))
	tests := []struct {
		name, path string
		want       error // nil for any
	}{
		{"a directory", folder, ErrDirectory},
		{"a directory with a separator", folder + string(filepath.Separator), ErrDirectory},
		{"no directory", filepath.Join(folder, "no", "folder"), fs.ErrNotExist},
		{"no directory, with a separator", filepath.Join(folder, "no") + string(filepath.Separator), fs.ErrNotExist},
		{"below a file", filepath.Join(folder, "file", "below"), nil},
		{"a file with a separator", filepath.Join(folder, "file") + string(filepath.Separator), nil},
		{"a name that is too long", filepath.Join(folder, strings.Repeat("x", 300)), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Create(t.Context(), test.path)
			require.ErrorContains(t, err, folder)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			assert.Equal(t, []string{"file"}, namesIn(t, folder))
		})
	}
}

// A file is closed before it gets its name, since some file systems report a failed write only then.
func TestCommit_directory_came_meanwhile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	f := newFile(t, path, "new")
	require.NoError(t, os.Mkdir(path, 0o700))
	require.Error(t, f.Commit())
	require.ErrorIs(t, f.temporary.Close(), fs.ErrClosed)
	f.Discard()
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
	assert.DirExists(t, path)
}

func TestFile_closed_at_its_end(t *testing.T) {
	for name, end := range map[string]func(*File) error{
		"Commit":  (*File).Commit,
		"Discard": func(f *File) error { f.Discard(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t, filepath.Join(t.TempDir(), "report"), "new")
			require.NoError(t, end(f))
			_, err := f.Write([]byte("more"))
			require.ErrorIs(t, err, fs.ErrClosed)
			require.ErrorIs(t, chmod(f.temporary, 0o600), fs.ErrClosed)
		})
	}
}

func TestDiscard_closed_or_removed_already(t *testing.T) {
	folder := t.TempDir()
	f := newFile(t, filepath.Join(folder, "report"), "new")
	require.NoError(t, f.temporary.Close())
	require.ErrorIs(t, f.Commit(), fs.ErrClosed)
	f.Discard()
	assert.Empty(t, namesIn(t, folder))

	f = newFile(t, filepath.Join(folder, "report"), "new")
	require.NoError(t, os.Remove(f.temporary.Name()))
	f.Discard()
	require.ErrorIs(t, f.temporary.Close(), fs.ErrClosed)
}

func TestFile_long_name(t *testing.T) {
	folder := t.TempDir()
	name := strings.Repeat("流", 80) + ".csv"
	f := newFile(t, filepath.Join(folder, name), "new")
	require.NoError(t, f.Commit())
	assert.Equal(t, []string{name}, namesIn(t, folder))
}

func TestIsPart(t *testing.T) {
	prefix := partPrefix("/folder/report.csv")
	assert.Equal(t, ".report.csv.", prefix)
	for name, want := range map[string]bool{
		".report.csv.ABCDEFGH27.part":            true,
		".report.csv.ABCDEFGH2.part":             false,
		".report.csv.ABCDEFGH271.part":           false,
		".report.csv.abcdefgh27.part":            false,
		".report.csv.ABCDEFGH27":                 false,
		"report.csv.ABCDEFGH27.part":             false,
		".report.csv.x.ABCDEFGH27.part":          false,
		".report.csv.ABCDEFGH27.ABCDEFGH27.part": false,
		".other.csv.ABCDEFGH27.part":             false,
		".report.csv..part":                      false,
	} {
		assert.Equal(t, want, isPart(name, prefix), name)
	}
}
