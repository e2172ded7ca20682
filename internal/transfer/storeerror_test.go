package transfer

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStoreError(t *testing.T) {
	const document = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>The key
 does not exist</Message><RequestId>in-body</RequestId><HostId>host-in-body</HostId><StringToSign>s3cret</StringToSign></Error>`
	tests := []struct {
		name   string
		status int
		body   string
		header []string
		want   StoreError
		text   string
	}{
		{
			"OBS", 404, document, []string{"X-Obs-Request-Id", "in-header", "X-Obs-Id-2", "host-in-header"},
			StoreError{StatusCode: 404, Code: "NoSuchKey", Message: "The key does not exist", RequestID: "in-body", HostID: "host-in-body"},
			"the store responded with status 404: NoSuchKey: The key does not exist",
		},
		{
			"headers only", 404, "", []string{"X-Obs-Request-Id", "in-header", "X-Obs-Id-2", "host-in-header", "Retry-After", "5"},
			StoreError{StatusCode: 404, RequestID: "in-header", HostID: "host-in-header", RetryAfter: 5 * time.Second},
			"the store responded with status 404",
		},
		{"another store", 404, "", []string{"X-Request-Id", "other"}, StoreError{StatusCode: 404, RequestID: "other"}, "the store responded with status 404"},
		{"HTML", 404, "<html><body>s3cret<br></body></html>", nil, StoreError{StatusCode: 404}, "the store responded with status 404"},
		{"JSON", 404, `{"Code":"s3cret"}`, nil, StoreError{StatusCode: 404}, "the store responded with status 404"},
		{"cut", 404, "<Error><Code>NoSuchKey</Code><Mess", nil, StoreError{StatusCode: 404}, "the store responded with status 404"},
		{"too long", 404, "<Error><Code>NoSuchKey</Code><X>" + strings.Repeat("x", maxErrorBody) + "</X></Error>", nil, StoreError{StatusCode: 404}, "the store responded with status 404"},
		{"long texts", 400, "<Error><Code>" + strings.Repeat("c", 300) + "</Code><RequestId>" + strings.Repeat("r", 300) + "</RequestId></Error>", nil,
			StoreError{StatusCode: 400, Code: strings.Repeat("c", 197) + "…", RequestID: strings.Repeat("r", 125) + "…"},
			"the store responded with status 400: " + strings.Repeat("c", 197) + "…"},
		{"304", 304, "", nil, StoreError{StatusCode: 304}, "the store responded with status 304"},
		{"no content", 204, "", nil, StoreError{StatusCode: 204}, "the store responded with status 204"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, _ := script(t, respond(test.status, test.body, test.header...))
			_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &memory{})
			var response *StoreError
			require.ErrorAs(t, err, &response)
			test.want.Attempts = 1
			assert.Equal(t, test.want, *response)
			assert.EqualError(t, err, test.text)
		})
	}
}

func TestStoreErrorKinds(t *testing.T) {
	tests := []struct {
		status             int
		code               string
		transient, refused bool
	}{
		{503, "SlowDown", true, false},
		{503, "", true, false},
		{500, "InternalError", true, false},
		{408, "", true, false},
		{429, "", true, false},
		{400, "SlowDown", true, false},
		{403, "ServiceUnavailable", true, false},
		{400, "InvalidArgument", false, false},
		{401, "", false, true},
		{403, "AccessDenied", false, true},
		{403, "SignatureDoesNotMatch", false, true},
		{403, "InvalidAccessKeyId", false, true},
		{403, "", false, true},
		{410, "", false, true},
		{400, "ExpiredToken", false, true},
		{404, "NoSuchKey", false, false},
	}
	for _, test := range tests {
		e := &StoreError{StatusCode: test.status, Code: test.code}
		assert.Equal(t, test.transient, e.isTransient(), "%+v", test)
		assert.Equal(t, test.refused, e.refusesLink(), "%+v", test)
	}
}

func FuzzParseErrorBody(f *testing.F) {
	f.Add("<Error><Code>NoSuchKey</Code><Message>x</Message><RequestId>r</RequestId><HostId>h</HostId></Error>")
	f.Add("<Error><Code>a<b>c</b></Code></Error>")
	f.Add(`<?xml version="1.0" encoding="latin1"?><Error/>`)
	f.Add("<Error><![CDATA[x]]></Error>")
	f.Fuzz(func(t *testing.T, text string) {
		store, _ := script(t, respond(404, text))
		_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &memory{})
		var response *StoreError
		require.ErrorAs(t, err, &response)
		for _, text := range []string{err.Error(), response.Code, response.Message, response.RequestID, response.HostID} {
			assert.True(t, utf8.ValidString(text))
			assert.NotContains(t, text, "\n")
			assert.NotContains(t, text, "s3cret")
			assert.Less(t, len(text), 1000)
		}
	})
}
