package cdn

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// malformedAuthorizations are headers without a signature, or with an ambiguous one.
var malformedAuthorizations = map[string]string{
	"empty":                   "",
	"algorithm only":          "SDK-HMAC-SHA256",
	"algorithm and space":     "SDK-HMAC-SHA256 ",
	"another algorithm":       "SDK-HMAC-SM3 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"derived algorithm":       "V11-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host;x-sdk-date, Signature=b",
	"algorithm in lower case": "sdk-hmac-sha256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"space before":            " SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"bearer":                  "Bearer token",
	"no access key":           "SDK-HMAC-SHA256 SignedHeaders=host;x-sdk-date, Signature=b",
	"no signed headers":       "SDK-HMAC-SHA256 Access=a, Signature=b",
	"no signature":            "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date",
	"empty access key":        "SDK-HMAC-SHA256 Access=, SignedHeaders=host;x-sdk-date, Signature=b",
	"empty signed headers":    "SDK-HMAC-SHA256 Access=a, SignedHeaders=, Signature=b",
	"empty signature":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=",
	"signature twice":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b, Signature=c",
	"access key twice":        "SDK-HMAC-SHA256 Access=a, Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"one parameter more":      "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b, More=c",
	"another instead":         "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, More=c",
	"another for access":      "SDK-HMAC-SHA256 More=a, SignedHeaders=host;x-sdk-date, Signature=b",
	"another for the headers": "SDK-HMAC-SHA256 Access=a, More=host;x-sdk-date, Signature=b",
	"names in lower case":     "SDK-HMAC-SHA256 access=a, signedheaders=host;x-sdk-date, signature=b",
	"comma at the end":        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b,",
	"no equals sign, more":    "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature",
	"no equals sign":          "SDK-HMAC-SHA256 Access, SignedHeaders=host;x-sdk-date, Signature=b",
	"no commas":               "SDK-HMAC-SHA256 Access=a SignedHeaders=host;x-sdk-date Signature=b",
	"signed name in capitals": "SDK-HMAC-SHA256 Access=a, SignedHeaders=Host;X-Sdk-Date, Signature=b",
	"signed name twice":       "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date;host, Signature=b",
	"signed name empty":       "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;;x-sdk-date, Signature=b",
	"signed names end open":   "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date;, Signature=b",
	"no text at all":          "\x00\xff",
}

func TestVerify_malformed_authorization(t *testing.T) {
	s := Signer{AccessKey: "a", SecretKey: "b"}
	for name, value := range malformedAuthorizations {
		t.Run(name, func(t *testing.T) {
			_, err := parseAuthorization([]string{value})
			require.ErrorIs(t, err, ErrUnauthorized)

			req := newTestRequest(t, http.MethodGet, "https://cdn.example.com/v1", "")
			req.Header = http.Header{"X-Sdk-Date": {"20240229T235958Z"}, "Authorization": {value}}
			require.ErrorIs(t, s.Verify(req, testTime), ErrUnauthorized)
		})
	}
}

func TestParseAuthorization_spaces_and_order(t *testing.T) {
	want := authorization{accessKey: "a", signedHeaders: []string{"host", "x-sdk-date"}, signature: "b"}
	for _, value := range []string{
		"SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b",
		"SDK-HMAC-SHA256 Access=a,SignedHeaders=host;x-sdk-date,Signature=b",
		"SDK-HMAC-SHA256   Signature=b ,  SignedHeaders=host;x-sdk-date ,\tAccess=a  ",
	} {
		got, err := parseAuthorization([]string{value})
		require.NoError(t, err, value)
		assert.Equal(t, want, got, value)
	}
	got, err := parseAuthorization([]string{"SDK-HMAC-SHA256 Access=a=b=, SignedHeaders=host, Signature=c="})
	require.NoError(t, err)
	assert.Equal(t, authorization{accessKey: "a=b=", signedHeaders: []string{"host"}, signature: "c="}, got)
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=b")
	for _, value := range malformedAuthorizations {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := parseAuthorization([]string{value})
		if err != nil {
			require.ErrorIs(t, err, ErrUnauthorized)
			return
		}
		headers := make([]signedHeader, 0, len(got.signedHeaders))
		for _, name := range got.signedHeaders {
			headers = append(headers, signedHeader{name: name})
		}
		again, err := parseAuthorization([]string{Signer{AccessKey: got.accessKey}.authorization(headers, []byte(got.signature))})
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
