package atomicfile

import (
	"errors"
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
	t.Cleanup(func() { assert.NoError(t, f.Discard()) })
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
	tests := []struct {
		name string
		old  string // "" for none
		do   func(*File) error
		want string // "" for none
	}{
		{"new, committed", "", (*File).Commit, "new"},
		{"new, discarded", "", (*File).Discard, ""},
		{"replaced, committed", "old", (*File).Commit, "new"},
		{"replaced, discarded", "old", (*File).Discard, "old"},
		{"discarded after commit", "old", func(f *File) error { return errors.Join(f.Commit(), f.Discard()) }, "new"},
		{"discarded twice", "old", func(f *File) error { return errors.Join(f.Discard(), f.Discard()) }, "old"},
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
				assert.Equal(t, test.old, contentOf(t, path), "untouched until it is committed")
			} else {
				assert.NoFileExists(t, path)
			}
			require.NoError(t, test.do(f))
			if test.want == "" {
				assert.Empty(t, namesIn(t, folder))
				return
			}
			assert.Equal(t, test.want, contentOf(t, path))
			assert.Equal(t, []string{"report"}, namesIn(t, folder), "no temporary file is left")
		})
	}
}

func TestFileRestart(t *testing.T) {
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
	_, err := Create(t.Context(), folder)
	require.ErrorIs(t, err, ErrDirectory)
	assert.ErrorContains(t, err, folder)
	_, err = Create(t.Context(), folder+string(filepath.Separator))
	require.ErrorIs(t, err, ErrDirectory)
	_, err = Create(t.Context(), filepath.Join(folder, "no", "folder"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "file"), nil, 0o600))
	_, err = Create(t.Context(), filepath.Join(folder, "file", "below"))
	require.Error(t, err)
	assert.Equal(t, []string{"file"}, namesIn(t, folder))
}

// What appears at the path meanwhile and cannot be replaced fails the commit, and nothing is left.
func TestCommitFails(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	f := newFile(t, path, "new")
	require.NoError(t, os.Mkdir(path, 0o700))
	require.Error(t, f.Commit())
	require.NoError(t, f.Discard())
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
	assert.DirExists(t, path)
}

// Nothing is left open, and what is gone or closed already is no error.
func TestFileIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "new")
	require.NoError(t, f.Commit())
	_, err := f.Write([]byte("more"))
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, chmod(f.file, 0o600), fs.ErrClosed)

	f = newFile(t, path, "new")
	require.NoError(t, f.Discard())
	_, err = f.Write([]byte("more"))
	require.ErrorIs(t, err, fs.ErrClosed)

	f = newFile(t, path, "new")
	require.NoError(t, f.file.Close())
	require.ErrorIs(t, f.Commit(), fs.ErrClosed)
	require.NoError(t, os.Remove(f.file.Name()))
	require.NoError(t, f.Discard())
}

func TestLongNames(t *testing.T) {
	folder := t.TempDir()
	name := strings.Repeat("流", 80) + ".csv"
	f := newFile(t, filepath.Join(folder, name), "new")
	require.NoError(t, f.Commit())
	assert.Equal(t, []string{name}, namesIn(t, folder))
}

func TestWriteFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "record")
	for _, content := range []string{"first", "second, longer", ""} {
		require.NoError(t, WriteFile(path, []byte(content)))
		assert.Equal(t, content, contentOf(t, path))
		assert.Equal(t, []string{"record"}, namesIn(t, folder))
	}
	require.Error(t, WriteFile(folder, nil), "a folder")
	require.ErrorIs(t, WriteFile(filepath.Join(folder, "no", "folder"), nil), fs.ErrNotExist)
	assert.Equal(t, []string{"record"}, namesIn(t, folder))
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

func TestBoth(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	require.NoError(t, both(nil, nil))
	assert.Equal(t, first, both(first, nil))
	assert.Equal(t, second, both(nil, second))
	assert.EqualError(t, both(first, second), "first; second")
}
