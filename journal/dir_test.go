package journal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/journal"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var _ cdn.Journal = (*journal.Dir)(nil)

func TestMain(m *testing.M) {
	if folder := os.Getenv(workerFolder); folder != "" {
		work(folder)
		return
	}
	goleak.VerifyTestMain(m)
}

func TestOpenDir(t *testing.T) {
	file := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		return path
	}
	for _, test := range []struct {
		name string
		path func(t *testing.T) string
		want string // in the error; empty if there is none
	}{
		{"creates the folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "journal") }, ""},
		{"takes a folder that is there", func(t *testing.T) string { return t.TempDir() }, ""},
		{"empty path", func(*testing.T) string { return "" }, "path is empty"},
		{"no parent", func(t *testing.T) string { return filepath.Join(t.TempDir(), "a", "b") }, "create the parent folder first"},
		{"a file", file, "file"},
		{"below a file", func(t *testing.T) string { return filepath.Join(file(t), "b") }, "file"},
		{"a folder in place of the lock", func(t *testing.T) string {
			path := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(path, "lock"), 0o700))
			return path
		}, "lock"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := test.path(t)
			dir, err := journal.OpenDir(path)
			if test.want == "" {
				require.NoError(t, err)
				require.NotNil(t, dir)
				return
			}
			require.ErrorContains(t, err, "journal: OpenDir: ")
			require.ErrorContains(t, err, test.want)
			require.Nil(t, dir)
		})
	}
}

func TestOpenDir_modes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // Windows has no such modes
	}
	path := filepath.Join(t.TempDir(), "journal")
	dir, err := journal.OpenDir(path)
	require.NoError(t, err)
	store(t, dir, "key", "record")
	require.NoError(t, filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s is for its owner only: %v", name, info.Mode())
		return nil
	}))
}

// A relative path is made absolute: a program that changes its folder later keeps its journal.
func TestOpenDir_relative_path(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := journal.OpenDir("journal")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	store(t, dir, "key", "record")
	require.Equal(t, "record", load(t, dir, "key"))
}

func open(t *testing.T) (dir *journal.Dir, path string) {
	t.Helper()
	path = t.TempDir()
	dir, err := journal.OpenDir(path)
	require.NoError(t, err)
	return dir, path
}

func store(t *testing.T, dir *journal.Dir, key, record string) {
	t.Helper()
	defer lock(t, dir)()
	require.NoError(t, dir.Store(t.Context(), key, []byte(record)))
}

func load(t *testing.T, dir *journal.Dir, key string) string {
	t.Helper()
	defer lock(t, dir)()
	record, err := dir.Load(t.Context(), key)
	require.NoError(t, err)
	return string(record)
}

func lock(t *testing.T, dir *journal.Dir) (unlock func()) {
	t.Helper()
	unlock, err := dir.Lock(t.Context())
	require.NoError(t, err)
	return unlock
}

// files returns the names of the files in the folder but the lock.
func files(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if entry.Name() != "lock" {
			names = append(names, entry.Name())
		}
	}
	return names
}
