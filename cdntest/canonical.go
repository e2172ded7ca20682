package cdntest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// canonicalRequest returns the canonical request of r as the gateway quotes it: one line, with | for a line break.
// It has the headers that r lists as signed.
func canonicalRequest(r *http.Request) string {
	_, names, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	lines := []string{r.Method, strings.TrimSuffix(r.URL.EscapedPath(), "/") + "/", canonicalQuery(r.URL.Query())}
	for name := range strings.SplitSeq(names, ";") {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		lines = append(lines, name+":"+strings.TrimSpace(value))
	}
	body, _ := io.ReadAll(r.Body) // it is in memory
	sum := sha256.Sum256(body)
	return strings.Join(append(lines, "", names, hex.EncodeToString(sum[:])), "|")
}

func canonicalQuery(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}
