package cdntest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// unmet returns 412 or 304 if the file does not meet the conditions of a request, and 0 if it does. As in RFC 9110,
// section 13.2.2, an ETag counts before a date. An invalid date is ignored.
func (f *file) unmet(header http.Header) int {
	modified := f.modified.Truncate(time.Second)
	if match := header.Get("If-Match"); match != "" {
		if !f.matches(match) {
			return http.StatusPreconditionFailed
		}
	} else if date, err := http.ParseTime(header.Get("If-Unmodified-Since")); err == nil && modified.After(date) {
		return http.StatusPreconditionFailed
	}
	if match := header.Get("If-None-Match"); match != "" {
		if f.matches(match) {
			return http.StatusNotModified
		}
	} else if date, err := http.ParseTime(header.Get("If-Modified-Since")); err == nil && !modified.After(date) {
		return http.StatusNotModified
	}
	return 0
}

// matches reports whether the file's ETag is among those listed.
func (f *file) matches(list string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == f.etag() {
			return true
		}
	}
	return false
}

// byteRange is a part of a file. One of length 0 cannot be satisfied.
type byteRange struct{ start, length int64 }

func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, size)
}

// parseRange returns the part that a Range header asks for, and whether it asks for one. A malformed header or one
// with several parts asks for none: the part is the whole file.
func parseRange(header string, size int64) (part byteRange, asked bool) {
	whole := byteRange{0, size}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok || !strings.HasPrefix(header, "bytes=") {
		return whole, false
	}
	if first == "" {
		length, ok := position(last)
		if !ok {
			return whole, false
		}
		length = min(length, size)
		return byteRange{size - length, length}, true
	}
	start, ok := position(first)
	if !ok {
		return whole, false
	}
	end := size - 1
	if last != "" {
		if end, ok = position(last); !ok || end < start {
			return whole, false
		}
		end = min(end, size-1)
	}
	return byteRange{start, max(0, end-start+1)}, true
}

// position parses an integer without a sign.
func position(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}
