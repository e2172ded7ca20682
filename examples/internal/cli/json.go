package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
)

// WriteJSON writes value as one line of JSON. Characters that a terminal takes for a command, or that change the order
// of the text, are escaped: names are chosen by others, and encoding/json escapes only those below U+0020.
func WriteJSON(w io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(text.String()))
	return err
}

// escapeJSON escapes what is not printable in a line of JSON. Outside of strings all of it is ASCII.
func escapeJSON(line string) []byte {
	var b []byte
	for _, r := range line {
		if r == '\n' || strconv.IsPrint(r) {
			b = append(b, string(r)...)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
	}
	return b
}
