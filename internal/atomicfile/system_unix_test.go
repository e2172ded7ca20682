//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
		name string
		old  fs.FileMode // 0 for no file
		want fs.FileMode
	}{
		{"new", 0, 0o644},
		{"private", 0o600, 0o600},
		{"more than the umask gives", 0o666, 0o666},
		{"read-only", 0o444, 0o444},
		{"executable", 0o755, 0o755},
		{"no special bits", 0o755 | fs.ModeSetuid, 0o755},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0o022))
			path := filepath.Join(t.TempDir(), "report")
			if test.old != 0 {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Chmod(path, test.old))
			}
			f := newFile(t, path, "new")
			assert.Equal(t, fs.FileMode(0o600), modeOf(t, f.file.Name()), "under its temporary name")
			require.NoError(t, f.Commit())
			assert.Equal(t, test.want, modeOf(t, path))
		})
	}
}

// What counts is the file that is replaced in the end.
func TestModeOfAFileThatCameMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "new")
	require.NoError(t, os.WriteFile(path, []byte("private"), 0o600))
	require.NoError(t, f.Commit())
	assert.Equal(t, fs.FileMode(0o600), modeOf(t, path))
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

// A folder that may be written and not read cannot be synced. A download is complete nevertheless, and a record
// is not durable.
func TestFolderThatCannotBeSynced(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	folder := filepath.Join(publicFolder(t), "folder")
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.NoError(t, os.Chmod(folder, 0o333))
	path := filepath.Join(folder, "report")
	require.NoError(t, asUser(t, "write", path, syscall.Credential{Uid: 65534, Gid: 65534}))
	assert.Equal(t, "new", contentOf(t, path))
	require.NoError(t, os.Remove(path))
	require.Error(t, asUser(t, "write durably", path, syscall.Credential{Uid: 65534, Gid: 65534}))
	assert.Equal(t, []string{"report"}, namesIn(t, folder))
}

// onPipe returns a file whose temporary name exists, but whose descriptor is that of a pipe, which cannot be synced.
func onPipe(t *testing.T, path string) *File {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	fd, err := syscall.Dup(int(w.Fd()))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".part", []byte("new"), 0o600))
	return &File{file: os.NewFile(uintptr(fd), path+".part"), path: path, mode: 0o600}
}

// On a file system without such a call, a download is complete without being synced, and a record is not durable.
func TestFileThatCannotBeSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	require.NoError(t, onPipe(t, path).Commit())
	assert.Equal(t, "new", contentOf(t, path))

	path = filepath.Join(t.TempDir(), "record")
	f := onPipe(t, path)
	require.ErrorIs(t, f.writeDurably(nil), syscall.EINVAL)
	require.NoError(t, f.Discard())
	assert.NoFileExists(t, path)
}

// A file system without permissions is no error, and neither is a file of another user.
func TestChmodThatIsNotAllowed(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	path := filepath.Join(publicFolder(t), "report")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, asUser(t, "chmod", path, syscall.Credential{Uid: 65534, Gid: 65534}))
	assert.Equal(t, fs.FileMode(0o644), modeOf(t, path))
}

// The mode of the file that is replaced counts also if that is gone in the end.
func TestModeOfAFileThatWentMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o640))
	f := newFile(t, path, "new")
	require.NoError(t, os.Remove(path))
	require.NoError(t, f.Commit())
	assert.Equal(t, fs.FileMode(0o640), modeOf(t, path))
}

func TestHasName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	file, err := os.Create(path)
	require.NoError(t, err)
	assert.True(t, hasName(file))
	require.NoError(t, os.Rename(path, path+".moved"))
	assert.False(t, hasName(file), "there is none of the name")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	assert.False(t, hasName(file), "there is another")
	require.NoError(t, file.Close())
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can give a file away, and have another user run a program
	}
	const nobody, group = 65534, 12345
	folder := publicFolder(t)
	path := filepath.Join(folder, "report")
	reset := func(uid, gid int) {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chown(path, uid, gid))
		require.NoError(t, os.Chmod(path, 0o664))
	}
	owner := func() [3]int {
		info, err := os.Stat(path)
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		return [3]int{int(stat.Uid), int(stat.Gid), int(info.Mode())}
	}
	replace := func(uid, gid uint32, groups ...uint32) {
		require.NoError(t, asUser(t, "write", path, syscall.Credential{Uid: uid, Gid: gid, Groups: groups}))
		assert.Equal(t, "new", contentOf(t, path))
	}

	reset(nobody, group)
	require.NoError(t, write(path))
	assert.Equal(t, [3]int{nobody, group, 0o664}, owner(), "root keeps both")
	reset(0, group)
	replace(nobody, nobody, group)
	assert.Equal(t, [3]int{nobody, group, 0o664}, owner(), "a member keeps the group")
	reset(0, group)
	replace(nobody, nobody)
	assert.Equal(t, [3]int{nobody, nobody, 0o644}, owner(), "another group gets no more than everybody")
	reset(0, nobody)
	replace(nobody, nobody)
	assert.Equal(t, [3]int{nobody, nobody, 0o664}, owner(), "the group is the same")
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

