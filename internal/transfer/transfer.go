// Package transfer copies a file from an object store. A copy that breaks is resumed only if the rest provably belongs
// to what is written, and started over otherwise. The package knows nothing of export tasks.
package transfer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// ErrMalformed is wrapped by errors about a link that is not allowed, and about a response that is neither the file
// nor the part of it that was asked for.
var ErrMalformed = errors.New("malformed response")

// Config sets up [Copy]. Client, Logger, MaxAttempts, the delays and AttemptTimeout are required.
type Config struct {
	// Client has the transport and the timeout of each attempt. Its cookies and its rules for redirects are not
	// used.
	Client    *http.Client
	UserAgent string
	Logger    *slog.Logger
	// MaxAttempts is how many attempts in a row may bring no byte, and how many times the file may be begun.
	MaxAttempts int
	// MinBackoff and MaxBackoff bound the delay between two attempts.
	MinBackoff, MaxBackoff time.Duration
	// AttemptTimeout is how long the store may send nothing.
	AttemptTimeout time.Duration
	// Loopback allows links to this machine, also without encryption.
	Loopback bool
	// OnRequest is called after each request to the store. It may be nil.
	OnRequest func(Request)
	// InsecureHTTP allows links without encryption to any other machine.
	InsecureHTTP bool
	// Link is the first link. The source is called if Link is nil, refused or expired.
	Link *url.URL
	// Report is called at most 10 times a second, and at the end of a copy that succeeds. total is -1 if it is
	// unknown. Report may be nil.
	Report func(written, total int64)
}

// Source returns a link to the file. It is called again if a link has expired or was refused. [Copy] returns its
// errors unchanged.
type Source func(ctx context.Context) (*url.URL, error)

// Sink receives the bytes of a file. [Copy] returns its errors unchanged, or wrapped in an [*Error].
type Sink interface {
	io.Writer
	// Restart drops what was written. The error is [errors.ErrUnsupported] if the sink cannot do that.
	Restart() error
}

// Writer is a [Sink] that keeps what was written.
type Writer struct{ io.Writer }

// Restart returns [errors.ErrUnsupported].
func (Writer) Restart() error { return errors.ErrUnsupported }

// Copy copies the file of source to sink in constant memory, and returns how many bytes of it are in sink. The length
// is not limited. An error that is not the source's or the context's is an [*Error].
func Copy(ctx context.Context, config Config, source Source, sink Sink) (int64, error) {
	d := &download{Config: config, source: source, sink: sink}
	d.client = http.Client{Transport: config.Client.Transport, Timeout: config.Client.Timeout, CheckRedirect: d.checkRedirect}
	d.forget()
	err := d.run(ctx)
	return d.written, err
}

// Error is the end of a copy that failed.
type Error struct {
	// Cause is the error of the last attempt: a [*StoreError], one that wraps [ErrMalformed], the sink's, or one
	// of the connection.
	Cause error
	// Note says why there was no other attempt. It may be empty.
	Note string
	// Ended is the error of the context, if it ended in the delay before another attempt.
	Ended error
}

// Error returns one line.
func (e *Error) Error() string {
	text := e.Cause.Error()
	if e.Note != "" {
		text += " (" + e.Note + ")"
	}
	if e.Ended != nil {
		text = e.Ended.Error() + "; the last attempt before that: " + text
	}
	return text
}

// Unwrap returns Ended, if it is not nil, and Cause.
func (e *Error) Unwrap() []error {
	if e.Ended == nil {
		return []error{e.Cause}
	}
	return []error{e.Ended, e.Cause}
}

// sinkError is an error of the sink. Another attempt would not help.
type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }
