package jsonscan

import (
	"fmt"
	"math"
	"strconv"
)

// maxWholeFloat is the largest whole number that no other one becomes as a float64.
const maxWholeFloat = 1<<53 - 1

// ReadNumber reads a number and returns its literal text.
func (s *Scanner) ReadNumber() (string, error) {
	s.skipSpace()
	start := s.pos
	s.acceptByte('-')
	if !s.acceptByte('0') && !s.skipDigits() {
		return "", s.unexpected("a number")
	}
	if s.acceptByte('.') && !s.skipDigits() {
		return "", s.unexpected("a digit")
	}
	if s.acceptByte('e') || s.acceptByte('E') {
		if !s.acceptByte('+') {
			s.acceptByte('-')
		}
		if !s.skipDigits() {
			return "", s.unexpected("a digit")
		}
	}
	return s.text[start:s.pos], nil
}

// ReadInt reads a whole number of 64 bits. 12, 12.0 and 1.2e1 are equal. A number with a fraction or an exponent is
// read as a float64, so it must be between -2^53 and 2^53.
func (s *Scanner) ReadInt() (int64, error) {
	literal, err := s.ReadNumber()
	if err != nil {
		return 0, err
	}
	return parseInt(literal)
}

// ReadLooseInt reads a whole number as [Scanner.ReadInt] does, or a string that holds one.
func (s *Scanner) ReadLooseInt() (int64, error) {
	if s.Next() != '"' {
		return s.ReadInt()
	}
	start := s.pos
	text, err := s.ReadString()
	if err != nil {
		return 0, err
	}
	quoted := Scanner{text: text}
	n, err := quoted.ReadInt()
	if err == nil {
		err = quoted.End()
	}
	if err != nil {
		return 0, fmt.Errorf("the string at byte %d is not a whole number of 64 bits", start)
	}
	return n, nil
}

func parseInt(literal string) (int64, error) {
	if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxWholeFloat {
		return 0, fmt.Errorf("%.100s is not a whole number of 64 bits", literal)
	}
	return int64(f), nil
}

// skipDigits skips the digits at s.pos and reports whether there was one.
func (s *Scanner) skipDigits() bool {
	start := s.pos
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
