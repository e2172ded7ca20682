// Package journal remembers in a folder which export belongs to which key, for cdn.WithJournal.
//
// The processes of one machine share a folder. The operating system's file lock excludes them from each other,
// and each record is on disk before Store returns. The folder must be on a file system with locks that all of
// these processes see; package pgjournal is for several machines.
package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockName   = "lock" // no record has this name: records have a suffix
	folderMode = 0o700
	fileMode   = 0o600
)

// Dir is a journal in a folder. It implements cdn.Journal and is safe for concurrent use. Several Dirs on one
// folder exclude each other, in one process and in many.
type Dir struct {
	path   string
	folder *folder
	turn   chan struct{} // a semaphore: one caller of this Dir at a time competes for the file lock

	mu       sync.Mutex
	held     *flock.Flock // nil if this Dir does not hold the lock
	swept    bool         // whether the leftovers of crashed processes are removed
	released time.Time    // when this Dir last released the lock
}

// OpenDir opens the journal in the folder path. It creates the folder with mode 0700 if it is missing; its parent
// must exist. One folder serves one account: the keys of two accounts in one folder would be the same keys.
//
// OpenDir takes no lock and reads no record. An error says that path is no folder or cannot be written.
func OpenDir(path string) (*Dir, error) {
	d, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("journal: OpenDir: %w", err)
	}
	return d, nil
}

func openDir(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("path is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := createFolder(path); err != nil {
		return nil, err
	}
	folder, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := lock.Close(); err != nil {
		return nil, err
	}
	return &Dir{path: path, folder: folder, turn: make(chan struct{}, 1)}, nil
}
