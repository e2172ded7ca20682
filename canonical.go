package cdn

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// appendCanonicalRequest appends the guide's canonical request: method, canonical URI, canonical query
// string, canonical headers, signed header names and the hash of the payload, joined with line feeds.
func appendCanonicalRequest(b []byte, req *http.Request, headers []signedHeader, hashedPayload string) ([]byte, error) {
	if req.URL == nil || req.URL.Opaque != "" {
		return nil, fmt.Errorf("%w: the URL must have a host and a path, and no opaque part", ErrInvalidParameter)
	}
	b = append(b, cmp.Or(req.Method, http.MethodGet)...)
	b = append(b, '\n')
	b = appendCanonicalURI(b, req.URL.Path)
	b = append(b, '\n')
	b, err := appendCanonicalQueryString(b, req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b, err = appendCanonicalHeaders(b, headers)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b = appendSignedHeaders(b, headers)
	b = append(b, '\n')
	return append(b, hashedPayload...), nil
}

// appendCanonicalURI appends the path with each segment percent-encoded. It always ends with a slash.
func appendCanonicalURI(b []byte, path string) []byte {
	for i := range len(path) {
		if path[i] == '/' {
			b = append(b, '/')
			continue
		}
		b = appendEscaped(b, path[i])
	}
	if !strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return b
}

// queryParameter is one pair of the query string, decoded.
type queryParameter struct{ key, value string }

func parseParameter(pair string) (queryParameter, error) {
	key, value, _ := strings.Cut(pair, "=")
	key, err := url.QueryUnescape(key)
	if err != nil {
		return queryParameter{}, err
	}
	value, err = url.QueryUnescape(value)
	return queryParameter{key, value}, err
}

// compare orders parameters by key, then by value.
func (p queryParameter) compare(other queryParameter) int {
	return cmp.Or(strings.Compare(p.key, other.key), strings.Compare(p.value, other.value))
}

// appendCanonicalQueryString appends the parameters, sorted and percent-encoded. It sorts before it encodes, as the
// official SDK does: the encoded texts would sort in another order.
func appendCanonicalQueryString(b []byte, rawQuery string) ([]byte, error) {
	parameters := make([]queryParameter, 0, 8)
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" {
			continue
		}
		parameter, err := parseParameter(pair)
		if err != nil {
			return nil, fmt.Errorf("%w: query: %w", ErrInvalidParameter, err)
		}
		parameters = append(parameters, parameter)
	}
	slices.SortFunc(parameters, queryParameter.compare)
	for i, parameter := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = appendEscapedString(b, parameter.key)
		b = append(b, '=')
		b = appendEscapedString(b, parameter.value)
	}
	return b, nil
}

// signedHeader is a header that is signed: its name in lower case and all its values.
type signedHeader struct {
	name   string
	values []string
}

// headersToSign appends the headers of req that Sign covers to the empty slice headers, sorted by name.
func headersToSign(headers []signedHeader, req *http.Request) []signedHeader {
	headers = append(headers, signedHeader{"host", []string{requestHost(req)}})
	for name, values := range req.Header {
		name = lowerCase(name)
		if len(values) == 0 || !isSigned(name) {
			continue
		}
		headers = append(headers, signedHeader{name, values})
	}
	slices.SortFunc(headers, func(a, b signedHeader) int { return strings.Compare(a.name, b.name) })
	return mergeSameName(headers)
}

// isSigned reports whether Sign covers the header with this lower-case name.
func isSigned(name string) bool {
	switch name {
	// Proxies rewrite or drop these.
	case "authorization", "user-agent", "accept", "accept-encoding", "connection", "content-length", "content-type":
		return false
	// net/http ignores these in the header map and writes its own, if any.
	case "host", "trailer", "transfer-encoding":
		return false
	// These are for the next hop only. net/http does not send them over HTTP/2, and proxies remove them.
	case "expect", "keep-alive", "proxy-connection", "te", "upgrade":
		return false
	}
	return !strings.Contains(name, "_")
}

// mergeSameName merges headers whose names differ only in case: they are one header on the wire.
func mergeSameName(headers []signedHeader) []signedHeader {
	merged := headers[:1]
	for _, header := range headers[1:] {
		last := &merged[len(merged)-1]
		if header.name != last.name {
			merged = append(merged, header)
			continue
		}
		last.values = slices.Concat(last.values, header.values)
	}
	return merged
}

// lowerCase is strings.ToLower without an allocation for the most frequent names.
func lowerCase(name string) string {
	switch name {
	case headerSdkDate:
		return "x-sdk-date"
	case headerSecurityToken:
		return "x-security-token"
	case headerAuthorization:
		return "authorization"
	case "Accept":
		return "accept"
	case "Content-Type":
		return "content-type"
	case "User-Agent":
		return "user-agent"
	}
	return strings.ToLower(name)
}

// appendCanonicalHeaders appends a line for each value, the values of a header sorted.
func appendCanonicalHeaders(b []byte, headers []signedHeader) ([]byte, error) {
	for _, header := range headers {
		for _, value := range canonicalValues(header.values) {
			if strings.ContainsFunc(value, isLineBreak) {
				return nil, fmt.Errorf("%w: header %s has a line break in its value", ErrInvalidParameter, header.name)
			}
			b = append(b, header.name...)
			b = append(b, ':')
			b = append(b, strings.TrimSpace(value)...)
			b = append(b, '\n')
		}
	}
	return b, nil
}

// isLineBreak reports whether c ends a header for net/http, a proxy or a server.
func isLineBreak(c rune) bool { return c == '\r' || c == '\n' || c == 0 }

// canonicalValues returns values sorted by their trimmed text, since white space around them is not sent.
func canonicalValues(values []string) []string {
	if len(values) < 2 {
		return values
	}
	return slices.SortedFunc(slices.Values(values), func(a, b string) int {
		return strings.Compare(strings.TrimSpace(a), strings.TrimSpace(b))
	})
}

// appendSignedHeaders appends the names of the signed headers, joined with semicolons.
func appendSignedHeaders(b []byte, headers []signedHeader) []byte {
	for i, header := range headers {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, header.name...)
	}
	return b
}

// signedValue returns the first value of the header with this lower-case name, and whether it is signed.
func signedValue(headers []signedHeader, name string) (string, bool) {
	for _, header := range headers {
		if header.name == name {
			return strings.TrimSpace(header.values[0]), true
		}
	}
	return "", false
}

const upperHex = "0123456789ABCDEF"

func appendEscapedString(b []byte, s string) []byte {
	for i := range len(s) {
		b = appendEscaped(b, s[i])
	}
	return b
}

// appendEscaped appends c, percent-encoded unless it is an unreserved character of RFC 3986.
func appendEscaped(b []byte, c byte) []byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}
