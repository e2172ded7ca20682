package cdntest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// filesPrefix and the task's id are the path of a file.
const filesPrefix = "/files/"

// accountHeaders are those of the API, which say who is calling. They are none of the object
// store's business.
var accountHeaders = []string{
	"Authorization", "X-Sdk-Date", "X-Security-Token", "X-Domain-Id", "X-Project-Id", "X-Sdk-Content-Sha256",
}

// file is what is behind a download link. It is never changed, only replaced.
type file struct {
	content  []byte
	sum      [md5.Size]byte
	modified time.Time
}

// newFile copies content; it returns nil for nil.
func newFile(content []byte, modified time.Time) *file {
	if content == nil {
		return nil
	}
	return &file{bytes.Clone(content), md5.Sum(content), modified}
}

func (f *file) etag() string {
	return `"` + hex.EncodeToString(f.sum[:]) + `"`
}

func (s *service) serveFile(w http.ResponseWriter, r *http.Request) {
	for _, name := range accountHeaders {
		if r.Header.Get(name) != "" {
			storeError(w, http.StatusBadRequest, "InvalidArgument", "A link is authentication enough: do not send the header "+name)
			return
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		storeError(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "A link is for reading only")
		return
	}
	id := strings.TrimPrefix(r.URL.Path, filesPrefix)
	query := r.URL.Query()
	if !s.links.genuine(id, query) {
		storeError(w, http.StatusForbidden, "SignatureDoesNotMatch", "The link was not made by this server, or was changed")
		return
	}
	if s.links.expired(query, s.clock()) {
		storeError(w, http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	f := s.store.fileOf(id)
	if f == nil {
		storeError(w, http.StatusNotFound, "NoSuchKey", "There is no such file")
		return
	}
	s.send(w, r, f)
}

func (s *service) send(w http.ResponseWriter, r *http.Request, f *file) {
	w.Header().Set("ETag", f.etag())
	// The API reference does not say what format an export has.
	w.Header().Set("Content-Type", "application/octet-stream")
	// Of a part, the header would have to be the part's own sum, which helps no one.
	if s.contentMD5 && r.Header.Get("Range") == "" {
		w.Header().Set("Content-MD5", base64.StdEncoding.EncodeToString(f.sum[:]))
	}
	http.ServeContent(w, r, "", f.modified, bytes.NewReader(f.content))
}
