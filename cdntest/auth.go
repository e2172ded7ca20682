package cdntest

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
)

const unauthorizedText = "Incorrect IAM authentication information: "

// A key is locked for lockTime after more than lockAfter refused signatures in a row.
const (
	lockAfter = 5
	lockTime  = 5 * time.Minute
)

// WithKeyLock locks the access key for 5 minutes after more than five refused signatures in a row, as the service does.
// Meanwhile each request with the key gets the gateway's 401 with "AK access failed to reach the limit,forbidden",
// also with a right signature. By default a key is never locked.
func WithKeyLock() Option {
	return func(c *config) { c.keyLock = true }
}

// WithCanonicalEcho makes the 401 of a refused signature quote the canonical request and the Authorization header, as
// the gateway may. It tests that code which logs the error shows no security token. By default the 401 has the
// reason only.
func WithCanonicalEcho() Option {
	return func(c *config) { c.canonicalEcho = true }
}

// authenticated calls next for requests that are signed with the server's key pair and are within the quota.
func (s *service) authenticated(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := s.clock()
		if s.keyLock && s.lock.holds(now) && s.namesKey(r) {
			gatewayError(w, http.StatusUnauthorized, codeUnauthorized, unauthorizedText+"AK access failed to reach the limit,forbidden")
			return
		}
		if err := s.verify(r, now); err != nil {
			s.unauthorized(w, r, err)
			return
		}
		s.lock.accepted()
		if !s.throttle.take(now) {
			s.throttled(w)
			return
		}
		next(w, r)
	}
}

func (s *service) verify(r *http.Request, now time.Time) error {
	if s.noAuth {
		return nil
	}
	return s.signer().Verify(r, now)
}

// namesKey reports whether the Authorization of r has the server's access key.
func (s *service) namesKey(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Authorization"), "Access="+s.ak+",")
}

// unauthorized responds with the gateway's 401. The reason is that of [cdn.Signer.Verify], without its prefix.
func (s *service) unauthorized(w http.ResponseWriter, r *http.Request, err error) {
	if s.namesKey(r) {
		s.lock.refused(s.clock())
	}
	_, reason, found := strings.Cut(err.Error(), cdn.ErrUnauthorized.Error()+": ")
	if !found {
		reason = err.Error()
	}
	if s.canonicalEcho {
		reason += ", Authorization:" + r.Header.Get("Authorization") + ", canonicalRequest:" + canonicalRequest(r)
	}
	gatewayError(w, http.StatusUnauthorized, codeUnauthorized, unauthorizedText+reason)
}

// keyLock counts the refused signatures of the access key.
type keyLock struct {
	mu     sync.Mutex
	inARow int
	until  time.Time
}

func (l *keyLock) holds(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.until)
}

func (l *keyLock) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inARow = 0
}

func (l *keyLock) refused(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inARow++
	if l.inARow > lockAfter {
		l.inARow, l.until = 0, now.Add(lockTime)
	}
}
