package journal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/journal"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Three Dirs on one folder have four callers each. One caller at a time is between Lock and unlock.
func TestDir_Lock_excludes(t *testing.T) {
	_, path := open(t)
	var inside atomic.Int32
	var group sync.WaitGroup
	for range 3 {
		dir, err := journal.OpenDir(path)
		require.NoError(t, err)
		for range 4 {
			group.Go(func() {
				unlock, err := dir.Lock(t.Context())
				if !assert.NoError(t, err) {
					return
				}
				assert.EqualValues(t, 1, inside.Add(1))
				assert.NoError(t, dir.Store(t.Context(), "key", nil))
				inside.Add(-1)
				unlock()
			})
		}
	}
	group.Wait()
}

func TestDir_Lock_waits_until_ctx_ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held, path := open(t)
		other, err := journal.OpenDir(path)
		require.NoError(t, err)
		unlock := lock(t, held)
		for dir, want := range map[*journal.Dir]string{held: "another caller of this process", other: "another process or Dir"} {
			reason := errors.New("no patience")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, reason)
			defer cancel()
			_, err := dir.Lock(ctx)
			require.ErrorIs(t, err, reason)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, path)
		}
		unlock()
		lock(t, other)()
		lock(t, held)()
	})
}

func TestDir_Lock_ended_context(t *testing.T) {
	dir, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dir.Lock(ctx)
	require.ErrorIs(t, err, context.Canceled)
	lock(t, dir)()
	_, err = dir.Lock(ctx) // in the pause after an unlock
	require.ErrorIs(t, err, context.Canceled)
}

func TestDir_unlock_twice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, path := open(t)
		other, err := journal.OpenDir(path)
		require.NoError(t, err)
		first := lock(t, dir)
		first()
		second := lock(t, dir)
		first()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = other.Lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "the second lock must still be held")
		second()
	})
}

// A Dir that locks again and again leaves others a turn.
func TestDir_Lock_gives_way(t *testing.T) {
	greedy, path := open(t)
	other, err := journal.OpenDir(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for ctx.Err() == nil {
				if unlock, err := greedy.Lock(ctx); err == nil {
					unlock()
				}
			}
		})
	}
	for range 3 {
		lock(t, other)()
	}
	cancel()
	group.Wait()
}

func TestDir_needs_lock(t *testing.T) {
	dir, _ := open(t)
	_, err := dir.Load(t.Context(), "key")
	require.ErrorContains(t, err, "the lock is not held")
	require.ErrorContains(t, dir.Store(t.Context(), "key", nil), "the lock is not held")
	lock(t, dir)()
	_, err = dir.Load(t.Context(), "key")
	require.ErrorContains(t, err, "the lock is not held")
	require.ErrorContains(t, dir.Store(t.Context(), "key", nil), "the lock is not held")
}

// Load and Store fail if the folder or the lock file was removed or replaced while the lock is held.
func TestDir_notices_lost_lock(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // Windows keeps open files from being removed
	}
	for _, test := range []struct {
		name string
		harm func(path string) error
		want string
	}{
		{"lock file removed", func(path string) error { return os.Remove(filepath.Join(path, "lock")) }, "removed or replaced"},
		{"lock file replaced", func(path string) error {
			other := filepath.Join(path, "other")
			return errors.Join(os.WriteFile(other, nil, 0o600), os.Rename(other, filepath.Join(path, "lock")))
		}, "removed or replaced"},
		{"folder removed", os.RemoveAll, "no such file"},
		{"folder replaced by an empty one", func(path string) error {
			return errors.Join(os.Rename(path, path+"-old"), os.Mkdir(path, 0o700))
		}, "replaced since OpenDir"},
		{"folder removed, another made", func(path string) error {
			return errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700))
		}, "replaced since OpenDir"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			dir, err := journal.OpenDir(path)
			require.NoError(t, err)
			store(t, dir, "key", "record")
			unlock := lock(t, dir)
			require.NoError(t, test.harm(path))
			_, err = dir.Load(t.Context(), "key")
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, dir.Store(t.Context(), "key", nil), test.want)
			unlock()
		})
	}
}

// A lock file that was removed is created again. A new folder in place of the old one is not the journal.
func TestDir_Lock_after_harm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	dir, err := journal.OpenDir(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(path, "lock")))
	store(t, dir, "key", "record")
	require.NoError(t, os.Rename(path, path+"-old"))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err = dir.Lock(t.Context())
	require.ErrorContains(t, err, "replaced since OpenDir")
}

// A file system may give a new folder the inode of the one that was removed.
func TestDir_Lock_after_folder_was_created_again(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // Windows keeps open folders from being removed
	}
	for range 5 {
		path := filepath.Join(t.TempDir(), "journal")
		dir, err := journal.OpenDir(path)
		require.NoError(t, err)
		store(t, dir, "key", "record")
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.Mkdir(path, 0o700))
		_, err = dir.Lock(t.Context())
		require.ErrorContains(t, err, "replaced since OpenDir")
	}
}

// If the lock file is removed, the next caller locks a new one. The earlier holder can no longer store.
func TestDir_Lock_file_removed_while_held(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // Windows keeps open files from being removed
	}
	first, path := open(t)
	second, err := journal.OpenDir(path)
	require.NoError(t, err)
	unlock := lock(t, first)
	require.NoError(t, os.Remove(filepath.Join(path, "lock")))
	store(t, second, "key", "record")
	require.ErrorContains(t, first.Store(t.Context(), "key", nil), "removed or replaced")
	unlock()
	require.Equal(t, "record", load(t, first, "key"))
}

func TestDir_Lock_removes_leftovers(t *testing.T) {
	dir, path := open(t)
	store(t, dir, "key", "record")
	require.NoError(t, os.WriteFile(filepath.Join(path, ".x.record.abc.part"), []byte("half"), 0o600))
	next, err := journal.OpenDir(path)
	require.NoError(t, err)
	require.Equal(t, "record", load(t, next, "key"))
	require.Len(t, files(t, path), 1)
}
