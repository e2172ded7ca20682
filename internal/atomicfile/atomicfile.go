// Package atomicfile writes files that get their name when they are complete. Until then the content is in a
// temporary file in the same folder, which only the owner can read.
package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrDirectory is returned by [Create] if there is a directory at the path.
var ErrDirectory = errors.New("is a directory")

// File is a file that [File.Commit] gives its name. It is not safe for concurrent use.
//
// What is at the path and is not a regular file (a pipe, a device, /dev/stdout) cannot be replaced. Then
// writes go through to it, and Commit and Discard only close it.
type File struct {
	file *os.File
	// path is the name to be, with symbolic links resolved. It is empty if writes go through.
	path string
	// mode is the permissions of the file that is replaced, or those that the umask gives a new one.
	mode fs.FileMode
	// finished reports whether the file was committed or discarded.
	finished bool
}

// Create creates a temporary file in the folder of path, with mode 0600. Symbolic links are followed, also if
// the last one dangles. Temporary files for the same path that no living process holds are removed.
//
// ctx bounds the wait for a reader if path is a named pipe.
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
	case errors.Is(err, fs.ErrNotExist): // a new file
	case err != nil:
		return nil, err
	case before.IsDir():
		return nil, &fs.PathError{Op: "create", Path: path, Err: ErrDirectory}
	case !before.Mode().IsRegular():
		return through(openDevice(ctx, path, before.Mode()))
	}
	removeAbandoned(path)
	return create(path, before)
}

// create creates the temporary file for path. before is the file that is there, or nil.
func create(path string, before fs.FileInfo) (*File, error) {
	mode := fs.FileMode(0o666)
	if before != nil {
		mode = 0o600 // from the first moment: what it replaces may be private
	}
	file, err := createPart(path, mode)
	if err != nil {
		return nil, err
	}
	f := &File{file: file, path: path}
	if before != nil {
		f.mode = before.Mode().Perm()
		return f, nil
	}
	info, err := file.Stat()
	if err == nil {
		f.mode = info.Mode().Perm()
		err = chmod(file, 0o600)
	}
	if err != nil {
		return nil, both(err, f.Discard())
	}
	return f, nil
}

func through(file *os.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return &File{file: file}, nil
}

// Write appends p to the file.
func (f *File) Write(p []byte) (int, error) { return f.file.Write(p) }

// Restart drops what was written. The error is [errors.ErrUnsupported] if writes go through.
func (f *File) Restart() error {
	if f.path == "" {
		return errors.ErrUnsupported
	}
	if err := f.file.Truncate(0); err != nil {
		return err
	}
	_, err := f.file.Seek(0, 0)
	return err
}

// Commit brings the file to disk and gives it its name, and its mode and owner if it replaces one. It tries to
// bring the name to disk too. A failure of that is no error, since some network file systems cannot.
func (f *File) Commit() error {
	if f.path == "" {
		f.finished = true
		return f.file.Close()
	}
	if err := f.file.Sync(); err != nil && !isUnsupported(err) {
		return err
	}
	if err := f.rename(); err != nil {
		return err
	}
	_ = syncFolder(filepath.Dir(f.path))
	return nil
}

// rename gives the file its name, and closes it. Windows does not rename an open file; on other systems the
// lock is kept until the file has its name.
func (f *File) rename() error {
	if err := f.inherit(); err != nil {
		return err
	}
	if !renamesOpenFiles {
		if err := f.file.Close(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.file.Name(), f.path); err != nil {
		return err
	}
	f.finished = true
	if renamesOpenFiles {
		return f.file.Close()
	}
	return nil
}

// inherit gives the file the mode and the owner of the file that it replaces. If the group cannot be kept,
// the new group gets only the permissions of others.
func (f *File) inherit() error {
	mode := f.mode
	if old, err := os.Stat(f.path); err == nil && old.Mode().IsRegular() {
		mode = old.Mode().Perm()
		if !keepOwner(f.file, old) {
			mode = mode&^0o070 | mode&0o007<<3
		}
	}
	return chmod(f.file, mode)
}

// chmod sets the permissions of file. File systems that have none are no error.
func chmod(file *os.File, mode fs.FileMode) error {
	err := file.Chmod(mode)
	if errors.Is(err, fs.ErrPermission) || isUnsupported(err) {
		return nil
	}
	return err
}

// Discard removes the temporary file. It does nothing after Commit, so that it can be deferred.
func (f *File) Discard() error {
	if f.finished {
		return nil
	}
	f.finished = true
	if f.path == "" {
		return f.file.Close()
	}
	closeErr := f.file.Close() // first: Windows does not remove an open file
	if errors.Is(closeErr, fs.ErrClosed) {
		closeErr = nil
	}
	removeErr := os.Remove(f.file.Name())
	if errors.Is(removeErr, fs.ErrNotExist) {
		removeErr = nil
	}
	return both(removeErr, closeErr)
}

// WriteFile writes data to a file at path, or replaces the one that is there. When it returns nil, the content
// and the name are on disk. Otherwise the old file or the new one is there, each of them whole.
func WriteFile(path string, data []byte) error {
	path, err := target(path)
	if err != nil {
		return err
	}
	before, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if before != nil && !before.Mode().IsRegular() {
		return &fs.PathError{Op: "write", Path: path, Err: errors.New("is not a regular file")}
	}
	f, err := create(path, before)
	if err != nil {
		return err
	}
	if err := f.writeDurably(data); err != nil {
		return both(err, f.Discard())
	}
	return nil
}

func (f *File) writeDurably(data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	if err := f.rename(); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("the file has its name, which may not outlast a crash: %w", err)
	}
	return nil
}

// isUnsupported reports whether the file system has no such operation.
func isUnsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// both returns the error for two steps of which each may have failed, in one line.
func both(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return fmt.Errorf("%w; %w", first, second)
}
