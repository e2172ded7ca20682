package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Printable escapes what a terminal would obey instead of showing it: control characters, and marks that change the
// order of the text. The names of tasks are chosen by other users.
func Printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// WriteJSON writes value as one line of JSON. It escapes what [Printable] escapes: encoding/json escapes only control
// characters below U+0020. Links keep their ampersands.
func WriteJSON(w io.Writer, value any) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	var escaped []byte
	for _, r := range line.String() { // outside of strings, JSON is ASCII
		if r == '\n' || strconv.IsPrint(r) {
			escaped = append(escaped, string(r)...)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	_, err := w.Write(escaped)
	return err
}