func TestAbandonedFilesAreRemoved(t *testing.T) {
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
	require.Len(t, namesIn(t, folder), 8, "what a living process holds stays, and what is not a temporary file for this path")
	kill()
	require.NoError(t, newFile(t, path, "new").Commit())
	names := namesIn(t, folder)
	require.Len(t, names, 7)
	assert.Subset(t, names, []string{".report.part", ".report.ABCDEFGH27.part2", ".report.ABCDEFGH27.part", ".report.ABCDEFGH22.part", "report", "target"})
}

// Many files for one path at once do not remove each other.
func TestCreateAtOnce(t *testing.T) {
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

// A lock holds for as long as the file is open.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	f := newFile(t, path, "")
	again, err := os.Open(f.file.Name())
	require.NoError(t, err)
	require.ErrorIs(t, lock(again), errLocked)
	require.NoError(t, f.Discard())
	require.NoError(t, lock(again))
	assert.False(t, hasName(again), "its name is gone")
	require.NoError(t, again.Close())
	assert.False(t, hasName(again), "closed")
}

func TestWritingThroughAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Create(canceled, path)
	require.ErrorIs(t, err, context.Canceled, "nobody reads")

	read := make(chan string)
	go func() {
		file, err := os.Open(path)
		if err != nil {
			close(read)
			return
		}
		content, _ := io.ReadAll(file)
		_ = file.Close()
		read <- string(content)
	}()
	f := newFile(t, path, "new")
	require.ErrorIs(t, f.Restart(), errors.ErrUnsupported)
	require.NoError(t, f.Commit())
	assert.Equal(t, "new", <-read)
	assert.Equal(t, fs.ModeNamedPipe, modeOf(t, path).Type())
	require.Error(t, WriteFile(path, nil), "what is durable needs a file")
}

func TestWritingThroughADevice(t *testing.T) {
	path := os.DevNull
	if os.Geteuid() == 0 { // who could replace the device of the whole machine if the code were wrong
		path = filepath.Join(t.TempDir(), "null")
		const null = 1<<8 | 3 // on Linux
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o666, null); err != nil || runtime.GOOS != "linux" {
			return // a container may not make devices
		}
	}
	f := newFile(t, path, "new")
	require.ErrorIs(t, f.Restart(), errors.ErrUnsupported)
	require.NoError(t, f.Discard())
	assert.Equal(t, fs.ModeDevice, modeOf(t, path).Type()&fs.ModeDevice)
}

// A program that writes to its own output appends to it, and what follows comes after that.
func TestWritingThroughADescriptor(t *testing.T) {
	for _, name := range []string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "a link"} {
		for flagName, flag := range map[string]int{">": os.O_TRUNC, ">>": os.O_APPEND} {
			t.Run(name+" "+flagName, func(t *testing.T) {
				folder := t.TempDir()
				log := filepath.Join(folder, "log")
				require.NoError(t, os.WriteFile(log, []byte("old\n"), 0o600))
				output, err := os.OpenFile(log, os.O_WRONLY|flag, 0)
				require.NoError(t, err)
				path := name
				if name == "a link" {
					path = filepath.Join(folder, "link")
					require.NoError(t, os.Symlink("/dev/stdout", path))
				}
				if _, err := os.Stat("/proc/self/fd"); err != nil && name == "/proc/self/fd/1" {
					return
				}
				_, err = output.WriteString("before\n")
				require.NoError(t, err)
				cmd := inProcess(t, "write", path)
				cmd.Stdout = output
				require.NoError(t, cmd.Run())
				_, err = output.WriteString("\nafter\n")
				require.NoError(t, err)
				require.NoError(t, output.Close())
				want := "before\nnew\nafter\n"
				if flag == os.O_APPEND {
					want = "old\n" + want
				}
				assert.Equal(t, want, contentOf(t, log))
			})
		}
	}
	_, err := Create(t.Context(), "/dev/fd/999999")
	require.ErrorIs(t, err, syscall.EBADF)
}

func TestDescriptor(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for path, want := range map[string]int{
		"/dev/fd/1":                           1,
		"/proc/" + self + "/fd/12":            12,
		"/proc/" + self + "/task/3/fd/2":      2,
		"/proc/1" + self + "/fd/1":            -1,
		"/dev/fd":                             -1,
		"/dev/fd/x":                           -1,
		"/home/dev/fd/1":                      -1,
		"/dev/fd/99999999999999999999":        -1,
		"/proc/" + self + "/fdinfo/1":         -1,
		"/proc/" + self + "/fd/1/beyond":      -1,
		"/proc/" + self + "/../" + self + "/": -1,
	} {
		fd, ok := descriptor(path)
		assert.Equal(t, want >= 0, ok, path)
		if ok {
			assert.Equal(t, want, fd, path)
		}
	}
}
