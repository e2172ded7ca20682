package redact

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestExcerpt(t *testing.T) {
	tests := []struct {
		name, text string
		limit      int
		want       string
	}{
		{"short", "abc", 10, "abc"},
		{"just fits", "abcdefghij", 10, "abcdefghij"},
		{"cut", "abcdefghijk", 10, "abcdefg…"},
		{"cut between characters", "日本語日本語", 10, "日本…"},
		{"no space before the ellipsis", "abcdef ghijkl", 10, "abcdef…"},
		{"white space", "  a \r\n\t b\v\u00a0c  ", 20, "a b c"},
		{"unprintable", "a\x00b\u200bc\xffd\ufffde", 20, "a bcde"},
		{"nothing", " \n", 20, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, Excerpt(test.text, test.limit))
		})
	}
}

func TestLinks(t *testing.T) {
	for text, want := range map[string]string{
		`{"download_link":"https://b.example/f.csv?AccessKeyId=A&Signature=s3`: `{"download_link":"https://b.example/f.csv?redacted`,
		`"http://a/b?c=d", "https:\/\/a\/b?c=d\u0026e=f" x`:                    `"http://a/b?redacted", "https:\/\/a\/b?redacted" x`,
		`{"l":"HTTPS:\/\/a\/b\u003fc=d"}`:                                      `{"l":"HTTPS:\/\/a\/b?redacted"}`,
		"why? see https://a.example/help":                                      "why? see https://a.example/help",
	} {
		assert.Equal(t, want, Links(text))
	}
}

func TestLink(t *testing.T) {
	tests := []struct{ link, want string }{
		{"https://h/p", "https://h/p"},
		{"https://h/p?x=y", "https://h/p?redacted"},
		{"https://user:s3cret@h/p#s3cret", "https://h/p"},
		{"", ""},
		{"https://h/%zz?s3cret", "[unreadable link]"},
	}
	for _, test := range tests {
		got := Link(test.link)
		assert.Equal(t, test.want, got)
		assert.False(t, strings.Contains(got, "s3cret"))
	}
}

func TestQuery(t *testing.T) {
	const key = "Expires=1&Signature=abc"
	assert.Equal(t, "get redacted failed", Query("get "+key+" failed", key))
	assert.Equal(t, "a=1 failed", Query("a=1 failed", "a=1"), "too short to be a key")
}

func TestSecret(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ name, text, want string }{
		{"whole", "x " + secret + " y", "x [redacted] y"},
		{"cut off", "x " + secret[:40], "x [redacted]"},
		{"other end", secret[:20] + "zz", "[redacted]zz"},
		{"twice", secret + secret, "[redacted][redacted]"},
		{"too short to recognise", secret[:15], secret[:15]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, Secret(test.text, secret))
		})
	}
	assert.Equal(t, "text", Secret("text", ""))
}

func TestSecret_escaped(t *testing.T) {
	const secret = `a/b+c"d=e\f/0123456789`
	for name, escaped := range map[string]string{
		"plain":            secret,
		"JSON":             `a\/b\u002bc\"d\u003De\\f\/0123456789`,
		"JSON within JSON": `a\\\/b\\u002bc\\\"d\\u003de\\\\f\\\/0123456789`,
		"URL":              `a%2Fb%2bc%22d%3De%5Cf%2F0123456789`,
		"URL within a URL": `a%252Fb%252bc%2522d%253De%255Cf%252F0123456789`,
		"HTML":             `a&#47;b&#x2B;c&quot;d&#61;e\f/0123456789`,
		"log of nginx":     `a/b\x2Bc\x22d\x3De\f/0123456789`,
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, `{"id":"[redacted]"}`, Secret(`{"id":"`+escaped+`"}`, secret))
			assert.Equal(t, "cut [redacted]", Secret("cut "+escaped[:len(escaped)-1], secret))
		})
	}
	for _, text := range []string{`\`, `\\`, `\u`, `\u00`, `\uzzzz`, `%`, `%2`, `%zz`, `%25`, `&`, `&#`, `&#4`, `&#999999;`, `&nbsp;`, `\x`, `\x4`, `\xzz`, `a&`, `a\`, `a%`, `a/b+c"d=`} {
		assert.Equal(t, text, Secret(text, secret))
	}
}

// With a cost that grows with the square of the length, this test would take minutes.
func TestSecret_long_run_of_escapes(t *testing.T) {
	for _, run := range []string{`\`, "%25", "&", "&#", "%"} {
		text := strings.Repeat(run, 1<<18)
		assert.Equal(t, len(text), len(Secret(text, "0123456789abcdef")))
	}
}

func FuzzSecret(f *testing.F) {
	f.Add(`{"t":"`, "secret/with+16=bytes", `"}`)
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		quoted, err := json.Marshal(secret)
		if err != nil || len(secret) < 16 || strings.ContainsFunc(secret, isNoKeyCharacter) {
			return
		}
		for _, text := range []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret)} {
			assert.NotContains(t, Secret(before+text+after, secret), text)
		}
	})
}

// isNoKeyCharacter reports whether keys do not have r. They have printable ASCII without the characters that begin an
// escape.
func isNoKeyCharacter(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '\\' }

func TestHeaders(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ name, text, want string }{
		{"authorization", "Access=AK, SignedHeaders=host, Signature=" + hex + ", x", "Access=AK, SignedHeaders=host, Signature=[redacted], x"},
		{"signature in JSON", `{"signature": "` + hex + `"}`, `{"signature": "[redacted]"}`},
		{"signature, escaped", `Signature\u003d` + hex + ` Signature%3D` + hex, `Signature\u003d[redacted] Signature%3D[redacted]`},
		{"signature cut off", "Signature=" + hex[:16], "Signature=[redacted]"},
		{"token as header", "x-security-token:gQ9jbi1ub3J0aC00/+==\nhost:x", "x-security-token:[redacted]\nhost:x"},
		{"token in a map", "map[X-Auth-Token:[gQ9jbi1ub3J0aC00/+==] A:[b]]", "map[X-Auth-Token:[[redacted]] A:[b]]"},
		{"token in JSON", `{"X-Subject-Token":["gQ9jbi1ub3J0aC00\/\u002b=="],"a":"b"}`, `{"X-Subject-Token":["[redacted]"],"a":"b"}`},
		{"token in JSON in JSON", `{\"securityToken\":\"gQ9jbi1ub3J0aC00zz\"}`, `{\"securityToken\":\"[redacted]\"}`},
		{"token before an escaped line break", `X-Security-Token:gQ9jbi1ub3J0aC00zz\nhost:x`, `X-Security-Token:[redacted]\nhost:x`},
		{"words about a signature", "signature: does not match, verify aksk signature fail", "signature: does not match, verify aksk signature fail"},
		{"words about a token", "X-Auth-Token not found; x-security-token: missing", "X-Auth-Token not found; x-security-token: missing"},
		{"hash", "the hash is " + hex, "the hash is " + hex},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, Headers(test.text)) })
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add("a\n b", 10)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 3 || limit > 1<<12 {
			return
		}
		got := Excerpt(text, limit)
		assert.LessOrEqual(t, len(got), limit)
		assert.True(t, utf8.ValidString(got))
		assert.NotContains(t, got, "\n")
	})
}
