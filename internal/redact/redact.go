// Package redact prepares text of other parties for an error or a log. It bounds and cleans excerpts, and removes
// secrets and the keys in download links.
package redact

import (
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Short is the usual limit of an excerpt, in bytes.
const Short = 200

// Redacted replaces a secret.
const Redacted = "[redacted]"

// Excerpt returns text as one printable line of at most limit bytes. White space and control characters
// become single spaces; other unprintable characters are dropped.
func Excerpt(text string, limit int) string {
	const ellipsis = "…"
	var b strings.Builder
	space := false
	for _, r := range text {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = b.Len() > 0
			continue
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		if b.Len() > limit {
			return strings.TrimRight(Cut(b.String(), limit-len(ellipsis)), " ") + ellipsis
		}
	}
	return b.String()
}

// Cut returns the longest prefix of text that has at most limit bytes and ends with a whole character.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// Secret returns text without secret. It also removes parts that begin like secret and were cut off. It finds a
// secret whose characters are escaped for JSON, a URL, HTML or a log, such as \/, \u002b, %2B, %252B, &#43; or \x2b.
func Secret(text, secret string) string {
	const recognisable = 16 // bytes that identify a secret; fewer do not help an attacker
	if secret == "" {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexAny(text, secret[:1]+`\%&`)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		text = text[i:]
		length, matched := matchEscaped(text, secret)
		if matched < min(len(secret), recognisable) {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		b.WriteString(Redacted)
		text = text[length:]
	}
}

// matchEscaped returns the length of the common beginning of text and secret: length in text, matched in secret.
func matchEscaped(text, secret string) (length, matched int) {
	for matched < len(secret) && length < len(text) {
		n := 1
		if text[length] != secret[matched] {
			var c byte
			if c, n = unescape(text[length:]); n == 0 || c != secret[matched] {
				break
			}
		}
		length += n
		matched++
	}
	return length, matched
}

// unescape returns the escaped character at the beginning of text, and the length of its escaped form. The length
// is 0 if text begins with no escaped character.
func unescape(text string) (byte, int) {
	switch text[0] {
	case '%':
		return unescapePercent(text)
	case '&':
		return unescapeEntity(text)
	case '\\':
		return unescapeBackslash(text)
	}
	return 0, 0
}

// unescapePercent reads %2B, or %252B if it was escaped twice.
func unescapePercent(text string) (byte, int) {
	n := 1
	for len(text) >= n+4 && text[n:n+2] == "25" {
		n += 2
	}
	return unescapeHex(text, n, n+2)
}

// unescapeEntity reads an entity of HTML, such as &#43; or &amp;.
func unescapeEntity(text string) (byte, int) {
	const longest = len("&#x0002b;")
	entity, _, found := strings.Cut(text[:min(len(text), longest)], ";")
	if char := html.UnescapeString(entity + ";"); found && len(char) == 1 {
		return char[0], len(entity) + 1
	}
	return 0, 0
}

// unescapeBackslash reads \u002b, \x2b, or a backslash before the character itself. Each level of JSON within JSON
// doubles the backslashes.
func unescapeBackslash(text string) (byte, int) {
	const most = 15 // backslashes, of four levels
	n := 1
	for n < min(len(text), most) && text[n] == '\\' {
		n++
	}
	switch {
	case n == len(text):
		return 0, 0
	case text[n] == 'u':
		return unescapeHex(text, n+1, n+5)
	case text[n] == 'x':
		return unescapeHex(text, n+1, n+3)
	}
	return text[n], n + 1
}

// unescapeHex returns the character whose number is the hexadecimal text[from:to], and to. It returns 0, 0 if there
// is no such number.
func unescapeHex(text string, from, to int) (byte, int) {
	if to > len(text) {
		return 0, 0
	}
	number, err := strconv.ParseUint(text[from:to], 16, 8)
	if err != nil {
		return 0, 0
	}
	return byte(number), to
}

// separator matches the characters between a name and its value, in headers, in JSON and in dumps of maps.
const separator = `[\\"']*\s*(?:[:=]|\\u003d|%3d)\s*[\[\\"']*`

// echoedSecret matches a token or a signature in an echoed request by its name. Values of fewer than 16 characters are
// words, not secrets.
var echoedSecret = regexp.MustCompile(`(?i)((?:x-(?:security|auth|subject)-|security_?)token` + separator + `)` +
	`(?:[^\s"',;\]\\]|\\[^\s"nrt]){16,}` +
	`|(signature` + separator + `)[0-9a-f]{16,}`)

// Headers returns text without the signatures and tokens of an echoed request.
func Headers(text string) string { return echoedSecret.ReplaceAllString(text, "${1}${2}"+Redacted) }

// linkQuery matches a link with a query within a text, also if its end is missing.
var linkQuery = regexp.MustCompile(`(?i)(https?:[^\s"<>?]+?)(?:\?|\\u003f)[^\s"<>]+`)

// Links returns text without the queries of the links in it.
func Links(text string) string { return linkQuery.ReplaceAllString(text, "$1?redacted") }

// Link returns link without its query, fragment and user, which are the key to the file.
func Link(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return "[unreadable link]"
	}
	redacted := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.RawQuery != "" {
		redacted.RawQuery = "redacted"
	}
	return redacted.String()
}

// Query returns text without query, if query is long enough to be a key.
func Query(text, query string) string {
	const keyLength = 16
	if len(query) < keyLength {
		return text
	}
	return strings.ReplaceAll(text, query, "redacted")
}
