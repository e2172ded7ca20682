//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Mode()
}

func TestMode(t *testing.T) {
	tests := []struct {
		name  string
		umask int
		old   fs.FileMode // 0 for no file
		want  fs.FileMode
	}{
		{"new", 0o022, 0, 0o644},
		{"new, umask of a group", 0o002, 0, 0o664},
		{"new, private umask", 0o077, 0, 0o600},
		{"private", 0o022, 0o600, 0o600},
		{"more than the umask gives", 0o022, 0o666, 0o666},
		{"read-only", 0o022, 0o444, 0o444},
		{"executable", 0o022, 0o755, 0o755},
		{"no special bits", 0o022, 0o755 | fs.ModeSetuid, 0o755},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(test.umask))
			path := filepath.Join(t.TempDir(), "report")
			if test.old != 0 {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Chmod(path, test.old))
			}
			f := newFile(t, path, "new")
			assert.Equal(t, fs.FileMode(0o600), modeOf(t, f.temporary.Name()), "before the commit")
			require.NoError(t, f.Commit())
			assert.Equal(t, test.want, modeOf(t, path))
		})
	}
}

func TestMode_file_came_meanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "new")
	require.NoError(t, os.WriteFile(path, []byte("private"), 0o600))
	require.NoError(t, f.Commit())
	assert.Equal(t, fs.FileMode(0o600), modeOf(t, path))
}

func TestMode_file_went_meanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o640))
	f := newFile(t, path, "new")
	require.NoError(t, os.Remove(path))
	require.NoError(t, f.Commit())
	assert.Equal(t, fs.FileMode(0o640), modeOf(t, path))
}

// publicFolder returns a folder that every user reaches.
func publicFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name := folder; name != os.TempDir() && name != "/"; name = filepath.Dir(name) {
		require.NoError(t, os.Chmod(name, 0o777))
	}
	return folder
}

// asUser runs a helper as another user, which only root can.
func asUser(t *testing.T, helper, path string, user syscall.Credential) error {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	content, err := os.ReadFile(executable)
	require.NoError(t, err)
	program := filepath.Join(publicFolder(t), "program")
	require.NoError(t, os.WriteFile(program, content, 0o700))
	require.NoError(t, os.Chmod(program, 0o755))
	cmd := inProcess(t, helper, path)
	cmd.Path = program
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &user}
	return cmd.Run()
}

// unprivileged is a user with no rights of its own.
var unprivileged = syscall.Credential{Uid: 65534, Gid: 65534}

// A folder that can be written and not read cannot be synced.
func TestCommit_folder_cannot_be_synced(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	folder := filepath.Join(publicFolder(t), "folder")
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.NoError(t, os.Chmod(folder, 0o333))
	path := filepath.Join(folder, "report")
	require.NoError(t, asUser(t, "write", path, unprivileged))
	assert.Equal(t, "new", contentOf(t, path))
}

func TestCreate_read_only_folder(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	folder := publicFolder(t)
	path := filepath.Join(folder, "report")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	require.NoError(t, os.Chmod(folder, 0o555))
	require.Error(t, asUser(t, "write", path, unprivileged))
	assert.Equal(t, "old", contentOf(t, path))
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
}

func init() {
	// A limit on the size of files fails writes as a full disk does: after some bytes.
	helpers["write over a limit"] = func(path string) error {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 2, Max: 2}); err != nil {
			return nil
		}
		f, err := Create(context.Background(), path)
		if err != nil {
			return err
		}
		defer f.Discard()
		_, err = f.Write([]byte("new"))
		return err
	}
}

func TestWrite_disk_full(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	require.Error(t, inProcess(t, "write over a limit", path).Run())
	assert.Equal(t, "old", contentOf(t, path))
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
}

// onPipe returns a file whose temporary name exists, and whose descriptor is a pipe's, which cannot be synced.
func onPipe(t *testing.T, path string) *File {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	fd, err := syscall.Dup(int(w.Fd()))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".part", []byte("new"), 0o600))
	return &File{temporary: os.NewFile(uintptr(fd), path+".part"), path: path, mode: 0o600}
}

func TestCommit_file_system_without_sync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	require.NoError(t, onPipe(t, path).Commit())
	assert.Equal(t, "new", contentOf(t, path))
}

func TestChmod_not_permitted(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	path := filepath.Join(publicFolder(t), "report")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, asUser(t, "chmod", path, unprivileged))
	assert.Equal(t, fs.FileMode(0o644), modeOf(t, path))
}

func TestHasName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	file, err := os.Create(path)
	require.NoError(t, err)
	assert.True(t, hasName(file))
	require.NoError(t, os.Rename(path, path+".moved"))
	assert.False(t, hasName(file), "no file has the name")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	assert.False(t, hasName(file), "another file has the name")
	require.NoError(t, file.Close())
}

