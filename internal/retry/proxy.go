package retry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// ProxyError reports that a proxy refused to connect to the service. Nothing was sent to the service.
type ProxyError struct {
	// Proxy is the proxy's host and port; empty if the transport does not say which proxy it was.
	Proxy string
	// StatusCode is the proxy's response to CONNECT.
	StatusCode int
}

// Error names the proxy and its status.
func (e *ProxyError) Error() string {
	status := fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	if e.Proxy == "" {
		return "the proxy responded to CONNECT with " + status
	}
	return "the proxy " + e.Proxy + " responded to CONNECT with " + status
}

// OnProxyConnectResponse returns a *ProxyError if the proxy has refused. It is for the field of [http.Transport].
func OnProxyConnectResponse(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{Proxy: proxy.Host, StatusCode: response.StatusCode}
}

// AsProxyError returns the *ProxyError in err, or nil. It also returns one for the error of an [http.Transport] without
// OnProxyConnectResponse, which has the text of the proxy's status only.
func AsProxyError(err error) *ProxyError {
	var proxy *ProxyError
	if errors.As(err, &proxy) {
		return proxy
	}
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	for _, status := range []int{
		http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	} {
		if err.Error() == http.StatusText(status) {
			return &ProxyError{StatusCode: status}
		}
	}
	return nil
}
