package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"example.com/huaweicloud/cdn/journal"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDir_keys(t *testing.T) {
	dir, path := open(t)
	keys := []string{
		"", "a", "A", "daily/2026-11-26", `daily\2026-11-26`, "..", ".", "../../etc/passwd", "lock", "lock.record",
		"con", "CON", "con.x", "nul", "COM1", "aux.txt", "日报", "日報", "ä", "a\u0308", "a\x00b", "a\nb", "\xff", "\xfe",
		" ", "a ", "a.", "*?<>|:\"", strings.Repeat("k", 4096), strings.Repeat("k", 4095),
	}
	defer lock(t, dir)()
	for _, key := range keys {
		require.NoError(t, dir.Store(t.Context(), key, []byte("record of "+key)))
	}
	for _, key := range keys {
		record, err := dir.Load(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, "record of "+key, string(record), "%q", key)
	}
	lower := make(map[string]bool)
	for _, name := range files(t, path) {
		lower[strings.ToLower(name)] = true
		require.Regexp(t, `^[a-z0-9_-]{0,40}-[0-9a-f]{32}\.record$`, name)
	}
	require.Len(t, lower, len(keys), "names must differ where case does not count")
}

func TestDir_record_returns_as_stored(t *testing.T) {
	dir, _ := open(t)
	unlock := lock(t, dir)
	defer unlock()
	rapid.Check(t, func(t *rapid.T) {
		key := string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "key"))
		record := rapid.SliceOf(rapid.Byte()).Draw(t, "record")
		require.NoError(t, dir.Store(context.Background(), key, record))
		loaded, err := dir.Load(context.Background(), key)
		require.NoError(t, err)
		require.NotNil(t, loaded)
		require.Equal(t, string(record), string(loaded))
	})
}

func TestDir_Load_unknown_key(t *testing.T) {
	dir, _ := open(t)
	defer lock(t, dir)()
	record, err := dir.Load(t.Context(), "key")
	require.NoError(t, err)
	require.Nil(t, record)
}

func TestDir_limits(t *testing.T) {
	dir, _ := open(t)
	defer lock(t, dir)()
	require.NoError(t, dir.Store(t.Context(), "key", make([]byte, 1<<20)))
	_, err := dir.Load(t.Context(), "key")
	require.NoError(t, err)
	long := strings.Repeat("k", 4097)
	require.ErrorContains(t, dir.Store(t.Context(), "key", make([]byte, 1<<20+1)), "the limit is 1048576")
	require.ErrorContains(t, dir.Store(t.Context(), long, nil), "the limit is 4096")
	_, err = dir.Load(t.Context(), long)
	require.ErrorContains(t, err, "the limit is 4096")
}

func TestDir_ended_context(t *testing.T) {
	dir, _ := open(t)
	defer lock(t, dir)()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, dir.Store(ctx, "key", nil), context.Canceled)
	_, err := dir.Load(ctx, "key")
	require.ErrorIs(t, err, context.Canceled)
}

// A file that was changed since Store is an error that names it. With a nil record, the caller would make a new task.
func TestDir_Load_damaged(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(content string) string
		want string
	}{
		{"empty", func(string) string { return "" }, "damaged"},
		{"cut in the header", func(c string) string { return c[:20] }, "damaged"},
		{"cut after the header", func(c string) string { return c[:strings.Index(c, "\n")+1] }, "checksum"},
		{"cut in the key", func(c string) string { return c[:strings.Index(c, "\n")+3] }, "checksum"},
		{"cut in the record", func(c string) string { return c[:len(c)-1] }, "checksum"},
		{"a byte more", func(c string) string { return c + "x" }, "checksum"},
		{"a byte changed", func(c string) string { return strings.Replace(c, "record", "recorD", 1) }, "checksum"},
		{"zeros", func(c string) string { return strings.Repeat("\x00", len(c)) }, "not a record of this package"},
		{"foreign", func(string) string { return `{"task_id": "1"}` }, "not a record of this package"},
		{"huge", func(string) string { return strings.Repeat("x", 2<<20) }, "not a record of this package"},
		{"newer", func(c string) string { return strings.Replace(c, "cdn-journal 1 ", "cdn-journal 2 ", 1) }, "newer release"},
		{"newer, other header", func(string) string { return "cdn-journal 3 zstd x y z\nxx" }, "newer release"},
		{"version 0", func(c string) string { return strings.Replace(c, "cdn-journal 1 ", "cdn-journal 0 ", 1) }, "header is malformed"},
		{"no version", func(c string) string { return strings.Replace(c, "cdn-journal 1 ", "cdn-journal x ", 1) }, "header is malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, path := open(t)
			store(t, dir, "key", "the record")
			file := filepath.Join(path, files(t, path)[0])
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, []byte(test.harm(string(content))), 0o600))
			requireLoadError(t, dir, file, test.want)
		})
	}
}

