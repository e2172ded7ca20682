package redact

import (
	"net/http"
	"net/url"
)

// Transport removes two parts of the responses of Base that are not safe to handle.
//
//   - A Location that is not a URL: net/http quotes it in its error, and with it the key to a file.
//   - The body of a 101: it is the connection itself, and no context ends a Read of it.
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
	if resp.StatusCode == http.StatusSwitchingProtocols && resp.Body != nil {
		_ = resp.Body.Close() // the response is an error without it
		resp.Body = http.NoBody
	}
	return resp, nil
}

// CloseIdleConnections closes the idle connections of Base. It does nothing if Base has no method of this name.
func (t Transport) CloseIdleConnections() {
	if closer, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
