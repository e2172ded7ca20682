package cdn

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// The words of the signing guide.
const (
	signingAlgorithm = "SDK-HMAC-SHA256"
	signingTime      = "20060102T150405Z"

	headerAuthorization = "Authorization"
	headerSdkDate       = "X-Sdk-Date"
	headerSecurityToken = "X-Security-Token"
	headerContentSha256 = "X-Sdk-Content-Sha256"
	unsignedPayload     = "UNSIGNED-PAYLOAD"
)

// clockWindow is how far a request's date may be from the verifier's clock, either way.
const clockWindow = 15 * time.Minute

// maxSignedBody is the largest body, in bytes, that is read into memory to be signed or verified.
const maxSignedBody = 32 << 20

// Signer signs requests with SDK-HMAC-SHA256 and verifies the signatures of others. It works on any
// [http.Request], not only on this package's, and is safe for concurrent use. Printing, logging or
// marshalling it shows the access key and never the secrets; but where it is in an unexported field of
// a struct, fmt calls no method of it and shows all.
type Signer struct {
	// AccessKey is the AK. It travels with every request.
	AccessKey string
	// SecretKey is the SK. It is never sent.
	SecretKey string `json:"-" xml:"-" yaml:"-"`
	// SecurityToken belongs to temporary credentials; empty for permanent ones.
	SecurityToken string `json:"-" xml:"-" yaml:"-"`
}

// Sign dates req with t and signs it: it sets X-Sdk-Date, X-Security-Token where the signer has a
// token, and Authorization, in place of any that were there. Do not change the request afterwards.
//
// Signed are the method, the path, the query, the body, the host, and every header but
// Authorization, User-Agent, Accept, Accept-Encoding, Connection, Content-Length, Content-Type and
// those with an underscore in their name, since proxies rewrite or drop these. Nor are those signed
// that net/http may keep to itself: Expect, Keep-Alive, Proxy-Connection, TE, Trailer,
// Transfer-Encoding and Upgrade.
//
// The body is read through GetBody and stays unread; where a request has no GetBody, it gets one,
// and up to 32 MiB of body in memory. A header X-Sdk-Content-Sha256 stands for the body's hash and
// spares the reading.
//
// An error wraps [ErrInvalidParameter] where the keys are blank or the URL, the host or a header
// cannot be signed, and is the reader's own where the body cannot be read. A host is signed as it is
// sent: give a name in punycode where it is not ASCII, and an IPv6 address without its zone.
func (s Signer) Sign(req *http.Request, t time.Time) error {
	if err := s.sign(req, t); err != nil {
		return fmt.Errorf("cdn: sign: %w", err)
	}
	return nil
}

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
	delete(req.Header, headerAuthorization) // an error leaves no signature that is not the request's
	date := t.UTC().Format(signingTime)
	removeSignature(req.Header)
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
	req.Header[headerAuthorization] = []string{s.authorization(headers, s.signature(date, canonical))}
	return nil
}

// removeSignature removes what an earlier signature has set and this one does not overwrite, however
// its names are spelled: on the wire all spellings are one header, and a second date or an old token
// must not be on it.
func removeSignature(header http.Header) {
	for name := range header {
		if name == headerSdkDate || name == headerAuthorization {
			continue
		}
		switch lowerCase(name) {
		case "authorization", "x-sdk-date", "x-security-token":
			delete(header, name)
		}
	}
}

// Verify reports whether req carries this signer's signature and a date within 15 minutes of now,
// as the API gateway would. It goes by the request's own list of signed headers, which must hold
// X-Sdk-Date, and X-Security-Token where there is one; the token must be the signer's. Signatures
// are compared in constant time.
//
// Up to 32 MiB of body are read into memory and put back; bound the body before for less
// ([http.MaxBytesReader]). It is not read where a signed X-Sdk-Content-Sha256 says
// UNSIGNED-PAYLOAD, as the official SDKs send it with bodies other than JSON.
//
// An error wraps [ErrUnauthorized] where the request is refused, [ErrInvalidParameter] where the
// signer's own keys are blank, and is the reader's own where the body cannot be read.
func (s Signer) Verify(req *http.Request, now time.Time) error {
	if err := s.verify(req, now); err != nil {
		return fmt.Errorf("cdn: verify: %w", err)
	}
	return nil
}

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
	if !hmac.Equal([]byte(auth.signature), s.signature(date, canonical)) {
		return refused("the signature does not match")
	}
	return nil
}

// Format prints the access key, whatever the verb, and neither secret.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String names the signer by its access key.
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

// validateKey refuses what cannot be a key: most often a line break that came along with it from a
// file, which would only show as a refused signature. The key is not part of the error.
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

// validateHost refuses what net/http would change on sending it: the signature would be of another host.
func validateHost(host string) error {
	if !isASCII(host) {
		return invalid("Host", host, "must be in ASCII: give it in punycode")
	}
	if strings.Contains(host, "%") {
		return invalid("Host", host, "must have no zone (what follows the %)")
	}
	return nil
}

