package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

// maxRedirects is how many redirects one attempt follows.
const maxRedirects = 3

// firstLink sets the first link: the configured one if there is one and it has not expired.
func (d *download) firstLink(ctx context.Context) error {
	if d.Link == nil || isExpired(d.Link, time.Now()) {
		return d.fetchLink(ctx)
	}
	return d.setLink(d.Link)
}

// relinkIfNeeded fetches a new link if the store has refused the last one, or if the last one has expired.
func (d *download) relinkIfNeeded(ctx context.Context, cause error) error {
	var response *StoreError
	refused := errors.As(cause, &response) && response.refusesLink()
	if !refused && !isExpired(d.link, time.Now()) {
		return nil
	}
	d.relinked = d.relinked || refused
	return d.fetchLink(ctx)
}

// fetchLink sets the link that the source returns.
func (d *download) fetchLink(ctx context.Context) error {
	link, err := d.source(ctx)
	if err != nil {
		return err
	}
	return d.setLink(link)
}

// setLink sets the link. It returns an error if the link is not allowed.
func (d *download) setLink(link *url.URL) error {
	if fault := d.LinkFault(link); fault != "" {
		return &Error{Cause: fmt.Errorf("%w: %s", ErrMalformed, fault)}
	}
	d.link = link
	d.keys.add(link)
	return nil
}

// LinkFault returns why a link is not allowed, or "" if it is allowed.
func (c *Config) LinkFault(link *url.URL) string {
	host := link.Hostname()
	switch {
	case host == "":
		return "the download link has no host"
	case link.Scheme != "https" && link.Scheme != "http":
		return fmt.Sprintf("the download link %s is not https", redact.Link(link.String()))
	case isLocal(host) && !c.Loopback:
		return fmt.Sprintf("the download link %s leads to this machine, and the endpoint is another", redact.Link(link.String()))
	case link.Scheme == "http" && !isLocal(host) && !c.InsecureHTTP:
		return fmt.Sprintf("the download link %s is not https: only loopback hosts are reached without encryption, or any WithInsecureHTTP",
			redact.Link(link.String()))
	}
	return ""
}

// isLocal reports whether host is a name or an address of this machine on every machine. It looks nothing up.
func isLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	addr = addr.Unmap()
	// Linux connects to the machine itself for an unspecified address.
	return err == nil && (addr.IsLoopback() || addr.IsUnspecified())
}

// checkRedirect allows up to maxRedirects redirects, each to an allowed link and none out of https.
func (d *download) checkRedirect(req *http.Request, via []*http.Request) error {
	// net/http sends the link as Referer, which is the key to the file.
	req.Header.Del("Referer")
	d.keys.add(req.URL)
	d.wire.redirected()
	switch fault := d.LinkFault(req.URL); {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d redirects", ErrMalformed, maxRedirects)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: redirected out of https, to %s", ErrMalformed, redact.Link(req.URL.String()))
	case fault != "":
		return fmt.Errorf("%w: redirected: %s", ErrMalformed, fault)
	}
	return nil
}

// isExpired reports whether a link has expired according to its own parameters: Expires, in seconds since 1970, or
// X-Amz-Date and X-Amz-Expires, in seconds from that date.
func isExpired(link *url.URL, now time.Time) bool {
	query := link.Query()
	if expires, err := strconv.ParseInt(query.Get("Expires"), 10, 64); err == nil {
		return now.Unix() >= expires
	}
	signed, dateErr := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	seconds, err := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 32)
	return dateErr == nil && err == nil && !now.Before(signed.Add(time.Duration(seconds)*time.Second))
}
