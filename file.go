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

	"example.com/huaweicloud/cdn/internal/redact"
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
	// A link to a file is kept, and the file replaced.
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
	// Most file systems have room for 255 bytes.
	name := filepath.Join(filepath.Dir(path), "."+redact.Cut(filepath.Base(path), 200)+"."+rand.Text()[:10]+".part")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	f := &atomicFile{file, path}
	if before != nil {
		if err := file.Chmod(before.Mode().Perm()); err != nil {
			_ = f.discard() // it is empty, and what matters is err
			return nil, err
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

// commit brings the file to disk and gives it its name. Where the name itself cannot be brought to disk,
// the error says so: the file has it nevertheless.
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
	if err := syncFolder(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("the file is complete and has its name, which may not outlast a crash: %w", err)
	}
	return nil
}

// discard removes the file.
func (f *atomicFile) discard() error {
	closeErr, removeErr := f.Close(), os.Remove(f.Name())
	if errors.Is(closeErr, fs.ErrClosed) {
		closeErr = nil
	}
	if errors.Is(removeErr, fs.ErrNotExist) {
		removeErr = nil
	}
	return cmp.Or(closeErr, removeErr)
}

// syncFolder makes a new name last. Windows has no such call and needs none, some file systems refuse it,
// and a folder that may be written and not read cannot be opened for it.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return cmp.Or(err, folder.Close())
}
