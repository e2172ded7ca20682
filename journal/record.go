package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	formatName    = "cdn-journal"
	formatVersion = 1
	recordSuffix  = ".record"
	maxRecord     = 1 << 20 // bytes of a record
	maxKey        = 4 << 10 // bytes of a key
	maxFile       = maxRecord + 8*maxKey
)

// fileName returns the name of key's file: a readable beginning of the key and a hash of all of it. It has only
// characters that every file system takes, and differs from other names if upper case is ignored.
func fileName(key string) string {
	const readable = 40 // bytes
	prefix := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return '_'
	}, key)
	sum := sha256.Sum256([]byte(key))
	return prefix[:min(len(prefix), readable)] + "-" + hex.EncodeToString(sum[:16]) + recordSuffix
}

// encode returns a file's content: a header line with version and checksum, a line with the quoted key, the record.
func encode(key string, record []byte) []byte {
	body := append(strconv.AppendQuote(nil, key), '\n')
	body = append(body, record...)
	sum := sha256.Sum256(body)
	header := fmt.Sprintf("%s %d %x\n", formatName, formatVersion, sum)
	return append([]byte(header), body...)
}

// decode returns the record of key in content.
func decode(key string, content []byte) ([]byte, error) {
	header, body, found := bytes.Cut(content, []byte("\n"))
	fields := strings.Split(string(header[:min(len(header), 200)]), " ")
	if !found || len(fields) < 2 || fields[0] != formatName {
		return nil, errors.New("not a record of this package, or damaged")
	}
	version, err := strconv.Atoi(fields[1])
	switch {
	case err == nil && version > formatVersion:
		return nil, fmt.Errorf("written by a newer release: its format is version %d, this release knows %d", version, formatVersion)
	case err != nil || version != formatVersion || len(fields) != 3:
		return nil, errors.New("damaged: the header is malformed")
	}
	if sum := sha256.Sum256(body); fields[2] != hex.EncodeToString(sum[:]) {
		return nil, errors.New("damaged: the checksum does not match")
	}
	quoted, record, _ := bytes.Cut(body, []byte("\n"))
	owner, err := strconv.Unquote(string(quoted))
	switch {
	case err != nil:
		return nil, errors.New("damaged: the key is malformed")
	case owner != key:
		return nil, fmt.Errorf("the record of another key: %.200s", quoted)
	}
	return record, nil
}
