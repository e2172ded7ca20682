package journal

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// partSuffix ends the name of a temporary file. Only the holder of the lock writes, so one name for each key is enough.
const partSuffix = ".part"

// writeFile replaces the file path by one with this content. Content and name are on disk before it returns nil.
func writeFile(path string, content []byte) error {
	file, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder brings the names in the folder path to disk. Windows has no such call: there a rename is durable by the
// file system's own log. A file system that has none is an error, as it would lose records.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