// Only root can give a file away, and run a program as another user.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	const user, group = 65534, 12345
	tests := []struct {
		name     string
		oldUID   int
		oldGID   int
		by       syscall.Credential
		uid, gid int
		mode     fs.FileMode
	}{
		{"root keeps both", user, group, syscall.Credential{}, user, group, 0o664},
		{"a member keeps the group", 0, group, syscall.Credential{Uid: user, Gid: user, Groups: []uint32{group}}, user, group, 0o664},
		{"another group has the permissions of others", 0, group, unprivileged, user, user, 0o644},
		{"the group is the same", 0, user, unprivileged, user, user, 0o664},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(publicFolder(t), "report")
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, test.oldUID, test.oldGID))
			require.NoError(t, os.Chmod(path, 0o664))
			require.NoError(t, asUser(t, "write", path, test.by))
			assert.Equal(t, "new", contentOf(t, path))
			info, err := os.Stat(path)
			require.NoError(t, err)
			stat := info.Sys().(*syscall.Stat_t)
			assert.Equal(t, []int{test.uid, test.gid}, []int{int(stat.Uid), int(stat.Gid)})
			assert.Equal(t, test.mode, info.Mode())
		})
	}
}

func TestSymbolicLinks(t *testing.T) {
	folder := t.TempDir()
	inner := filepath.Join(folder, "inner")
	require.NoError(t, os.Mkdir(inner, 0o700))
	file := filepath.Join(inner, "file")
	symlink := func(target, name string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.Symlink(target, path))
		return path
	}
	symlink("inner", "folder")
	tests := []struct{ name, path, want string }{
		{"to a file", symlink("inner/file", "to-file"), file},
		{"absolute", symlink(file, "absolute"), file},
		{"to a link", symlink("to-file", "to-link"), file},
		{"through a folder that is a link", symlink("folder/file", "through-folder"), file},
		{"above a folder that is a link", symlink("folder/../beside", "above"), filepath.Join(folder, "beside")},
		{"in a folder that is a link", filepath.Join(folder, "folder", "file"), file},
		{"a link without a folder", "to-file", file},
		{"without a folder", "plain", filepath.Join(folder, "plain")},
	}
	t.Chdir(folder)
	for _, dangling := range []bool{true, false} {
		for _, test := range tests {
			t.Run(test.name+", dangling "+strconv.FormatBool(dangling), func(t *testing.T) {
				if !dangling {
					require.NoError(t, os.WriteFile(test.want, []byte("old"), 0o600))
				}
				before, err := os.Lstat(test.path)
				require.NoError(t, newFile(t, test.path, "new").Commit())
				assert.Equal(t, "new", contentOf(t, test.want))
				if err == nil {
					assert.Equal(t, before.Mode().Type(), modeOf(t, test.path).Type(), "a link stays one")
				}
				require.NoError(t, os.Remove(test.want))
			})
		}
	}
	symlink("loop", "loop")
	_, err := Create(t.Context(), "loop")
	require.Error(t, err)
	symlink("no/folder", "nowhere")
	_, err = Create(t.Context(), "nowhere")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// start runs a process that holds a temporary file for path. The function that it returns kills it.
func start(t *testing.T, path string) (kill func()) {
	t.Helper()
	cmd := inProcess(t, "hold", path)
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return func() {
		require.NoError(t, cmd.Process.Kill())
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
	}
}

func TestCreate_removes_abandoned_files(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	kill := start(t, path)
	killOther := start(t, filepath.Join(folder, "other"))
	killOther()
	for _, name := range []string{".report.part", ".report.ABCDEFGH27.part2"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(folder, ".report.ABCDEFGH27.part"), 0o700))
	require.NoError(t, os.Symlink("target", filepath.Join(folder, ".report.ABCDEFGH22.part")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "target"), nil, 0o600))
	require.Len(t, namesIn(t, folder), 7)

	require.NoError(t, newFile(t, path, "new").Commit())
	require.Len(t, namesIn(t, folder), 8, "files that a living process holds stay, and other files")
	kill()
	require.NoError(t, newFile(t, path, "new").Commit())
	names := namesIn(t, folder)
	require.Len(t, names, 7)
	assert.Subset(t, names, []string{".report.part", ".report.ABCDEFGH27.part2", ".report.ABCDEFGH27.part", ".report.ABCDEFGH22.part", "report", "target"})
}

func TestCreate_same_path_at_once(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 15 {
				f, err := Create(t.Context(), path)
				if !assert.NoError(t, err) {
					return
				}
				_, err = f.Write([]byte("new"))
				assert.NoError(t, err)
				assert.NoError(t, f.Commit())
			}
		})
	}
	group.Wait()
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
	assert.Equal(t, "new", contentOf(t, path))
}

func TestLock_until_closed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "")
	again, err := os.Open(f.temporary.Name())
	require.NoError(t, err)
	require.ErrorIs(t, lock(again), errLocked)
	f.Discard()
	require.NoError(t, lock(again))
	assert.False(t, hasName(again), "its name is gone")
	require.NoError(t, again.Close())
	assert.False(t, hasName(again), "closed")
}

func TestKeepLock_until_released(t *testing.T) {
	f := newFile(t, filepath.Join(t.TempDir(), "report"), "")
	again, err := os.Open(f.temporary.Name())
	require.NoError(t, err)
	defer again.Close()
	release, err := keepLock(f.temporary)
	require.NoError(t, err)
	require.NoError(t, f.temporary.Close())
	require.ErrorIs(t, lock(again), errLocked)
	release()
	require.NoError(t, lock(again))
	_, err = keepLock(f.temporary)
	require.Error(t, err, "closed")
}
