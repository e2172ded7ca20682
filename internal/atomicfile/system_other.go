//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"
)

var errLocked = errors.New("the file is locked")

// lock does nothing. Windows does not remove a file that a process has open.
func lock(*os.File) error { return nil }

// keepLock does nothing. See removeUnheld.
func keepLock(*os.File) (release func(), err error) { return func() {}, nil }

// committing is longer than a file takes from being closed to being renamed.
const committing = time.Minute

// removeUnheld removes the temporary file of this name if no process has it open and it is older than committing.
func removeUnheld(name string, info fs.FileInfo) {
	if runtime.GOOS == "windows" && time.Since(info.ModTime()) > committing {
		_ = os.Remove(name)
	}
}

// keepOwner reports true: permissions are not those of a group here.
func keepOwner(*os.File, fs.FileInfo) bool { return true }

// syncFolder does nothing. Windows has no such call and needs none.
func syncFolder(string) {}

// descriptor reports false: open files have no names here.
func descriptor(string) (int, bool) { return 0, false }

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }

// openPipe opens a pipe. Windows waits for no reader.
func openPipe(_ context.Context, path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY, 0)
}
