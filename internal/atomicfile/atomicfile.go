// Package atomicfile writes a file that gets its name when it is complete. Until then the content is in a temporary
// file in the same folder, which only its owner can read.
package atomicfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrDirectory is returned by [Create] if there is a directory at the path.
var ErrDirectory = errors.New("is a directory")

// File is a file that [File.Commit] gives its name. It is not safe for concurrent use.
//
// A pipe, a device or /dev/stdout cannot be replaced. Writes go through to it then, and Commit and Discard only
// close it.
type File struct {
	// device is what writes go through to. It is nil if there is a temporary file.
	device io.WriteCloser
	// temporary is the file that becomes the one at path.
	temporary *os.File
	// path is the final name, with symbolic links resolved.
	path string
	// mode has the permissions of the file that is replaced, or those that the umask gives a new file.
	mode fs.FileMode
	// finished reports whether the file was committed or discarded.
	finished bool
}

// Create creates a temporary file in the folder of path, with mode 0600. It follows symbolic links, also one that
// dangles. It removes temporary files for the same path that no living process holds.
//
// ctx bounds the wait for a reader of a named pipe, and each write to it.
func Create(ctx context.Context, path string) (*File, error) {
	path, err := target(path)
	if err != nil {
		return nil, err
	}
	if fd, ok := descriptor(path); ok {
		return through(duplicate(fd, path))
	}
	before, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		removeAbandoned(path)
		return createNew(path)
	case err != nil:
		return nil, err
	case before.IsDir():
		return nil, &fs.PathError{Op: "create", Path: path, Err: ErrDirectory}
	case before.Mode()&fs.ModeNamedPipe != 0:
		return through(openPipe(ctx, path))
	case !before.Mode().IsRegular():
		return through(os.OpenFile(path, os.O_WRONLY, 0))
	}
	removeAbandoned(path)
	return createReplacement(path, before)
}

// through returns a File whose writes go through to device.
func through[W io.WriteCloser](device W, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return &File{device: device}, nil
}

// createNew creates the temporary file for a path at which there is none. Only creating a file tells the umask.
func createNew(path string) (*File, error) {
	temporary, err := createPart(path, 0o666)
	if err != nil {
		return nil, err
	}
	f := &File{temporary: temporary, path: path}
	info, err := temporary.Stat()
	if err == nil {
		f.mode = info.Mode().Perm()
		err = chmod(temporary, 0o600)
	}
	if err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

// createReplacement creates the temporary file for a path at which there is a file.
func createReplacement(path string, before fs.FileInfo) (*File, error) {
	temporary, err := createPart(path, 0o600)
	if err != nil {
		return nil, err
	}
	return &File{temporary: temporary, path: path, mode: before.Mode().Perm()}, nil
}

// Write appends p to the file.
func (f *File) Write(p []byte) (int, error) {
	if f.device != nil {
		return f.device.Write(p)
	}
	return f.temporary.Write(p)
}

// Restart drops what was written. The error is [errors.ErrUnsupported] if writes go through.
func (f *File) Restart() error {
	if f.device != nil {
		return errors.ErrUnsupported
	}
	if err := f.temporary.Truncate(0); err != nil {
		return err
	}
	_, err := f.temporary.Seek(0, io.SeekStart)
	return err
}

// Commit brings the file to disk and gives it its name, and the mode and owner of the file that it replaces. The
// file does not have the name if Commit returns an error.
func (f *File) Commit() error {
	if f.device != nil {
		f.finished = true
		return f.device.Close()
	}
	if err := f.inherit(); err != nil {
		return err
	}
	if err := f.temporary.Sync(); err != nil && !isUnsupported(err) {
		return err
	}
	release, err := keepLock(f.temporary)
	if err != nil {
		return err
	}
	defer release()
	// Some file systems report a failed write only here. Windows does not rename an open file.
	if err := f.temporary.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.temporary.Name(), f.path); err != nil {
		return err
	}
	f.finished = true
	syncFolder(filepath.Dir(f.path))
	return nil
}

// inherit gives the temporary file the mode and the owner of the file that it replaces. If the group cannot be
// kept, the new group gets only the permissions of others.
func (f *File) inherit() error {
	mode := f.mode
	if old, err := os.Stat(f.path); err == nil && old.Mode().IsRegular() {
		mode = old.Mode().Perm()
		if !keepOwner(f.temporary, old) {
			mode = mode&^0o070 | mode&0o007<<3
		}
	}
	return chmod(f.temporary, mode)
}

// chmod sets the permissions of file. It returns nil if the file system has none.
func chmod(file *os.File, mode fs.FileMode) error {
	err := file.Chmod(mode)
	if errors.Is(err, fs.ErrPermission) || isUnsupported(err) {
		return nil
	}
	return err
}

// isUnsupported reports whether err says that the file system has no such operation.
func isUnsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// Discard removes the temporary file. It does nothing after a Commit that succeeded, so that it can be deferred.
func (f *File) Discard() {
	if f.finished {
		return
	}
	f.finished = true
	if f.device != nil {
		_ = f.device.Close()
		return
	}
	_ = f.temporary.Close() // first: Windows does not remove an open file
	_ = os.Remove(f.temporary.Name())
}