// appendCanonicalRequest is the first of the guide's three steps.
func appendCanonicalRequest(b []byte, req *http.Request, headers []signedHeader, hashedPayload string) ([]byte, error) {
	if req.URL == nil || req.URL.Opaque != "" {
		return nil, fmt.Errorf("%w: the URL must have a host and a path, and no opaque part", ErrInvalidParameter)
	}
	b = append(b, cmp.Or(req.Method, http.MethodGet)...)
	b = append(b, '\n')
	b = appendCanonicalURI(b, req.URL.Path)
	b = append(b, '\n')
	b, err := appendCanonicalQueryString(b, req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b, err = appendCanonicalHeaders(b, headers)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b = appendSignedHeaders(b, headers)
	b = append(b, '\n')
	return append(b, hashedPayload...), nil
}

// appendCanonicalURI encodes each segment of the path and ends it with a slash.
func appendCanonicalURI(b []byte, path string) []byte {
	for i := range len(path) {
		if path[i] == '/' {
			b = append(b, '/')
			continue
		}
		b = appendEscaped(b, path[i])
	}
	if !strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return b
}

type queryParameter struct{ key, value string }

func unescapeParameter(pair string) (queryParameter, error) {
	key, value, _ := strings.Cut(pair, "=")
	key, err := url.QueryUnescape(key)
	if err != nil {
		return queryParameter{}, err
	}
	value, err = url.QueryUnescape(value)
	return queryParameter{key, value}, err
}

func (p queryParameter) compare(other queryParameter) int {
	if byKey := strings.Compare(p.key, other.key); byKey != 0 {
		return byKey
	}
	return strings.Compare(p.value, other.value)
}

// appendCanonicalQueryString writes the parameters sorted by key, then by value. The official SDK
// sorts before it encodes, which is another order than sorting the encoded text.
func appendCanonicalQueryString(b []byte, rawQuery string) ([]byte, error) {
	parameters := make([]queryParameter, 0, 8)
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" {
			continue
		}
		parameter, err := unescapeParameter(pair)
		if err != nil {
			return nil, fmt.Errorf("%w: query: %w", ErrInvalidParameter, err)
		}
		parameters = append(parameters, parameter)
	}
	slices.SortFunc(parameters, queryParameter.compare)
	for i, parameter := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = appendEscapedString(b, parameter.key)
		b = append(b, '=')
		b = appendEscapedString(b, parameter.value)
	}
	return b, nil
}

// signedHeader is one name of the list of signed headers, in lower case, with all its values.
type signedHeader struct {
	name   string
	values []string
}

// headersToSign adds what Sign signs of req's headers, sorted by name, to an empty slice.
func headersToSign(headers []signedHeader, req *http.Request) []signedHeader {
	headers = append(headers, signedHeader{"host", []string{requestHost(req)}})
	for name, values := range req.Header {
		name = lowerCase(name)
		if len(values) == 0 || !isSigned(name) {
			continue
		}
		headers = append(headers, signedHeader{name, values})
	}
	slices.SortFunc(headers, func(a, b signedHeader) int { return strings.Compare(a.name, b.name) })
	return mergeSameName(headers)
}

// lowerCase is strings.ToLower, without an allocation for the names that most requests have.
func lowerCase(name string) string {
	switch name {
	case headerSdkDate:
		return "x-sdk-date"
	case headerSecurityToken:
		return "x-security-token"
	case headerAuthorization:
		return "authorization"
	case "Accept":
		return "accept"
	case "Content-Type":
		return "content-type"
	case "User-Agent":
		return "user-agent"
	}
	return strings.ToLower(name)
}

// mergeSameName makes one header of those whose names differ in case only, as they are one on the wire.
func mergeSameName(headers []signedHeader) []signedHeader {
	merged := headers[:1]
	for _, header := range headers[1:] {
		last := &merged[len(merged)-1]
		if header.name != last.name {
			merged = append(merged, header)
			continue
		}
		last.values = slices.Concat(last.values, header.values)
	}
	return merged
}

// isSigned reports whether Sign signs the header with this lower-case name.
func isSigned(name string) bool {
	switch name {
	// Proxies rewrite or drop these.
	case "authorization", "user-agent", "accept", "accept-encoding", "connection", "content-length", "content-type":
		return false
	// net/http writes these itself or not at all, whatever the request's header map says.
	case "host", "trailer", "transfer-encoding":
		return false
	// These speak to the next hop: over HTTP/2, net/http does not send them, or its server takes them
	// out, and a proxy may do so anywhere.
	case "expect", "keep-alive", "proxy-connection", "te", "upgrade":
		return false
	}
	return !strings.Contains(name, "_")
}

// signedHeaders looks up the names that a request lists as signed.
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

