package redact

import (
	"net/http"
	"net/url"
)

// Transport removes a Location that is not a URL from the responses of Base: net/http would quote it in its
// error, and with it the key to a file.
type Transport struct{ Base http.RoundTripper }

// RoundTrip sends req through Base.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Base.RoundTrip(req)
	if err != nil || resp == nil {
		return resp, err
	}
	if _, err := url.Parse(resp.Header.Get("Location")); err != nil {
		resp.Header.Del("Location")
	}
	return resp, nil
}

// CloseIdleConnections closes those of Base, if it has a method of this name.
func (t Transport) CloseIdleConnections() {
	if closer, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
