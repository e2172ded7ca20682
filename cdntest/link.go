package cdntest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// storeAccessKey is the store's own access key in its links. It is no key of the API.
	storeAccessKey = "CDNEXPORTSTOREKEY"

	amzTime = "20060102T150405Z"
)

// WithAmzLinks makes download links of the store's other kind, with X-Amz-Date and X-Amz-Expires. By default
// a link has AccessKeyId, Expires and Signature.
func WithAmzLinks() Option {
	return func(c *config) { c.amzLinks = true }
}

// linker makes and verifies download links. As with an object store, a link has its expiry and a signature. The
// signature is for GET, one file and that time, and for a request without the headers that OBS signs: Content-MD5,
// Content-Type and x-obs-*.
type linker struct {
	key  []byte
	life time.Duration
	amz  bool
}

func newLinker(life time.Duration, amz bool) linker {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails: see its documentation
	return linker{key, life, amz}
}

// link returns a link to the file of a task, valid from now for the linker's life.
func (l linker) link(base, taskID string, now time.Time) string {
	// A link counts in seconds; rounding down would make one of a short life expired from the start.
	expires := now.Add(l.life + time.Second - 1).Unix()
	query := url.Values{"AccessKeyId": {storeAccessKey}, "Expires": {strconv.FormatInt(expires, 10)}}
	if l.amz {
		query = url.Values{
			"X-Amz-Algorithm":     {"AWS4-HMAC-SHA256"},
			"X-Amz-Credential":    {storeAccessKey + now.UTC().Format("/20060102/") + "cn-north-1/s3/aws4_request"},
			"X-Amz-Date":          {now.UTC().Format(amzTime)},
			"X-Amz-Expires":       {strconv.FormatInt(expires-now.Unix(), 10)},
			"X-Amz-SignedHeaders": {"host"},
		}
	}
	name, signature := l.signature(&http.Request{Method: http.MethodGet}, query, taskID)
	query.Set(name, signature)
	return base + filesPrefix + url.PathEscape(taskID) + "?" + query.Encode()
}

// signature returns the signature that a request with this query needs, and the name of its parameter.
func (l linker) signature(r *http.Request, query url.Values, taskID string) (name, signature string) {
	if query.Has("X-Amz-Date") {
		signed := []string{r.Method, taskID, query.Get("X-Amz-Credential"), query.Get("X-Amz-Date"), query.Get("X-Amz-Expires")}
		return "X-Amz-Signature", hex.EncodeToString(l.mac(sha256.New, signed))
	}
	signed := []string{r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), query.Get("Expires")}
	signed = append(signed, obsHeaders(r.Header)...)
	return "Signature", base64.StdEncoding.EncodeToString(l.mac(sha1.New, append(signed, taskID)))
}

func (l linker) mac(algorithm func() hash.Hash, signed []string) []byte {
	mac := hmac.New(algorithm, l.key)
	mac.Write([]byte(strings.Join(signed, "\n")))
	return mac.Sum(nil)
}

// obsHeaders returns the headers x-obs-*, sorted.
func obsHeaders(header http.Header) []string {
	var found []string
	for name, values := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-obs-") {
			found = append(found, name+":"+strings.Join(values, ","))
		}
	}
	slices.Sort(found)
	return found
}

// refusal returns the store's code and message for an invalid link. They are empty if the link is valid.
func (l linker) refusal(r *http.Request, taskID string, now time.Time) (code, message string) {
	query := r.URL.Query()
	name, signature := l.signature(r, query, taskID)
	switch {
	case !query.Has(name):
		return "AccessDenied", "Anonymous access is forbidden for this operation"
	case name == "Signature" && query.Get("AccessKeyId") != storeAccessKey:
		return "InvalidAccessKeyId", "The access key of the link does not exist"
	case !hmac.Equal([]byte(signature), []byte(query.Get(name))):
		return "SignatureDoesNotMatch", "The link was not made by this server, was changed, or is not for this method and these headers"
	case now.After(expiry(query)):
		return "AccessDenied", "Request has expired"
	}
	return "", ""
}

// expiry returns the expiry of a link with a valid signature.
func expiry(query url.Values) time.Time {
	if date, err := time.Parse(amzTime, query.Get("X-Amz-Date")); err == nil {
		seconds, _ := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 64)
		return date.Add(time.Duration(seconds) * time.Second)
	}
	seconds, _ := strconv.ParseInt(query.Get("Expires"), 10, 64)
	return time.Unix(seconds, 0)
}
