//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newPipePath(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	return path
}

func TestPipe_without_reader(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Create(canceled, newPipePath(t))
	require.ErrorIs(t, err, context.Canceled)
}

func TestPipe_read_to_its_end(t *testing.T) {
	path := newPipePath(t)
	content := bytes.Repeat([]byte("x"), 1<<20) // more than a pipe holds
	read := make(chan []byte)
	go func() {
		var content []byte
		if file, err := os.Open(path); err == nil {
			content, _ = io.ReadAll(file)
			_ = file.Close()
		}
		read <- content
	}()
	f := newFile(t, path, string(content))
	require.ErrorIs(t, f.Restart(), errors.ErrUnsupported)
	require.NoError(t, f.Commit())
	assert.True(t, bytes.Equal(content, <-read))
	assert.Equal(t, fs.ModeNamedPipe, modeOf(t, path).Type())
}

// startWrite writes more to a pipe than it holds. It returns the open reader, and the error of the write to come.
func startWrite(t *testing.T, ctx context.Context) (reader *os.File, written chan error) {
	t.Helper()
	path := newPipePath(t)
	written = make(chan error, 1)
	go func() {
		f, err := Create(ctx, path)
		if err == nil {
			defer f.Discard()
			_, err = f.Write(make([]byte, 1<<20))
		}
		written <- err
	}()
	reader, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = reader.Close() })
	_, err = reader.Read(make([]byte, 1))
	require.NoError(t, err)
	return reader, written
}

func TestPipe_context_ends_in_a_write(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, written := startWrite(t, ctx)
	cancel()
	select {
	case err := <-written:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(10 * time.Second):
		t.Fatal("the write goes on")
	}
}

func TestPipe_reader_closes(t *testing.T) {
	reader, written := startWrite(t, t.Context())
	require.NoError(t, reader.Close())
	require.ErrorIs(t, <-written, syscall.EPIPE)
}

func TestFile_device(t *testing.T) {
	path := os.DevNull
	if os.Geteuid() == 0 { // wrong code could replace the machine's device
		path = filepath.Join(t.TempDir(), "null")
		const null = 1<<8 | 3 // on Linux
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o666, null); err != nil || runtime.GOOS != "linux" {
			return // a container may not make devices
		}
	}
	f := newFile(t, path, "new")
	require.ErrorIs(t, f.Restart(), errors.ErrUnsupported)
	f.Discard()
	_, err := f.Write([]byte("more"))
	require.ErrorIs(t, err, fs.ErrClosed)
	assert.Equal(t, fs.ModeDevice, modeOf(t, path).Type()&fs.ModeDevice)
}

// Writes to a descriptor of the process continue at its offset.
func TestFile_descriptor(t *testing.T) {
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