// lookUp is the first value of the header with this lower-case name, where it is signed.
func lookUp(headers []signedHeader, name string) (string, bool) {
	for _, header := range headers {
		if header.name == name {
			return strings.TrimSpace(header.values[0]), true
		}
	}
	return "", false
}

// appendCanonicalHeaders writes a line for each value, the values of a header sorted.
func appendCanonicalHeaders(b []byte, headers []signedHeader) ([]byte, error) {
	for _, header := range headers {
		for _, value := range canonicalValues(header.values) {
			if slices.ContainsFunc([]byte(value), isLineBreak) {
				return nil, fmt.Errorf("%w: header %s has a line break in its value", ErrInvalidParameter, header.name)
			}
			b = append(b, header.name...)
			b = append(b, ':')
			b = append(b, strings.TrimSpace(value)...)
			b = append(b, '\n')
		}
	}
	return b, nil
}

// isLineBreak reports whether c ends a header, or would for some server on the way.
func isLineBreak(c byte) bool { return c == '\r' || c == '\n' || c == 0 }

// canonicalValues is values in the order of what arrives of them: the spaces around them do not.
func canonicalValues(values []string) []string {
	if len(values) < 2 {
		return values
	}
	return slices.SortedFunc(slices.Values(values), func(a, b string) int {
		return strings.Compare(strings.TrimSpace(a), strings.TrimSpace(b))
	})
}

func appendSignedHeaders(b []byte, headers []signedHeader) []byte {
	for i, header := range headers {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, header.name...)
	}
	return b
}

// signature takes the guide's second and third step: the string to sign, and its HMAC in hex.
func (s Signer) signature(date string, canonicalRequest []byte) []byte {
	hashed := sha256.Sum256(canonicalRequest)
	stringToSign := make([]byte, 0, 128)
	stringToSign = append(stringToSign, signingAlgorithm...)
	stringToSign = append(stringToSign, '\n')
	stringToSign = append(stringToSign, date...)
	stringToSign = append(stringToSign, '\n')
	stringToSign = hex.AppendEncode(stringToSign, hashed[:])

	mac := hmacSha256(s.SecretKey, stringToSign)
	return hex.AppendEncode(nil, mac[:])
}

// hmacSha256 is the HMAC (RFC 2104) of crypto/hmac, computed without its six allocations: it has a
// block to fill for the key, and the hash of a message that is all there.
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

// authorization is the value of the Authorization header.
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

// authorization holds the parts of an Authorization header.
type authorization struct {
	accessKey     string
	signedHeaders []string
	signature     string
}

// parseAuthorization reads the one Authorization header that a request must have.
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

// checkSignedNames refuses lists that could be read in two ways.
func checkSignedNames(names []string) error {
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || slices.Contains(names[:i], name) {
			return refused("SignedHeaders must hold each name once, in lower case")
		}
	}
	return nil
}

// verifiedDate is the signed date, where it is within the window around now.
func verifiedDate(headers []signedHeader, now time.Time) (string, error) {
	date, ok := lookUp(headers, "x-sdk-date")
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

func (s Signer) verifyToken(req *http.Request, headers []signedHeader) error {
	sent := req.Header.Values(headerSecurityToken)
	if len(sent) == 0 && s.SecurityToken == "" {
		return nil
	}
	token, signed := lookUp(headers, "x-security-token")
	if !signed {
		return refused(headerSecurityToken + " is missing or not signed")
	}
	if len(sent) != 1 || subtle.ConstantTimeCompare([]byte(token), []byte(s.SecurityToken)) != 1 {
		return refused(headerSecurityToken + " does not belong to the access key")
	}
	return nil
}

// verifiedPayload is what the request's signer took for the body's hash, where it is the body's hash.
func verifiedPayload(req *http.Request, headers []signedHeader) (string, error) {
	declared, ok := lookUp(headers, "x-sdk-content-sha256")
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

// hashedPayload is the last line of the canonical request.
func hashedPayload(req *http.Request, headers []signedHeader) (string, error) {
	if declared, _ := lookUp(headers, "x-sdk-content-sha256"); declared != "" {
		return declared, nil
	}
	return hashedBody(req)
}

// emptyBodySha256 is hex(SHA-256("")).
const emptyBodySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// hashedBody is hex(SHA-256(body)). The body can be read afterwards as before.
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

// bufferBody reads the body into memory, so that it can be read more than once.
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

// requestHost is the host that net/http sends with req, or received with it.
func requestHost(req *http.Request) string {
	if req.Host != "" || req.URL == nil {
		return req.Host
	}
	return req.URL.Host
}

func refused(why string) error { return fmt.Errorf("%w: %s", ErrUnauthorized, why) }

const upperHex = "0123456789ABCDEF"

func appendEscapedString(b []byte, s string) []byte {
	for i := range len(s) {
		b = appendEscaped(b, s[i])
	}
	return b
}

// appendEscaped keeps the unreserved characters of RFC 3986 and percent-encodes all others.
func appendEscaped(b []byte, c byte) []byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}
