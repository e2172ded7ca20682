package transfer

import (
	"cmp"
	"compress/flate"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// bufferSize is how much is read at once, in bytes.
const bufferSize = 64 << 10

// bodyError is an error of the connection in the body of a response. Whatever it is, another connection may not
// have it.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// moreThanDeclared is in the error of net/http's HTTP/2 for a body that is longer than its Content-Length. net/http
// exports no such error.
const moreThanDeclared = "more than declared Content-Length"

func tooLong(part *part) error {
	return fmt.Errorf("%w: more than the %d bytes that the store announced", ErrMalformed, part.end)
}

// copy writes a part to the sink.
func (d *download) copy(part *part) error {
	if d.buffer == nil {
		d.buffer = make([]byte, bufferSize)
	}
	for {
		start := time.Now()
		n, err := part.body.Read(d.buffer)
		d.received += time.Since(start)
		if n > 0 {
			if part.end >= 0 && d.written+int64(n) > part.end {
				return tooLong(part)
			}
			if err := d.write(d.buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF: // an EOF that is wrapped is an error of a connection
			return d.checkEnd(part)
		case errors.Is(err, ErrMalformed):
			return err
		case err != nil && strings.Contains(err.Error(), moreThanDeclared):
			return tooLong(part)
		case err != nil:
			return bodyError{d.withoutKeys(err)}
		}
	}
}

// errInvalidWrite is the error for a sink that breaks the rules of [io.Writer].
var errInvalidWrite = errors.New("the writer returned a count that is impossible")

// write writes chunk to the sink and reports progress.
func (d *download) write(chunk []byte) error {
	n, err := d.sink.Write(chunk)
	if n < 0 || n > len(chunk) {
		n, err = 0, cmp.Or(err, errInvalidWrite)
	}
	d.written += int64(n)
	switch {
	case err != nil:
		return sinkError{err}
	case n < len(chunk):
		return sinkError{io.ErrShortWrite}
	}
	if d.sum != nil {
		d.sum.Write(chunk)
	}
	if d.Report != nil && time.Since(d.reportedAt) >= reportInterval {
		d.reportedAt = time.Now()
		d.Report(d.written, d.total)
	}
	return nil
}

// checkEnd returns an error if the end of a part is not the end of the file. A store may limit the length of parts.
func (d *download) checkEnd(part *part) error {
	switch {
	case part.end >= 0 && d.written < part.end:
		return fmt.Errorf("%d of %d bytes: %w", d.written, part.end, io.ErrUnexpectedEOF)
	case !part.whole:
		return fmt.Errorf("a part of the file: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// finish checks the whole file and reports the last progress.
func (d *download) finish() error {
	if d.sum != nil {
		if got := base64.StdEncoding.EncodeToString(d.sum.Sum(nil)); got != d.wantMD5 {
			return &Error{Cause: fmt.Errorf("%w: the file's MD5 is %s, which is not what the store announced", ErrMalformed, got)}
		}
	}
	if d.Report != nil {
		d.Report(d.written, d.total)
	}
	return nil
}

// gzipReader decodes a body, from the first Read on.
type gzipReader struct {
	body    io.Reader
	decoder *gzip.Reader
}

// Read returns an error that wraps [ErrMalformed] if the body is not gzip.
func (r *gzipReader) Read(p []byte) (int, error) {
	if r.decoder == nil {
		decoder, err := gzip.NewReader(r.body)
		if err != nil {
			return 0, ofGzip(unexpected(err))
		}
		r.decoder = decoder
	}
	n, err := r.decoder.Read(p)
	return n, ofGzip(err)
}

// ofGzip wraps errors of the decoder in [ErrMalformed]. It returns errors of the connection unchanged.
func ofGzip(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, new(flate.CorruptInputError)) {
		return fmt.Errorf("%w: the file came with the Content-Encoding gzip, and is not gzip: %w", ErrMalformed, err)
	}
	return err
}

// unexpected returns err, or [io.ErrUnexpectedEOF] for [io.EOF].
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
