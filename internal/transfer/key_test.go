package transfer

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyLink is a link whose signature has characters that are escaped in URLs, JSON and XML.
const (
	signature = "aBcDeF12+gHiJkL34/mNoPqR56="
	keyQuery  = "AccessKeyId=AKLTEXAMPLE0123456&Expires=1775000000&Signature=aBcDeF12%2BgHiJkL34%2FmNoPqR56%3D"
	keyLink   = "https://store.example/f?" + keyQuery
)

// escapedKeys has the forms in which a text may quote the query of a link.
func escapedKeys(t *testing.T) map[string]string {
	t.Helper()
	asJSON, err := json.Marshal("<" + signature + ">")
	require.NoError(t, err)
	var asXML strings.Builder
	require.NoError(t, xml.EscapeText(&asXML, []byte(keyQuery)))
	decoded, err := url.QueryUnescape(keyQuery)
	require.NoError(t, err)
	return map[string]string{
		"as it is":          keyQuery,
		"decoded":           decoded,
		"signature":         signature,
		"encoded signature": url.QueryEscape(signature),
		"encoded twice":     url.QueryEscape(url.QueryEscape(keyQuery)),
		"JSON":              string(asJSON),
		"JSON in JSON":      strings.ReplaceAll(strings.ReplaceAll(signature, "/", `\\\/`), "+", `\\u002b`),
		"XML":               asXML.String(),
		"HTML":              strings.ReplaceAll(html.EscapeString(decoded), "+", "&#43;"),
		"lower case":        strings.ToLower(signature),
		"cut":               signature[:20],
		"its end":           signature[10:],
		"only the key id":   "AKLTEXAMPLE0123456",
		"a link":            keyLink,
		"a link in JSON":    strings.ReplaceAll(keyLink, "/", `\/`),
	}
}

// assertNoKey asserts that text shows no part of the signature.
func assertNoKey(t *testing.T, text string) {
	t.Helper()
	for _, part := range []string{"aBcDeF12", "gHiJkL34", "mNoPqR56", "AKLTEXAMPLE0123456"} {
		assert.NotContains(t, strings.ToLower(text), strings.ToLower(part))
	}
}

func TestKeys(t *testing.T) {
	var k keys
	k.add(parse(t, keyLink))
	for name, text := range escapedKeys(t) {
		t.Run(name, func(t *testing.T) {
			got := k.redact("before  " + text + "\nafter")
			assertNoKey(t, got)
			assert.Regexp(t, `^before  \S+\nafter$`, got)
		})
	}
	assert.Equal(t, "nothing secret expires=1775000000", k.redact("nothing secret expires=1775000000"))
	assert.Equal(t, "get https://store.example/f?redacted failed", k.redact("get https://store.example/f?x=y failed"))

	k = keys{}
	k.add(parse(t, "https://u:pa55word@store.example/f?a=1&b=abcd&c=abcde&X-Amz-Date=20261126T005000Z&Response-Content-Type=spreadsheet&versionId=version7"))
	for text, want := range map[string]string{
		"pa55word": "[redacted]", "u": "u", "1": "1", "abcd": "abcd", "abcde": "[redacted]", "xABCDEx": "[redacted]",
		"20261126T005000Z": "20261126T005000Z", "spreadsheet": "spreadsheet", "version7": "version7", "": "",
	} {
		assert.Equal(t, want, k.redact(text))
	}
}

// The error shows no secret, wherever the store or a proxy echoes the query of a link.
func TestErrors_show_no_secret(t *testing.T) {
	for name, text := range escapedKeys(t) {
		inHeader := strings.ReplaceAll(text, "\n", " ")
		var inXML strings.Builder
		require.NoError(t, xml.EscapeText(&inXML, []byte(text)))
		echo := inXML.String()
		responses := map[string][]*http.Response{
			"code":             {respond(404, "<Error><Code>"+echo+"</Code></Error>")},
			"message":          {respond(404, "<Error><Code>NoSuchKey</Code><Message>no "+echo+" here</Message></Error>")},
			"long message":     {respond(404, "<Error><Message>"+strings.Repeat("x ", 90)+echo+"</Message></Error>")},
			"request id":       {respond(404, "<Error><RequestId>"+echo+"</RequestId><HostId>"+echo+"</HostId></Error>")},
			"request header":   {respond(404, "", "X-Obs-Request-Id", inHeader, "X-Obs-Id-2", inHeader)},
			"other header":     {respond(404, "", "X-Request-Id", inHeader)},
			"content range":    {respond(206, "x", "Content-Range", inHeader)},
			"content MD5":      {respond(200, "x", "Content-MD5", inHeader)},
			"content encoding": {respond(200, "x", "Content-Encoding", inHeader)},
			"body":             {brokenBody(text)},
			"redirect":         {respond(302, "", "Location", "http://other.example/?"+url.QueryEscape(text))},
		}
		for place, script1 := range responses {
			t.Run(name+" in the "+place, func(t *testing.T) {
				store, _ := script(t, script1...)
				config := configOf(store)
				config.MaxAttempts = 1
				_, err := Copy(t.Context(), config, sourceOf(keyLink), &memory{})
				require.Error(t, err)
				assertNoKey(t, err.Error())
				var response *StoreError
				if errors.As(err, &response) {
					assertNoKey(t, response.Code+response.Message+response.RequestID+response.HostID)
				}
			})
		}
		t.Run(name+" in the transport's error", func(t *testing.T) {
			_, err := Copy(t.Context(), configOf(roundTripper(func(*http.Request) (*http.Response, error) {
				return nil, errors.New("cannot reach " + text)
			})), sourceOf(keyLink), &memory{})
			require.ErrorContains(t, err, "cannot reach")
			assertNoKey(t, err.Error())
		})
		t.Run(name+" of a redirect", func(t *testing.T) {
			requests := 0
			_, err := Copy(t.Context(), configOf(roundTripper(func(req *http.Request) (*http.Response, error) {
				if requests++; requests == 1 {
					resp := respond(302, "", "Location", keyLink)
					resp.Request = req
					return resp, nil
				}
				return nil, errors.New("cannot reach " + text)
			})), sourceOf("https://store.example/f"), &memory{})
			require.ErrorContains(t, err, "cannot reach")
			assertNoKey(t, err.Error())
		})
	}
}

// brokenBody returns a response whose body breaks off with an error that has this text.
func brokenBody(text string) *http.Response {
	resp := respond(200, "")
	resp.ContentLength, resp.Body = 10, struct {
		failingReader
		closer
	}{failingReader{errors.New("read " + text)}, closer{}}
	return resp
}

type closer struct{}

func (closer) Close() error { return nil }
