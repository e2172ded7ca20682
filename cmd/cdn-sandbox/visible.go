package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible escapes the characters that would change what a terminal or a browser shows around them: control
// characters, C1 ones too, line separators, and marks of writing direction. Bytes that are no UTF-8 become
// escapes too.
func visible(text string) string {
	var b strings.Builder
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			_, _ = fmt.Fprintf(&b, `\x%02x`, text[0])
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x10000:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		default:
			_, _ = fmt.Fprintf(&b, `\U%08x`, r)
		}
		text = text[size:]
	}
	return b.String()
}

// hidden reports whether a character is one of the controls, formats and separators that show as nothing.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
