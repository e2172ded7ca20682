//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// pipePause is the time between two attempts to open a named pipe that has no reader.
const pipePause = 20 * time.Millisecond

// pipe is the writing end of a named pipe. Each write ends with the context.
type pipe struct {
	file *os.File
	ctx  context.Context
	// stop releases the context.
	stop func() bool
}

// openPipe opens a named pipe as soon as it has a reader. It returns the context's error if that ends before.
func openPipe(ctx context.Context, path string) (*pipe, error) {
	for {
		file, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return newPipe(ctx, file), nil
		}
		if !errors.Is(err, syscall.ENXIO) { // it has a reader
			return nil, err
		}
		select {
		case <-time.After(pipePause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func newPipe(ctx context.Context, file *os.File) *pipe {
	p := &pipe{file: file, ctx: ctx}
	if file.SetWriteDeadline(time.Time{}) != nil {
		// On macOS, Go does not wait until such a file is writable: it must block.
		_ = syscall.SetNonblock(int(file.Fd()), false)
	}
	p.stop = context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	return p
}

// Write returns the context's error if that ends before the reader has read enough.
func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = p.ctx.Err()
	}
	return n, err
}

func (p *pipe) Close() error {
	p.stop()
	return p.file.Close()
}
