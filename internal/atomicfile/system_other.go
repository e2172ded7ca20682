//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"
)

const renamesOpenFiles = false

var (
	errLocked = errors.New("the file is locked")
	noReader  = errors.New("the pipe has no reader")
)

// lock does nothing. Windows does not remove a file that a process has open.
func lock(*os.File) error { return nil }

// committing is longer than a file takes from being closed to being renamed.
const committing = time.Minute

// removeUnheld removes the temporary file of this name unless a process has it open.
func removeUnheld(name string, info fs.FileInfo) {
	if runtime.GOOS == "windows" && time.Since(info.ModTime()) > committing {
		_ = os.Remove(name)
	}
}

// keepOwner reports true: permissions are not those of a group here.
func keepOwner(*os.File, fs.FileInfo) bool { return true }

// syncFolder does nothing. Windows has no such call and needs none.
func syncFolder(string) error { return nil }

// descriptor reports false: open files have no names here.
func descriptor(string) (int, bool) { return 0, false }

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
