package cdn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// maxCredentialsFile is the largest file, in bytes, that is read for keys or a token.
const maxCredentialsFile = 1 << 20

// readCredentialsFile returns the content of a regular file. It opens no other kind: a named pipe waits for a
// writer, and a device may have no end.
func readCredentialsFile(path string) (string, error) {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return "", fmt.Errorf("the path %q has a control character", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCredentialsFile+1))
	if err == nil && len(content) > maxCredentialsFile {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", maxCredentialsFile)}
	}
	return string(content), err
}

// readToken returns the token in a file, without white space around it. Callers read it for each fetch, because
// the file is replaced before the token expires.
func readToken(path string) (string, error) {
	content, err := readCredentialsFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: token file: %w", ErrInvalidParameter, err)
	}
	token := strings.TrimSpace(content)
	if err := validateKey("the token in "+path, token); err != nil {
		return "", err
	}
	return token, nil
}
