package transfer

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// keys are the secrets of links. Of each secret they hold the runs of letters and digits, in lower case: no escaping
// changes those.
type keys struct{ runs []string }

// minKeyRun is the length of the shortest run that is kept.
const minKeyRun = 5

// plainParameters has the parameters of a link that are not secret, in lower case.
var plainParameters = map[string]bool{
	"expires": true, "x-amz-date": true, "x-amz-expires": true, "x-amz-algorithm": true, "x-amz-signedheaders": true,
	"versionid": true, "response-content-type": true, "response-content-disposition": true,
	"response-content-encoding": true, "response-content-language": true, "response-cache-control": true,
}

// add adds the secrets of a link.
func (k *keys) add(link *url.URL) {
	password, _ := link.User.Password()
	k.addSecret(password)
	for name, values := range link.Query() {
		if plainParameters[strings.ToLower(name)] {
			continue
		}
		for _, value := range values {
			k.addSecret(value)
		}
	}
}

// addSecret adds the runs of a secret.
func (k *keys) addSecret(secret string) {
	runs := strings.FieldsFuncSeq(strings.ToLower(secret), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for run := range runs {
		if len(run) >= minKeyRun {
			k.runs = append(k.runs, run)
		}
	}
}

// word matches what is between two spaces.
var word = regexp.MustCompile(`\S+`)

// redact returns text without the queries of links and without the words that contain a part of a secret.
func (k *keys) redact(text string) string {
	return word.ReplaceAllStringFunc(redact.Links(text), func(word string) string {
		if k.in(word) {
			return redact.Redacted
		}
		return word
	})
}

// in reports whether word contains a part of a secret.
func (k *keys) in(word string) bool {
	word = strings.ToLower(word)
	for _, run := range k.runs {
		if strings.Contains(word, run) {
			return true
		}
	}
	return false
}

// withoutKeys returns an error of the transport with a text that shows no secret of a link.
func (d *download) withoutKeys(err error) error {
	if proxy := retry.AsProxyError(err); proxy != nil {
		return proxy
	}
	return &redactedError{err, d.keys.redact(err.Error())}
}

// redactedError is an error with another text.
type redactedError struct {
	error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.error }
