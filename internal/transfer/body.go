package transfer

import (
	"compress/flate"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"
)

const bufferSize = 64 << 10

// copy writes a part to the sink.
func (d *download) copy(part *part) error {
	if d.buffer == nil {
		d.buffer = make([]byte, bufferSize)
	}
	for {
		start := time.Now()
		n, err := part.Read(d.buffer)
		d.received += time.Since(start)
		if n > 0 {
			if part.end >= 0 && d.written+int64(n) > part.end {
				return fmt.Errorf("%w: more than the %d bytes that the store announced", ErrMalformed, part.end)
			}
			if err := d.write(d.buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return d.checkEnd(part)
		case errors.Is(err, ErrMalformed):
			return err
		case err != nil:
			return d.withoutKeys(err)
		}
	}
}

func (d *download) write(chunk []byte) error {
	n, err := d.sink.Write(chunk)
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

// checkEnd returns an error if the end of a part is not the end of the file. A part that ends where it said is a
// store's limit on ranges.
func (d *download) checkEnd(part *part) error {
	switch {
	case part.end >= 0 && d.written < part.end:
		return fmt.Errorf("%d of %d bytes: %w", d.written, part.end, io.ErrUnexpectedEOF)
	case !part.whole:
		return fmt.Errorf("a part of the file: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// finish checks the whole file.
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

// gzipReader decodes a body. It reads nothing before the first Read.
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

// ofGzip marks the errors of the decoder; others are those of the connection.
func ofGzip(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, new(flate.CorruptInputError)) {
		return fmt.Errorf("%w: the file came with the Content-Encoding gzip, and is not that: %w", ErrMalformed, err)
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
