package atomicfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxLinks is how many symbolic links are followed, one behind the other. It is Linux's limit.
const maxLinks = 40

// target returns where path leads. A symbolic link that dangles leads to the file that it names.
func target(path string) (string, error) {
	for range maxLinks {
		folder, name := filepath.Split(path)
		// Of the folder's own links the kernel's view counts. If it cannot be had, creating will say why.
		if resolved, err := filepath.EvalSymlinks(folder); err == nil {
			folder, path = resolved, filepath.Join(resolved, name)
		}
		if _, ok := descriptor(path); ok {
			return path, nil
		}
		link, err := os.Readlink(path)
		switch {
		case err != nil:
			return path, nil // it is no link
		case filepath.IsAbs(link):
			path = link
		default:
			path = folder + string(filepath.Separator) + link
		}
	}
	return "", &fs.PathError{Op: "create", Path: path, Err: errors.New("too many symbolic links")}
}

// pipePause is the time between two attempts to open a named pipe that has no reader.
const pipePause = 20 * time.Millisecond

// openDevice opens what is not a regular file. A named pipe is opened when it has a reader.
func openDevice(ctx context.Context, path string, mode fs.FileMode) (*os.File, error) {
	if mode&fs.ModeNamedPipe == 0 {
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	for {
		file, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, noReader) {
			return file, err
		}
		select {
		case <-time.After(pipePause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
