package cdn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// The algorithm, the format of dates and the headers of the signing guide.
const (
	signingAlgorithm = "SDK-HMAC-SHA256"
	signingTime      = "20060102T150405Z"

	headerAuthorization = "Authorization"
	headerSdkDate       = "X-Sdk-Date"
	headerSecurityToken = "X-Security-Token"
)

// Signer signs requests with SDK-HMAC-SHA256 and verifies the signatures of requests. It works on any
// [http.Request], not only on this package's, and is safe for concurrent use.
//
// Package fmt, package log/slog and encoders of JSON, XML and YAML show the access key of a Signer and never its
// secrets. There are two exceptions. fmt prints all of a Signer in an unexported field of a struct, since it calls
// no methods there. Package encoding/gob writes all fields.
type Signer struct {
	// AccessKey is the access key id (AK). It is sent with every request.
	AccessKey string
	// SecretKey is the secret access key (SK). It is never sent.
	SecretKey string `json:"-" xml:"-" yaml:"-"`
	// SecurityToken is the token of temporary credentials, empty for permanent ones. It is sent with every
	// request.
	SecurityToken string `json:"-" xml:"-" yaml:"-"`
}

// Sign dates req with t and signs it. It sets X-Sdk-Date, Authorization and, if the signer has a token,
// X-Security-Token. Earlier values of these are replaced. Do not change the request afterwards.
//
// Sign covers the method, the path, the query, the body, the host and the headers. It does not sign these
// headers, because proxies rewrite or drop them: Authorization, User-Agent, Accept, Accept-Encoding, Connection,
// Content-Length, Content-Type and names with an underscore. Nor does it sign those that net/http may not send:
// Expect, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding and Upgrade.
//
// Sign reads the body through GetBody, so the body stays unread. A request without GetBody gets one, and up to
// 32 MiB of body in memory. If there is a header X-Sdk-Content-Sha256, its value is signed as the body's hash and
// the body is not read.
//
// An error wraps [ErrInvalidParameter] if a key is empty or has a character that no key has, if the body has to be
// held in memory and is larger than 32 MiB, or if the URL, the host or a header cannot be signed. Errors from
// reading the body are wrapped. The host must be ASCII (punycode), and an IPv6 address must have no zone.
func (s Signer) Sign(req *http.Request, t time.Time) error {
	if err := s.sign(req, t); err != nil {
		return fmt.Errorf("cdn: Sign: %w", err)
	}
	return nil
}

// sign follows the guide: date, canonical request, string to sign, signature, Authorization header.
func (s Signer) sign(req *http.Request, t time.Time) error {
	if err := s.validate(); err != nil {
		return err
	}
	if err := validateHost(requestHost(req)); err != nil {
		return err
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	removeSignature(req.Header)
	date := t.UTC().Format(signingTime)
	req.Header[headerSdkDate] = []string{date}
	if s.SecurityToken != "" {
		req.Header[headerSecurityToken] = []string{s.SecurityToken}
	}
	headers := headersToSign(make([]signedHeader, 0, 16), req)
	payload, err := hashedPayload(req, headers)
	if err != nil {
		return err
	}
	canonical, err := appendCanonicalRequest(make([]byte, 0, 1024), req, headers, payload)
	if err != nil {
		return err
	}
	signature := s.signature(appendStringToSign(make([]byte, 0, 128), date, canonical))
	req.Header[headerAuthorization] = []string{s.authorization(headers, signature)}
	return nil
}

// removeSignature removes the headers of an earlier signature, in any case of their names: the case does not count
// on the wire, and a second date or an old token must not be sent.
func removeSignature(header http.Header) {
	for name := range header {
		switch lowerCase(name) {
		case "authorization", "x-sdk-date", "x-security-token":
			delete(header, name)
		}
	}
}

// appendStringToSign appends the guide's string to sign: the algorithm, the date and the hash of the
// canonical request.
func appendStringToSign(b []byte, date string, canonicalRequest []byte) []byte {
	hashed := sha256.Sum256(canonicalRequest)
	b = append(b, signingAlgorithm...)
	b = append(b, '\n')
	b = append(b, date...)
	b = append(b, '\n')
	return hex.AppendEncode(b, hashed[:])
}

// signature returns the guide's signature: the HMAC of the string to sign, in hex.
func (s Signer) signature(stringToSign []byte) []byte {
	mac := hmac.New(sha256.New, []byte(s.SecretKey))
	mac.Write(stringToSign)
	return hex.AppendEncode(nil, mac.Sum(nil))
}

// authorization returns the value of the Authorization header.
func (s Signer) authorization(headers []signedHeader, signature []byte) string {
	b := make([]byte, 0, 256)
	b = append(b, signingAlgorithm+" Access="...)
	b = append(b, s.AccessKey...)
	b = append(b, ", SignedHeaders="...)
	b = appendSignedHeaders(b, headers)
	b = append(b, ", Signature="...)
	b = append(b, signature...)
	return string(b)
}

// Format prints the access key, whatever the verb, and neither secret.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String returns the name of the type and the access key.
func (s Signer) String() string { return "cdn.Signer{AccessKey:" + s.AccessKey + "}" }

// LogValue logs the access key and neither secret.
func (s Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Signer) validate() error {
	if err := validateKey("AccessKey", s.AccessKey); err != nil {
		return err
	}
	if err := validateKey("SecretKey", s.SecretKey); err != nil {
		return err
	}
	if s.SecurityToken == "" {
		return nil
	}
	return validateKey("SecurityToken", s.SecurityToken)
}

// validateKey refuses a key with a character that no key has. The usual cause is a line break or a quote that was
// copied with the key. Its signature would be refused, and five of these lock the access key. The error does not
// show the key.
func validateKey(name, key string) error {
	if key == "" {
		return fmt.Errorf("%w: %s is empty", ErrInvalidParameter, name)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' || strings.IndexByte(`,"'`, key[i]) >= 0 {
			return fmt.Errorf("%w: %s has a character that no key has (white space, a comma, a quote, a control or non-ASCII character) at byte %d",
				ErrInvalidParameter, name, i)
		}
	}
	return nil
}

// validateHost refuses a host that net/http would change before it sends it.
func validateHost(host string) error {
	switch {
	case !isASCII(host):
		return invalid("Host", host, "must be in ASCII: give it in punycode")
	case strings.Contains(host, "%"):
		return invalid("Host", host, "must have no zone (what follows the %)")
	case strings.ContainsFunc(host, isNeverInHost):
		return invalid("Host", host, "must have no character that no host has, such as a space or a slash")
	}
	return nil
}

// isNeverInHost reports whether net/http sends an empty host instead of one with c.
func isNeverInHost(c rune) bool { return c <= ' ' || strings.ContainsRune("\"#/<>?@\\^`{|}\x7f", c) }

// requestHost returns the host that net/http sends with req, or received with it.
func requestHost(req *http.Request) string {
	if req.Host != "" || req.URL == nil {
		return req.Host
	}
	return req.URL.Host
}
