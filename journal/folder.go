package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// folder is the folder of a Dir as OpenDir found it.
type folder struct {
	path string
	info fs.FileInfo
	// file keeps the folder open. A file system gives the inode of a removed folder to the next new one, but not
	// while it is open. The file is closed when the Dir is garbage. It is nil on Windows, which uses no id twice.
	file *os.File
}

// openFolder returns the folder path, which must exist.
func openFolder(path string) (*folder, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if runtime.GOOS == "windows" {
		return &folder{path: path, info: info}, file.Close()
	}
	return &folder{path, info, file}, nil
}

// check returns an error if the path leads to another folder by now, as after its file system was unmounted. An
// empty folder in its place would free all keys.
func (f *folder) check() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, f.info) {
		return fmt.Errorf("%s was replaced since OpenDir", f.path)
	}
	return nil
}

// createFolder creates the folder path if it is missing. The new name is durable: a folder that a power failure
// takes away would free all of its keys.
func createFolder(path string) error {
	err := os.Mkdir(path, folderMode)
	switch {
	case err == nil:
		return syncFolder(filepath.Dir(path))
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: create the parent folder first", err)
	}
	return err
}
