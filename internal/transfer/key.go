package transfer

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"example.com/huaweicloud/cdn/internal/redact"
)

// keys are what makes links keys to a file. Of each secret value they hold the runs of letters and digits, in lower
// case: those are the same in every way to escape the characters between them.
type keys struct{ runs []string }

// minKeyRun is the length of the shortest run that is recognised.
const minKeyRun = 5

// plainParameters are parameters of a link that are not secret, in lower case.
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

// redact returns text without the queries of links, and without each word that holds a part of a secret.
func (k *keys) redact(text string) string {
	return word.ReplaceAllStringFunc(redact.Links(text), func(word string) string {
		if k.in(word) {
			return redact.Redacted
		}
		return word
	})
}

// in reports whether word holds a part of a secret.
func (k *keys) in(word string) bool {
	word = strings.ToLower(word)
	for _, run := range k.runs {
		if strings.Contains(word, run) {
			return true
		}
	}
	return false
}
