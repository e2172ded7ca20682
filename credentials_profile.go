package cdn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"example.com/huaweicloud/cdn/internal/redact"
)

const profileVariable = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"

// profileName returns the profile file as errors name it, in one line.
func profileName() string {
	if path := os.Getenv(profileVariable); path != "" {
		return "file " + redact.Excerpt(path, 1<<10)
	}
	return "file ~/.huaweicloud/credentials"
}

// readProfile returns the settings in the [global] section of the profile file. If the default file or its section is
// missing, the error wraps errNotSet. Other errors wrap ErrInvalidParameter.
func readProfile() (map[string]string, error) {
	path, missing := os.Getenv(profileVariable), ErrInvalidParameter
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("%w: the home directory is unknown (%w): set it, or name the file in %s",
				ErrInvalidParameter, err, profileVariable)
		}
		path, missing = filepath.Join(home, ".huaweicloud", "credentials"), errNotSet
	}
	content, err := readCredentialsFile(path)
	switch {
	case err != nil && isMissing(err):
		return nil, fmt.Errorf("%w: %w", missing, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalidParameter, err)
	}
	settings, err := parseProfile(content)
	if err == nil && settings == nil {
		err = fmt.Errorf("%w: the file has no section [global]", missing)
	}
	return settings, err
}

// isMissing reports whether err says that a file does not exist, or that it cannot exist: the home directory of a
// system user may be /dev/null.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// parseProfile returns the settings in the [global] sections of a profile file, the last one of each name; nil if
// there is no such section. Errors name the line and quote nothing of it, since it may hold a key.
func parseProfile(content string) (map[string]string, error) {
	if !utf8.ValidString(content) {
		return nil, fmt.Errorf("%w: the file is not UTF-8", ErrInvalidParameter)
	}
	var settings map[string]string
	section, number := "", 0
	for line := range strings.SplitSeq(strings.TrimPrefix(content, "\ufeff"), "\n") {
		number++
		line = strings.TrimSpace(line)
		var err error
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section, err = profileSection(line)
			if section == "global" && settings == nil {
				settings = map[string]string{}
			}
		case section == "global":
			err = profileSetting(settings, line)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrInvalidParameter, number, err)
		}
	}
	return settings, nil
}

// profileSection returns the name in a line such as "[global] ; comment".
func profileSection(line string) (string, error) {
	name, rest, found := strings.Cut(line[1:], "]")
	if !found || withoutComment(rest) != "" {
		return "", errors.New("the section's name must be in brackets")
	}
	return strings.TrimSpace(name), nil
}

// profileSetting adds a line such as "ak = value" to settings.
func profileSetting(settings map[string]string, line string) error {
	i := strings.IndexAny(line, "=:")
	if i <= 0 {
		return errors.New("there is no name and value, such as ak = …")
	}
	value, err := profileValue(strings.TrimSpace(line[i+1:]))
	settings[strings.TrimSpace(line[:i])] = value
	return err
}

// profileValue returns a value without its quotes and without the comment after it. A # or ; begins a comment only
// after white space: without it, the vendor's reader would cut a key short.
func profileValue(text string) (string, error) {
	if text == "" || !strings.ContainsRune("\"'`", rune(text[0])) {
		value := withoutComment(text)
		if strings.HasSuffix(value, `\`) {
			return "", errors.New("a value that goes on in the next line is not supported")
		}
		return value, nil
	}
	value, rest, found := strings.Cut(text[1:], text[:1])
	if !found || rest != "" && withoutComment(" "+strings.TrimSpace(rest)) != "" {
		return "", errors.New("a quoted value must end with the same quote, in the same line")
	}
	return value, nil
}

// withoutComment returns text without the comment at its end, and without white space around it.
func withoutComment(text string) string {
	for i := range len(text) {
		isComment := text[i] == '#' || text[i] == ';'
		if isComment && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t') {
			text = text[:i]
			break
		}
	}
	return strings.TrimSpace(text)
}
