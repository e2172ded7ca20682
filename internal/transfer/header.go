package transfer

import (
	"net/http"
	"strconv"
	"strings"
)

// contentRange is the Content-Range of a part: the bytes from start to before end. total is -1 if it is unknown.
type contentRange struct{ start, end, total int64 }

// contentRangeOf returns the Content-Range. Two of them are a value that cannot be parsed.
func contentRangeOf(header http.Header) string {
	return strings.Join(header.Values("Content-Range"), ", ")
}

// parseContentRange reads "bytes FIRST-LAST/TOTAL", with * for an unknown total.
func parseContentRange(value string) (contentRange, bool) {
	value, isBytes := strings.CutPrefix(value, "bytes ")
	bounds, total, hasTotal := strings.Cut(value, "/")
	first, last, hasBounds := strings.Cut(bounds, "-")
	start, startOK := parseOffset(first)
	end, endOK := parseOffset(last)
	if !isBytes || !hasTotal || !hasBounds || !startOK || !endOK || start > end {
		return contentRange{}, false
	}
	if total == "*" {
		return contentRange{start, end + 1, -1}, true
	}
	size, ok := parseOffset(total)
	if !ok || end >= size {
		return contentRange{}, false
	}
	return contentRange{start, end + 1, size}, true
}

// parseUnsatisfied reads "bytes */TOTAL", the Content-Range of a 416.
func parseUnsatisfied(value string) (int64, bool) {
	total, ok := strings.CutPrefix(value, "bytes */")
	if !ok {
		return 0, false
	}
	return parseOffset(total)
}

// parseOffset reads a number of bytes. It is less than 2^62, so that sums do not overflow.
func parseOffset(digits string) (int64, bool) {
	n, err := strconv.ParseUint(digits, 10, 62)
	return int64(n), err == nil
}

// strongETag returns the ETag if there is one and it is strong: files that differ in any byte have different ones.
// Otherwise it returns "".
func strongETag(header http.Header) string {
	etags := header.Values("ETag")
	if len(etags) != 1 {
		return ""
	}
	etag := etags[0]
	if len(etag) <= len(`""`) || etag[0] != '"' || strings.IndexByte(etag[1:], '"') != len(etag)-2 {
		return ""
	}
	return etag
}
