package cdntest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"time"
)

// linker makes download links and tells its own from forged ones. A link holds when it expires and
// a signature over that, as those of object stores do.
type linker struct {
	key  []byte
	life time.Duration
}

func newLinker(life time.Duration) linker {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails: see its documentation
	return linker{key, life}
}

func (l linker) link(base, taskID string, now time.Time) string {
	// A link counts in seconds; rounding down would make one of a short life expired from the start.
	expires := strconv.FormatInt(now.Add(l.life+time.Second-1).Unix(), 10)
	query := url.Values{"Expires": {expires}, "Signature": {l.signature(taskID, expires)}}
	return base + filesPrefix + url.PathEscape(taskID) + "?" + query.Encode()
}

func (l linker) signature(taskID, expires string) string {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(taskID + "\n" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

func (l linker) genuine(taskID string, query url.Values) bool {
	want := l.signature(taskID, query.Get("Expires"))
	return hmac.Equal([]byte(want), []byte(query.Get("Signature")))
}

// expired reports whether a link, which must be genuine, is past its time.
func (l linker) expired(query url.Values, now time.Time) bool {
	expires, _ := strconv.ParseInt(query.Get("Expires"), 10, 64) // a genuine link has a number
	return now.After(time.Unix(expires, 0))
}
