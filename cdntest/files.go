package cdntest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// filesPrefix and the task's id are the path of a file.
const filesPrefix = "/files/"

// The store's own names for a response, which it sends instead of X-Request-Id.
const (
	headerObsRequestID = "X-Obs-Request-Id"
	headerObsID2       = "X-Obs-Id-2"
)

// accountHeaders are headers of the API that identify the caller. The object store must not get them.
var accountHeaders = []string{
	"Authorization", "X-Sdk-Date", "X-Security-Token", "X-Domain-Id", "X-Project-Id", "X-Sdk-Content-Sha256",
}

// file is the file of a download link. It is never changed, only replaced.
type file struct {
	content  func() content
	modified time.Time
}

type content struct {
	bytes []byte
	sum   [md5.Size]byte
}

// newFile copies the bytes. It returns nil for nil.
func newFile(whole []byte, modified time.Time) *file {
	if whole == nil {
		return nil
	}
	c := content{bytes.Clone(whole), md5.Sum(whole)}
	return &file{func() content { return c }, modified}
}

// newReport returns a file whose content is made by the first download, since a report can be large.
func newReport(report func() []byte, modified time.Time) *file {
	return &file{sync.OnceValue(func() content {
		whole := report()
		return content{whole, md5.Sum(whole)}
	}), modified}
}

// etag returns the MD5 of the content, which is the ETag of an OBS object uploaded in one part.
func (f *file) etag() string {
	sum := f.content().sum
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *service) serveFile(w http.ResponseWriter, r *http.Request) {
	for _, name := range accountHeaders {
		if r.Header.Get(name) != "" {
			storeError(w, http.StatusBadRequest, "InvalidArgument", "A link needs no further authentication: do not send the header "+name)
			return
		}
	}
	id := strings.TrimPrefix(r.URL.Path, filesPrefix)
	if code, message := s.links.refusal(r, id, s.clock()); code != "" {
		storeError(w, http.StatusForbidden, code, message)
		return
	}
	f := s.store.fileOf(id)
	if f == nil {
		storeError(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist")
		return
	}
	s.send(w, r, f)
}

// send sends the file, or the part that the request asks for. It ignores If-Range, as OBS does.
func (s *service) send(w http.ResponseWriter, r *http.Request, f *file) {
	whole := f.content()
	size := int64(len(whole.bytes))
	w.Header().Set("ETag", f.etag())
	w.Header().Set("Last-Modified", f.modified.UTC().Format(http.TimeFormat))
	switch f.unmet(r.Header) {
	case http.StatusPreconditionFailed:
		storeError(w, http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the preconditions you specified did not hold")
		return
	case http.StatusNotModified:
		w.WriteHeader(http.StatusNotModified)
		return
	}
	part, asked := parseRange(r.Header.Get("Range"), size)
	if asked && part.length <= 0 {
		storeError(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range cannot be satisfied")
		return
	}
	w.Header().Set("Accept-Ranges", "bytes")
	// The format of an export is not documented.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(part.length, 10))
	status := http.StatusOK
	if asked {
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", part.contentRange(size))
	} else if s.contentMD5 {
		w.Header().Set("Content-MD5", base64.StdEncoding.EncodeToString(whole.sum[:]))
	}
	w.WriteHeader(status)
	_, _ = io.Copy(w, bytes.NewReader(whole.bytes[part.start:part.start+part.length])) // a client that has left cannot be told
}