func TestDir_Load_file_of_another_key(t *testing.T) {
	dir, path := open(t)
	store(t, dir, "one", "record")
	one := files(t, path)[0]
	store(t, dir, "key", "record")
	for _, name := range files(t, path) {
		if name != one {
			file := filepath.Join(path, name)
			require.NoError(t, os.Rename(filepath.Join(path, one), file))
			requireLoadError(t, dir, file, `another key: "one"`)
		}
	}
}

func TestDir_Load_not_a_file(t *testing.T) {
	dir, path := open(t)
	store(t, dir, "key", "record")
	file := filepath.Join(path, files(t, path)[0])
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o700))
	requireLoadError(t, dir, file, "not a regular file")
	require.NoError(t, os.Remove(file))
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink(filepath.Join(path, "nothing"), file))
		requireLoadError(t, dir, file, "not a regular file")
	}
}

func requireLoadError(t *testing.T, dir *journal.Dir, file, want string) {
	t.Helper()
	defer lock(t, dir)()
	record, err := dir.Load(t.Context(), "key")
	require.Nil(t, record)
	require.ErrorContains(t, err, "journal: load: "+file)
	require.ErrorContains(t, err, want)
}

// A full disk loses no earlier record.
func TestDir_Store_full_disk(t *testing.T) {
	const full = "/dev/full" // a device on which each write fails with ENOSPC
	if _, err := os.Stat(full); err != nil {
		return
	}
	dir, path := open(t)
	store(t, dir, "key", "record")
	part := filepath.Join(path, files(t, path)[0]+".part")
	require.NoError(t, os.Symlink(full, part))
	unlock := lock(t, dir)
	require.ErrorIs(t, dir.Store(t.Context(), "key", []byte("new")), syscall.ENOSPC)
	unlock()
	require.Equal(t, "record", load(t, dir, "key"))
	require.NoError(t, os.Remove(part))
	store(t, dir, "key", "new")
	require.Equal(t, "new", load(t, dir, "key"))
}

func TestDir_Store_fails_if_the_name_is_a_folder(t *testing.T) {
	dir, path := open(t)
	store(t, dir, "key", "record")
	file := filepath.Join(path, files(t, path)[0])
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.MkdirAll(filepath.Join(file, "in the way"), 0o700))
	defer lock(t, dir)()
	require.ErrorContains(t, dir.Store(t.Context(), "key", []byte("new")), "journal: store: ")
	_, err := dir.Load(t.Context(), "key")
	require.ErrorContains(t, err, "not a regular file")
}

func FuzzDir_Load(f *testing.F) {
	f.Add([]byte("cdn-journal 1 \n\"key\"\n"), false)
	f.Add([]byte("cdn-journal 1 x\n"), true)
	path := f.TempDir()
	dir, err := journal.OpenDir(path)
	if err != nil {
		f.Fatal(err)
	}
	unlock, err := dir.Lock(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(unlock)
	if err := dir.Store(context.Background(), "key", []byte("record")); err != nil {
		f.Fatal(err)
	}
	entries, err := filepath.Glob(filepath.Join(path, "*.record"))
	if err != nil || len(entries) != 1 {
		f.Fatal(entries, err)
	}
	whole, err := os.ReadFile(entries[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	f.Fuzz(func(t *testing.T, content []byte, prefixed bool) {
		if prefixed {
			content = append([]byte("cdn-journal 1 "), content...)
		}
		require.NoError(t, os.WriteFile(entries[0], content, 0o600))
		record, err := dir.Load(context.Background(), "key")
		if err == nil {
			require.Equal(t, whole, content, "only the stored content has the checksum")
			require.Equal(t, "record", string(record))
		}
	})
}
