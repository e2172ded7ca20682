package transfer

import (
	"crypto/fips140"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// part is the body of a response: the bytes of the file from download.written on.
type part struct {
	body io.Reader
	// end is the offset behind the last byte; -1 if the response does not say.
	end int64
	// whole reports whether the file ends with the body.
	whole bool
}

var (
	// errComplete is the error of a response that proves that all bytes are written.
	errComplete = errors.New("the file is complete")
	errChanged  = fmt.Errorf("%w: the file has changed since the download began", ErrMalformed)
	errUnproved = fmt.Errorf("%w: the response does not prove that the file is still the same", ErrMalformed)
)

// accept returns the part of the file that the response has. It reads only the bytes before that part.
func (d *download) accept(resp *http.Response, silence *silence) (*part, error) {
	resumed := d.written > 0
	switch resp.StatusCode {
	case http.StatusOK:
		if resumed {
			return d.acceptRepeated(resp, silence)
		}
		return d.acceptWhole(resp, silence)
	case http.StatusPartialContent:
		return d.acceptPart(resp, silence)
	case http.StatusPreconditionFailed:
		if resumed {
			return nil, &startOver{errChanged}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if !resumed {
			return nil, fmt.Errorf("%w: status %d for the whole file", ErrMalformed, resp.StatusCode)
		}
		return nil, d.acceptNothing(resp)
	}
	return nil, d.storeError(resp, silence)
}

// acceptWhole handles a 200 to the request for the whole file.
func (d *download) acceptWhole(resp *http.Response, silence *silence) (*part, error) {
	if contentRangeOf(resp.Header) != "" {
		return nil, fmt.Errorf("%w: status 200 with a Content-Range, as if it were a part", ErrMalformed)
	}
	if !endIsProof(resp) {
		return nil, fmt.Errorf("%w: the response has no length and ends with its connection, so it cannot be told whether it is complete", ErrMalformed)
	}
	d.forget()
	switch encoding := encoding(resp); encoding {
	case "":
	case "gzip", "x-gzip":
		// Ranges, ETag and MD5 are those of the encoded bytes. gzip has a length and a sum of its own.
		return &part{silence.bounded(&gzipReader{body: resp.Body}), -1, true}, nil
	default:
		return nil, fmt.Errorf("%w: the file came with the Content-Encoding %q, which was not asked for",
			ErrMalformed, redact.Excerpt(d.keys.redact(encoding), redact.Short))
	}
	d.total, d.etag = resp.ContentLength, strongETag(resp.Header)
	if resp.Uncompressed { // by a transport that asked for gzip by itself
		d.total, d.etag = -1, ""
	} else if sum := resp.Header.Get("Content-MD5"); sum != "" && !fips140.Enforced() {
		d.wantMD5, d.sum = sum, md5.New()
	}
	return &part{silence.bounded(resp.Body), d.total, true}, nil
}

// endIsProof reports whether the end of a body proves that the body is complete. The end of an HTTP/1 connection
// proves nothing.
func endIsProof(resp *http.Response) bool {
	return resp.ContentLength >= 0 || resp.ProtoMajor >= 2 || resp.Uncompressed ||
		len(resp.TransferEncoding) > 0 && resp.TransferEncoding[0] == "chunked"
}

// encoding returns the Content-Encoding in lower case. It is empty if there is none.
func encoding(resp *http.Response) string {
	value := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header.Values("Content-Encoding"), ", ")))
	if value == "identity" {
		return ""
	}
	return value
}

// acceptRepeated handles a 200 to the request for the rest of the file, from a store that ignores ranges. It skips
// the bytes that are written if the ETag and the length prove that the response is the whole of the same file.
func (d *download) acceptRepeated(resp *http.Response, silence *silence) (*part, error) {
	etag := strongETag(resp.Header)
	switch {
	case etag != "" && etag != d.etag:
		return nil, &startOver{errChanged}
	case etag == "" || resp.ContentLength < 0 || resp.ContentLength != d.total ||
		encoding(resp) != "" || contentRangeOf(resp.Header) != "":
		return nil, &startOver{errUnproved}
	}
	body := silence.bounded(resp.Body)
	// Skipping may take as long as the bytes took at first, and one silence more.
	timer := time.AfterFunc(d.received+silence.limit, silence.end)
	defer timer.Stop()
	if _, err := io.CopyN(io.Discard, body, d.written); err != nil {
		return nil, bodyError{d.withoutKeys(unexpected(err))}
	}
	return &part{body, d.total, true}, nil
}

// acceptPart handles a 206.
func (d *download) acceptPart(resp *http.Response, silence *silence) (*part, error) {
	value := contentRangeOf(resp.Header)
	got, ok := parseContentRange(value)
	if !ok || got.start != d.written {
		return nil, fmt.Errorf("%w: asked for the bytes from %d on, got Content-Range %q",
			ErrMalformed, d.written, redact.Excerpt(d.keys.redact(value), redact.Short))
	}
	if encoding(resp) != "" || resp.Uncompressed {
		return nil, fmt.Errorf("%w: a part of the file came with a Content-Encoding, which was not asked for", ErrMalformed)
	}
	etag := strongETag(resp.Header)
	switch {
	case d.written == 0: // the first part, which was not asked for
		d.forget()
		d.total, d.etag = got.total, etag
	case etag != "" && etag != d.etag:
		return nil, &startOver{errChanged}
	case etag == "" || d.total >= 0 && got.total >= 0 && got.total != d.total:
		return nil, &startOver{errUnproved}
	case d.total < 0:
		d.total = got.total
	}
	return &part{silence.bounded(resp.Body), got.end, got.end == d.total}, nil
}

// acceptNothing handles a 416, which says that the file ends before the bytes that were asked for. All bytes are
// written if the ETag is the same and no length contradicts that.
func (d *download) acceptNothing(resp *http.Response) error {
	if d.total >= 0 || strongETag(resp.Header) != d.etag {
		return &startOver{errUnproved}
	}
	value := contentRangeOf(resp.Header)
	if total, ok := parseUnsatisfied(value); value != "" && (!ok || total != d.written) {
		return &startOver{errUnproved}
	}
	return errComplete
}
