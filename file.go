package cdn

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// atomicFile is a file that gets its name when it is complete.
type atomicFile struct {
	*os.File
	path string // the name to be
}

// createBeside creates a temporary file in the folder of path, with the permissions of the file that
// is there, or those of any new file.
func createBeside(path string) (*atomicFile, error) {
	if path == "" {
		return nil, invalid("path", path, "must not be empty")
	}
	// A link is kept, and the file it leads to is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	before, err := os.Stat(path)
	switch {
	case err == nil && !before.Mode().IsRegular():
		return nil, invalid("path", path, "is not a regular file")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:10]+".part")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	f := &atomicFile{file, path}
	if before != nil {
		if err := file.Chmod(before.Mode().Perm()); err != nil {
			return nil, f.discardAfter(err)
		}
	}
	return f, nil
}

// restart empties the file.
func (f *atomicFile) restart() error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, 0)
	return err
}

// commit brings the file to disk and gives it its name.
func (f *atomicFile) commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

// discardAfter removes the file because of err, which it gives back with what goes wrong besides.
func (f *atomicFile) discardAfter(err error) error {
	if closeErr := f.Close(); closeErr != nil && !errors.Is(closeErr, fs.ErrClosed) {
		err = fmt.Errorf("%w; %w", err, closeErr)
	}
	if removeErr := os.Remove(f.Name()); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = fmt.Errorf("%w; %w", err, removeErr)
	}
	return err
}

// syncFolder makes a new name last. Windows has no such call and needs none, and some file systems
// refuse it.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return cmp.Or(err, folder.Close())
}
