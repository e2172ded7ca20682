//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// errLocked is the error of lock if another process has locked the file.
const errLocked = syscall.EWOULDBLOCK

// lock locks file until it is closed or the process ends.
func lock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// keepLock keeps the lock of file until release is called, also if file is closed before.
func keepLock(file *os.File) (release func(), err error) {
	held, err := duplicate(int(file.Fd()), file.Name())
	return func() { _ = held.Close() }, err
}

// removeUnheld removes the temporary file of this name unless a process has locked it.
func removeUnheld(name string, _ fs.FileInfo) {
	file, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if lock(file) == nil && hasName(file) {
		_ = os.Remove(name)
	}
}

// keepOwner gives file the owner and the group of old, and reports whether it has the group. Only root can give
// files away; others can choose among their groups.
func keepOwner(file *os.File, old fs.FileInfo) bool {
	now, err := file.Stat()
	if err != nil {
		return false
	}
	own, ok := now.Sys().(*syscall.Stat_t)
	wanted, wantedOK := old.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !wantedOK:
		return false
	case own.Uid == wanted.Uid && own.Gid == wanted.Gid, file.Chown(int(wanted.Uid), int(wanted.Gid)) == nil:
		return true
	}
	return own.Gid == wanted.Gid || file.Chown(-1, int(wanted.Gid)) == nil
}

// syncFolder brings the names in a folder to disk. It ignores errors, since some network file systems cannot.
func syncFolder(path string) {
	folder, err := os.Open(path)
	if err != nil {
		return
	}
	defer folder.Close()
	_ = folder.Sync()
}

// descriptorPath matches the names of a process's open files. /dev/stdout and /proc/self are links to them.
var descriptorPath = regexp.MustCompile(`^/(?:dev|proc/(\d+)(?:/task/\d+)?)/fd/(\d+)$`)

// descriptor returns the descriptor that path names, if it names one of this process.
func descriptor(path string) (int, bool) {
	parts := descriptorPath.FindStringSubmatch(filepath.Clean(path))
	if parts == nil || parts[1] != "" && parts[1] != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	fd, err := strconv.Atoi(parts[2])
	return fd, err == nil
}

// duplicate returns a second descriptor of an open file, with the same offset and lock.
func duplicate(fd int, path string) (*os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	own, err := syscall.Dup(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	syscall.CloseOnExec(own)
	return os.NewFile(uintptr(own), path), nil
}
