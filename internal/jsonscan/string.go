package jsonscan

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ReadString reads a string. The result is a slice of the text if the string has no escapes. Half of a
// surrogate pair becomes U+FFFD, as in encoding/json.
func (s *Scanner) ReadString() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start := s.pos
	s.skipPlain()
	if s.acceptByte('"') {
		return s.text[start : s.pos-1], nil
	}
	return s.readEscaped(start)
}

// isPlain marks the bytes that a string holds unescaped: all but the quote, the backslash and control
// characters. New has checked the UTF-8.
var isPlain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return plain
}()

// skipPlain skips plain bytes, eight at a time if possible.
func (s *Scanner) skipPlain() {
	text, i := s.text, s.pos
	for i+8 <= len(text) && arePlain(text[i:i+8]) {
		i += 8
	}
	for i < len(text) && isPlain[text[i]] {
		i++
	}
	s.pos = i
}

// arePlain reports whether the first eight bytes of text are all plain. Subtracting 1 from a byte sets
// its highest bit if it was 0. So each term has a bit for each byte that is below a space, a quote or a
// backslash. Bytes above 0x7f have their bit masked out. A borrow can only add a bit beside a right one.
func arePlain(text string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	_ = text[7]
	w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
		uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
	quotes := w ^ ones*'"'
	slashes := w ^ ones*'\\'
	return ((w-ones*' ')&^w|(quotes-ones)&^quotes|(slashes-ones)&^slashes)&tops == 0
}

// readEscaped reads the rest of a string that began at start and has its first escape at s.pos.
func (s *Scanner) readEscaped(start int) (string, error) {
	var b strings.Builder
	for {
		b.WriteString(s.text[start:s.pos])
		if s.pos == len(s.text) {
			return "", s.unexpected("the end of the string")
		}
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return b.String(), nil
		case '\\':
			r, err := s.readEscape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		default:
			return "", s.unexpected("no control character in a string")
		}
		start = s.pos
		s.skipPlain()
	}
}

// readEscape reads one escape, or the two escapes of a surrogate pair.
func (s *Scanner) readEscape() (rune, error) {
	s.pos++
	if s.pos == len(s.text) {
		return 0, s.unexpected("an escape")
	}
	c := s.text[s.pos]
	if c == 'u' {
		return s.readUnicodeEscape()
	}
	r := unescaped(c)
	if r == 0 {
		return 0, s.unexpected("an escape")
	}
	s.pos++
	return r, nil
}

// unescaped returns the character of the escape with the letter c, or 0 if there is no such escape.
func unescaped(c byte) rune {
	switch c {
	case '"', '\\', '/':
		return rune(c)
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

func (s *Scanner) readUnicodeEscape() (rune, error) {
	r, err := s.readHex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	after := s.pos
	if strings.HasPrefix(s.text[s.pos:], `\u`) {
		s.pos++
		low, err := s.readHex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	s.pos = after
	return utf8.RuneError, nil
}

// readHex4 reads the u of an escape and its four hex digits.
func (s *Scanner) readHex4() (rune, error) {
	s.pos++
	var r rune
	for range 4 {
		if s.pos == len(s.text) {
			return 0, s.unexpected("four hex digits")
		}
		c := s.text[s.pos]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.unexpected("four hex digits")
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, nil
}
