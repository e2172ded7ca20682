package cdn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// The constants of the signing guide.
const (
	signingAlgorithm = "SDK-HMAC-SHA256"
	signingTime      = "20060102T150405Z"

	headerAuthorization = "Authorization"
	headerSdkDate       = "X-Sdk-Date"
	headerSecurityToken = "X-Security-Token"
	headerContentSha256 = "X-Sdk-Content-Sha256"
	unsignedPayload     = "UNSIGNED-PAYLOAD"
)

// maxSignedBody is the largest body, in bytes, that is read into memory to be signed or verified.
const maxSignedBody = 32 << 20

// Signer signs requests with SDK-HMAC-SHA256 and verifies the signatures of requests. It works on any
// [http.Request], not only on this package's, and is safe for concurrent use.
//
// Printing, logging or marshalling a Signer shows the access key and never the secrets. The exception is
// a Signer in an unexported field of a struct: fmt calls no methods there and prints everything.
type Signer struct {
	// AccessKey is the AK. It is sent with every request.
	AccessKey string
	// SecretKey is the SK. It is never sent.
	SecretKey string `json:"-" xml:"-" yaml:"-"`
	// SecurityToken belongs to temporary credentials. It is empty for permanent credentials.
	SecurityToken string `json:"-" xml:"-" yaml:"-"`
}

// Sign dates req with t and signs it. It sets X-Sdk-Date, Authorization and, if the signer has a token,
// X-Security-Token. Earlier values of these are replaced. Do not change the request afterwards.
//
// Sign covers the method, the path, the query, the body, the host and the headers. These headers are not
// signed, because proxies rewrite or drop them: Authorization, User-Agent, Accept, Accept-Encoding,
// Connection, Content-Length, Content-Type and names with an underscore. Nor are those that net/http may
// not send: Expect, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding and Upgrade.
//
// The body is read through GetBody and stays unread. A request without GetBody gets one, and up to 32 MiB
// of body in memory. A header X-Sdk-Content-Sha256 is taken as the body's hash; the body is not read then.
//
// An error wraps [ErrInvalidParameter] if a key is blank, or if the URL, the host or a header cannot be
// signed. If the body cannot be read, the reader's error is wrapped. A host is signed as it is sent: it
// must be ASCII (punycode), and an IPv6 address must have no zone.
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

// removeSignature removes an earlier signature, in any spelling of its names: on the wire all spellings
// are one header, and a second date or an old token must not be sent.
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

// signature returns the hex HMAC of the string to sign.
func (s Signer) signature(stringToSign []byte) []byte {
	mac := hmacSha256(s.SecretKey, stringToSign)
	return hex.AppendEncode(nil, mac[:])
}

// hmacSha256 returns the HMAC (RFC 2104) that crypto/hmac returns, without its six allocations.
func hmacSha256(key string, message []byte) [sha256.Size]byte {
	if len(key) > sha256.BlockSize {
		hashed := sha256.Sum256([]byte(key))
		key = string(hashed[:])
	}
	inner := make([]byte, sha256.BlockSize, sha256.BlockSize+128)
	outer := make([]byte, sha256.BlockSize, sha256.BlockSize+sha256.Size)
	copy(inner, key)
	copy(outer, key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	hashed := sha256.Sum256(append(inner, message...))
	return sha256.Sum256(append(outer, hashed[:]...))
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

// validateKey refuses keys with a character that no key has. The usual cause is a line break that was
// copied with the key; the service would only refuse the signature. The error does not show the key.
func validateKey(name, key string) error {
	if key == "" {
		return fmt.Errorf("%w: %s is empty", ErrInvalidParameter, name)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' || key[i] == ',' {
			return fmt.Errorf("%w: %s has a character that no key has (white space, a comma, a control or non-ASCII character) at byte %d",
				ErrInvalidParameter, name, i)
		}
	}
	return nil
}

// validateHost refuses a host that net/http would change before it sends it.
func validateHost(host string) error {
	if !isASCII(host) {
		return invalid("Host", host, "must be in ASCII: give it in punycode")
	}
	if strings.Contains(host, "%") {
		return invalid("Host", host, "must have no zone (what follows the %)")
	}
	return nil
}

// requestHost returns the host that net/http sends with req, or received with it.
func requestHost(req *http.Request) string {
	if req.Host != "" || req.URL == nil {
		return req.Host
	}
	return req.URL.Host
}

// emptyBodySha256 is hex(SHA-256("")).
const emptyBodySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// hashedBody returns hex(SHA-256(body)). The body can be read afterwards as before.
func hashedBody(req *http.Request) (string, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return emptyBodySha256, nil
	}
	if req.GetBody == nil {
		if err := bufferBody(req); err != nil {
			return "", err
		}
	}
	body, err := req.GetBody()
	if err != nil {
		return "", fmt.Errorf("read the body: %w", err)
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, body); err != nil {
		return "", fmt.Errorf("read the body: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// bufferBody reads the body into memory and sets GetBody, so that the body can be read more than once.
func bufferBody(req *http.Request) error {
	data, err := io.ReadAll(io.LimitReader(req.Body, maxSignedBody+1))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if len(data) > maxSignedBody {
		return fmt.Errorf("%w: the body is larger than %d bytes", ErrInvalidParameter, maxSignedBody)
	}
	if err := req.Body.Close(); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	req.Body, err = req.GetBody()
	return err
}
