package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks is how many symbolic links target follows. It is Linux's limit.
const maxLinks = 40

// target returns the path that symbolic links lead to. A link that dangles leads to the file that it names.
func target(path string) (string, error) {
	for range maxLinks {
		folder, name := filepath.Split(path)
		// The kernel resolves a link in folder before a ".." behind it. A folder that cannot be resolved fails later.
		if resolved, err := filepath.EvalSymlinks(folder); err == nil {
			folder, path = resolved, filepath.Join(resolved, name)
		}
		if _, ok := descriptor(path); ok {
			return path, nil
		}
		link, err := os.Readlink(path)
		switch {
		case err != nil:
			return path, nil // it is not a link
		case filepath.IsAbs(link):
			path = link
		default:
			path = folder + string(filepath.Separator) + link
		}
	}
	return "", &fs.PathError{Op: "create", Path: path, Err: errors.New("too many symbolic links")}
}
