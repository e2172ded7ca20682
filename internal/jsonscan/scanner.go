// Package jsonscan reads a JSON text (RFC 8259) in one pass, without an allocation for most values.
//
// The caller reads the values in the order of the text and stores them itself. Each byte is checked:
// what the caller does not need is skipped as strictly as it would be read.
package jsonscan

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth limits the nesting of skipped values, so that a hostile text cannot exhaust the stack.
const maxDepth = 1000

// ErrEncoding is returned by [New] if the text is not valid UTF-8.
var ErrEncoding = errors.New("not valid UTF-8")

// Scanner reads one JSON text from its beginning to its end. After an error its position is undefined.
// It is not safe for concurrent use.
type Scanner struct {
	text string
	pos  int
}

// New returns a Scanner at the beginning of text. It returns [ErrEncoding] if text is not valid UTF-8.
func New(text string) (*Scanner, error) {
	if !utf8.ValidString(text) {
		return nil, ErrEncoding
	}
	return &Scanner{text: text}, nil
}

// Offset returns the number of bytes read so far.
func (s *Scanner) Offset() int { return s.pos }

// Remaining returns the number of bytes not read yet.
func (s *Scanner) Remaining() int { return len(s.text) - s.pos }

// Next returns the first byte of the next value or delimiter, or 0 at the end of the text.
func (s *Scanner) Next() byte {
	s.skipSpace()
	if s.pos == len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

// AtNumber reports whether the next value is a number.
func (s *Scanner) AtNumber() bool {
	c := s.Next()
	return c == '-' || isDigit(c)
}

// End returns an error if anything but white space remains.
func (s *Scanner) End() error {
	if s.Next(); s.pos == len(s.text) {
		return nil
	}
	return s.unexpected("the end")
}

// ReadObject reads an object. It calls member once for each name; member must read or skip the value.
// An error of member ends the reading and is returned unchanged.
func (s *Scanner) ReadObject(member func(name string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.accept('}') {
		return nil
	}
	for {
		name, err := s.ReadString()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if s.accept('}') {
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// ReadArray reads an array. It calls element once for each element; element must read or skip it.
// An error of element ends the reading and is returned unchanged.
func (s *Scanner) ReadArray(element func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.accept(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.accept(']') {
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// SkipNull skips a null and reports whether there was one.
func (s *Scanner) SkipNull() bool { return s.skipLiteral("null") }

// Skip skips one value of any kind. The value must be well-formed and nested at most 1,000 deep.
func (s *Scanner) Skip() error { return s.skip(0) }

func (s *Scanner) skip(depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("nested more than %d deep at byte %d", maxDepth, s.pos)
	}
	switch c := s.Next(); {
	case c == '{':
		return s.ReadObject(func(string) error { return s.skip(depth + 1) })
	case c == '[':
		return s.ReadArray(func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.ReadString()
		return err
	case c == '-' || isDigit(c):
		_, err := s.ReadNumber()
		return err
	case s.skipLiteral("true"), s.skipLiteral("false"), s.SkipNull():
		return nil
	}
	return s.unexpected("a value")
}

// skipLiteral skips word and reports whether it was there. A longer word fails at the next read.
func (s *Scanner) skipLiteral(word string) bool {
	s.skipSpace()
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *Scanner) skipSpace() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// accept skips white space, then c. It reports whether c was there.
func (s *Scanner) accept(c byte) bool {
	s.skipSpace()
	return s.acceptByte(c)
}

// acceptByte skips c and reports whether it was there.
func (s *Scanner) acceptByte(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *Scanner) expect(c byte) error {
	if s.accept(c) {
		return nil
	}
	return s.unexpected(strconv.QuoteRune(rune(c)))
}

// unexpected returns the error for a text that does not continue with want. It wraps
// [io.ErrUnexpectedEOF] if the text ends too early.
func (s *Scanner) unexpected(want string) error {
	if s.pos == len(s.text) {
		return fmt.Errorf("%w: cut short at byte %d, want %s", io.ErrUnexpectedEOF, s.pos, want)
	}
	found, _ := utf8.DecodeRuneInString(s.text[s.pos:])
	return fmt.Errorf("%q at byte %d, want %s", found, s.pos, want)
}
