package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/huaweicloud/cdn/internal/redact"
)

const (
	// partSuffix ends the name of a temporary file.
	partSuffix = ".part"
	// partRandom is the length of the random part of the name.
	partRandom = 10
	// partAlphabet is that of rand.Text.
	partAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	// maxPartPrefix is how much of the final name is kept, in bytes. Most file systems allow names of 255.
	maxPartPrefix = 200
	// partAttempts is how often a temporary file is created if others remove it.
	partAttempts = 20
)

// partPrefix returns how the names of temporary files for path begin.
func partPrefix(path string) string {
	return "." + redact.Cut(filepath.Base(path), maxPartPrefix) + "."
}

// isPart reports whether name is that of a temporary file with this prefix.
func isPart(name, prefix string) bool {
	name, begins := strings.CutPrefix(name, prefix)
	random, ends := strings.CutSuffix(name, partSuffix)
	return begins && ends && len(random) == partRandom && strings.Trim(random, partAlphabet) == ""
}

// createPart creates a temporary file for path and locks it for as long as it is open. Another process may remove
// the file before it is locked. Then createPart creates the next one.
func createPart(path string, mode fs.FileMode) (*os.File, error) {
	prefix := filepath.Join(filepath.Dir(path), partPrefix(path))
	for range partAttempts {
		file, err := os.OpenFile(prefix+rand.Text()[:partRandom]+partSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return nil, err
		}
		// On a file system without locks, no process removes the file.
		if !errors.Is(lock(file), errLocked) && hasName(file) {
			return file, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
	return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New("its temporary files are removed by others")}
}

// hasName reports whether file is still the file of its name.
func hasName(file *os.File) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(opened, named)
}

// removeAbandoned removes the temporary files for path that no living process holds. It leaves those that it cannot
// remove.
func removeAbandoned(path string) {
	entries, _ := os.ReadDir(filepath.Dir(path))
	prefix := partPrefix(path)
	for _, entry := range entries {
		if !isPart(entry.Name(), prefix) {
			continue
		}
		name := filepath.Join(filepath.Dir(path), entry.Name())
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
			removeUnheld(name, info)
		}
	}
}
