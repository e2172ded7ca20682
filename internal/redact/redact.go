// Package redact makes text of other parties fit for an error or a log: it bounds and cleans excerpts,
// and removes secrets and the keys in download links.
package redact

import (
	"net/url"
	"regexp"
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

// Secret returns text without secret, and without any part of it that begins like secret and was cut off.
func Secret(text, secret string) string {
	const recognisable = 16 // bytes that identify a secret; fewer are of no use to a reader
	beginning := secret[:min(len(secret), recognisable)]
	if beginning == "" {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, beginning)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(Redacted)
		text = rest[commonPrefix(rest, secret[len(beginning):]):]
	}
}

// commonPrefix returns the length of the longest common prefix.
func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// linkQuery matches a link with a query within a text, also if its end is missing.
var linkQuery = regexp.MustCompile(`(?i)(https?:[^\s"<>?]+?)(?:\?|\\u003f)[^\s"<>]+`)

// Links returns text without the queries of the links in it.
func Links(text string) string { return linkQuery.ReplaceAllString(text, "$1?redacted") }

// Link returns link without what makes it a key to the file: its query, fragment and user.
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
