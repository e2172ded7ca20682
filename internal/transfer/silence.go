package transfer

import (
	"context"
	"fmt"
	"io"
	"time"
)

// silence ends an attempt in which the store sends nothing for the limit.
type silence struct {
	timer *time.Timer
	limit time.Duration
	end   func()
}

// newSilence returns a silence whose timer runs already.
func newSilence(limit time.Duration, cancel context.CancelCauseFunc) *silence {
	stalled := fmt.Errorf("no byte within %v: %w", limit, context.DeadlineExceeded)
	end := func() { cancel(stalled) }
	return &silence{time.AfterFunc(limit, end), limit, end}
}

// bounded returns a reader of which each Read has the limit.
func (s *silence) bounded(r io.Reader) io.Reader { return &boundedReader{r, s} }

type boundedReader struct {
	reader  io.Reader
	silence *silence
}

func (r *boundedReader) Read(p []byte) (int, error) {
	r.silence.timer.Reset(r.silence.limit)
	defer r.silence.timer.Stop()
	return r.reader.Read(p)
}
