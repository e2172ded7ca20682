package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Load returns the record of key, or nil if there is none. The caller holds the lock. A file that is damaged,
// foreign or written by a newer release is an error that names it.
func (d *Dir) Load(ctx context.Context, key string) ([]byte, error) {
	path, err := d.begin(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("journal: load: %w", err)
	}
	content, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A folder that went away has no files either.
		if err := d.checkHeld(); err != nil {
			return nil, fmt.Errorf("journal: load: %w", err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: load: %w", err)
	}
	record, err := decode(key, content)
	if err != nil {
		return nil, fmt.Errorf("journal: load: %s: %w", path, err)
	}
	return record, nil
}

// Store replaces the record of key. The caller holds the lock. The record is on disk before Store returns nil. After
// an error the earlier record is still there, or the new one; never a part of one. A record has at most 1 MiB, a key
// at most 4 KiB.
func (d *Dir) Store(ctx context.Context, key string, record []byte) error {
	if len(record) > maxRecord {
		return fmt.Errorf("journal: store: the record has %d bytes, the limit is %d", len(record), maxRecord)
	}
	path, err := d.begin(ctx, key)
	if err != nil {
		return fmt.Errorf("journal: store: %w", err)
	}
	if err := writeFile(path, encode(key, record)); err != nil {
		return fmt.Errorf("journal: store: %w", err)
	}
	// An export begins after Store. If the lock was lost meanwhile, another process may begin the same one.
	if err := d.checkHeld(); err != nil {
		return fmt.Errorf("journal: store: %w", err)
	}
	return nil
}

// begin returns the path of key's file.
func (d *Dir) begin(ctx context.Context, key string) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if len(key) > maxKey {
		return "", fmt.Errorf("the key has %d bytes, the limit is %d", len(key), maxKey)
	}
	if err := d.checkHeld(); err != nil {
		return "", err
	}
	return filepath.Join(d.path, fileName(key)), nil
}

// readFile returns the content of the regular file path. It never blocks, as opening a named pipe would.
func readFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s: not a record of this package: over %d bytes", path, maxFile)
	}
	return content, nil
}
