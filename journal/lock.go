package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockPause is the time between two attempts to take the file lock.
const lockPause = 25 * time.Millisecond

// Lock takes the journal's lock and returns the function that releases it. It waits for other goroutines and
// processes until ctx ends; the error then wraps the cause of ctx. The operating system releases the lock of a
// process that ends.
//
// The lock is not reentrant: a second Lock waits until the first one is released, in the same goroutine too.
// A second call of unlock does nothing.
func (d *Dir) Lock(ctx context.Context) (unlock func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("journal: lock %s: %w", d.path, context.Cause(ctx))
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("journal: lock %s: held or awaited by another caller of this process: %w", d.path, context.Cause(ctx))
	}
	if err := d.lock(ctx); err != nil {
		<-d.turn
		return nil, fmt.Errorf("journal: lock %s: %w", d.path, err)
	}
	return sync.OnceFunc(d.unlock), nil
}

// lock takes the file lock. The turn is the caller's.
func (d *Dir) lock(ctx context.Context) error {
	if err := d.giveWay(ctx); err != nil {
		return err
	}
	for {
		if err := d.folder.check(); err != nil {
			return err
		}
		file := flock.New(filepath.Join(d.path, lockName), flock.SetPermissions(fileMode), flock.SetFlag(os.O_RDWR|os.O_CREATE))
		_, err := file.TryLockContext(ctx, lockPause)
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("held by another process or Dir: %w", context.Cause(ctx))
		case err != nil:
			return explainLockError(err)
		}
		// A lock file that lost its name while Lock waited excludes no other process.
		if !isCurrent(file) {
			if err := file.Close(); err != nil {
				return err
			}
			continue
		}
		if err := d.take(file); err != nil {
			return errors.Join(err, file.Close())
		}
		return nil
	}
}

// giveWay pauses for longer than lockPause since this Dir last released the lock. Without it, one process with
// many callers would keep all others from the lock.
func (d *Dir) giveWay(ctx context.Context) error {
	d.mu.Lock()
	pause := 2*lockPause - time.Since(d.released)
	d.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take notes that this Dir holds the lock by file. The first time, it removes what crashed processes left.
func (d *Dir) take(file *flock.Flock) error {
	d.mu.Lock()
	swept := d.swept
	d.mu.Unlock()
	if !swept {
		if err := d.sweep(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held, d.swept = file, true
	return nil
}

// sweep removes the temporary files of processes that ended during a Store. Only the holder of the lock writes,
// so none is in use.
func (d *Dir) sweep() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), partSuffix) && entry.Type().IsRegular() {
			if err := os.Remove(filepath.Join(d.path, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlock releases the lock. Closing the file releases it too, so an error leaves nothing to do.
func (d *Dir) unlock() {
	d.mu.Lock()
	file := d.held
	d.held, d.released = nil, time.Now()
	d.mu.Unlock()
	_ = file.Close()
	<-d.turn
}

// checkHeld returns an error if this Dir does not hold the lock, or if its file or folder was replaced since: then
// another process may hold a lock as well.
func (d *Dir) checkHeld() error {
	d.mu.Lock()
	file := d.held
	d.mu.Unlock()
	if file == nil {
		return errors.New("the lock is not held: call Lock first")
	}
	if err := d.folder.check(); err != nil {
		return err
	}
	if !isCurrent(file) {
		return fmt.Errorf("%s was removed or replaced while it was locked", file.Path())
	}
	return nil
}

// isCurrent reports whether the locked file still has the name of the lock file.
func isCurrent(file *flock.Flock) bool {
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Path())
	return err == nil && os.SameFile(locked, named)
}

// explainLockError adds what to do if the file system has no locks.
func explainLockError(err error) error {
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK) {
		return fmt.Errorf("%w: this file system has no locks; use a local disk, or pgjournal between machines", err)
	}
	return err
}
