package cdn

import (
	"crypto/hmac"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// clockWindow is the most that a request's date may differ from the verifier's clock, either way.
const clockWindow = 15 * time.Minute

// Verify returns nil if req has this signer's signature and a date within 15 minutes of now, as the API gateway
// requires. The request's own list of signed headers counts. It must have X-Sdk-Date, and X-Security-Token if the
// request or the signer has a token. Signatures and tokens are compared in constant time.
//
// Verify reads up to 32 MiB of body into memory and puts it back; [http.MaxBytesReader] sets a lower limit. It does
// not read the body if a signed X-Sdk-Content-Sha256 is UNSIGNED-PAYLOAD, which the official SDKs send with bodies
// other than JSON.
//
// An error wraps [ErrUnauthorized] if the request is refused. It wraps [ErrInvalidParameter] if the body is larger
// than 32 MiB, or if a key of the signer is empty or has a character that no key has. Errors from reading the body
// are wrapped.
func (s Signer) Verify(req *http.Request, now time.Time) error {
	if err := s.verify(req, now); err != nil {
		return fmt.Errorf("cdn: Verify: %w", err)
	}
	return nil
}

// verify checks everything but the body first. Then it signs the request again and compares the signatures.
func (s Signer) verify(req *http.Request, now time.Time) error {
	if err := s.validate(); err != nil {
		return err
	}
	auth, err := parseAuthorization(req.Header.Values(headerAuthorization))
	if err != nil {
		return err
	}
	if auth.accessKey != s.AccessKey {
		return refused("unknown access key")
	}
	headers, err := signedHeaders(req, auth.signedHeaders)
	if err != nil {
		return err
	}
	date, err := verifiedDate(headers, now)
	if err != nil {
		return err
	}
	if err := s.verifyToken(req, headers); err != nil {
		return err
	}
	payload, err := verifiedPayload(req, headers)
	if err != nil {
		return err
	}
	canonical, err := appendCanonicalRequest(nil, req, headers, payload)
	if err != nil {
		return refused(err.Error())
	}
	if !hmac.Equal([]byte(auth.signature), s.signature(appendStringToSign(nil, date, canonical))) {
		return refused("the signature does not match")
	}
	return nil
}

// authorization is a parsed Authorization header.
type authorization struct {
	accessKey     string
	signedHeaders []string
	signature     string
}

// parseAuthorization parses the values of the Authorization header. There must be one.
func parseAuthorization(values []string) (authorization, error) {
	if len(values) != 1 {
		return authorization{}, refused(fmt.Sprintf("%d Authorization headers, not one", len(values)))
	}
	parameters, ok := strings.CutPrefix(values[0], signingAlgorithm+" ")
	if !ok {
		return authorization{}, refused("the Authorization header is not of the algorithm " + signingAlgorithm)
	}
	found := make(map[string]string, 3)
	for parameter := range strings.SplitSeq(parameters, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(parameter), "=")
		if _, twice := found[name]; !ok || value == "" || twice {
			return authorization{}, refused("the Authorization header has a parameter that is empty or there twice")
		}
		found[name] = value
	}
	auth := authorization{
		accessKey:     found["Access"],
		signedHeaders: strings.Split(found["SignedHeaders"], ";"),
		signature:     found["Signature"],
	}
	if len(found) != 3 || auth.accessKey == "" || found["SignedHeaders"] == "" || auth.signature == "" {
		return authorization{}, refused("the Authorization header must have Access, SignedHeaders and Signature, and no more")
	}
	return auth, checkSignedNames(auth.signedHeaders)
}

// checkSignedNames refuses a list that two parsers could read differently.
func checkSignedNames(names []string) error {
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || slices.Contains(names[:i], name) {
			return refused("SignedHeaders must hold each name once, in lower case")
		}
	}
	return nil
}

// signedHeaders returns the headers of req with these names. An error names a missing one.
func signedHeaders(req *http.Request, names []string) ([]signedHeader, error) {
	headers := make([]signedHeader, 0, len(names))
	for _, name := range names {
		values := req.Header.Values(name)
		if name == "host" {
			values = []string{requestHost(req)}
		}
		if len(values) == 0 {
			return nil, refused("signed header " + redact.Excerpt(name, redact.Short) + " is missing")
		}
		headers = append(headers, signedHeader{name, values})
	}
	return headers, nil
}

// verifiedDate returns the signed date if it is within the window around now.
func verifiedDate(headers []signedHeader, now time.Time) (string, error) {
	date, ok := signedValue(headers, "x-sdk-date")
	if !ok {
		return "", refused(headerSdkDate + " is not signed")
	}
	t, err := time.Parse(signingTime, date)
	if err != nil || len(date) != len(signingTime) {
		return "", refused(headerSdkDate + " is not of the form YYYYMMDDTHHMMSSZ")
	}
	if off := t.Sub(now).Abs(); off > clockWindow {
		return "", refused(fmt.Sprintf("%s is %v from the verifier's clock, more than %v", headerSdkDate, off.Round(time.Second), clockWindow))
	}
	return date, nil
}

// verifyToken refuses a token that is not the signer's, and a missing one if the signer has a token.
func (s Signer) verifyToken(req *http.Request, headers []signedHeader) error {
	sent := req.Header.Values(headerSecurityToken)
	if len(sent) == 0 && s.SecurityToken == "" {
		return nil
	}
	token, signed := signedValue(headers, "x-security-token")
	if !signed {
		return refused(headerSecurityToken + " is missing or not signed")
	}
	if len(sent) != 1 || subtle.ConstantTimeCompare([]byte(token), []byte(s.SecurityToken)) != 1 {
		return refused(headerSecurityToken + " does not belong to the access key")
	}
	return nil
}

// verifiedPayload returns the last line of the canonical request. It refuses a signed X-Sdk-Content-Sha256 that is
// not the hash of the body.
func verifiedPayload(req *http.Request, headers []signedHeader) (string, error) {
	declared, ok := signedValue(headers, "x-sdk-content-sha256")
	if declared == unsignedPayload {
		return declared, nil
	}
	actual, err := hashedBody(req)
	if err != nil {
		return "", err
	}
	if ok && !strings.EqualFold(declared, actual) {
		return "", refused(headerContentSha256 + " is not the hash of the body")
	}
	if ok {
		return declared, nil
	}
	return actual, nil
}

func refused(why string) error { return fmt.Errorf("%w: %s", ErrUnauthorized, why) }
