package retry

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
)

// IsTransientStatus reports whether a response with this status may be followed by a success if the same
// request is sent again: 408, 429, 500, 502, 503, 504.
func IsTransientStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// IsTransient reports whether err is a failure of a connection that the next connection may not have: a
// timeout, a reset, a lookup that failed temporarily, a proxy that failed. TLS failures and unknown hosts are
// permanent. The method Transient of an error, if it has one, decides.
func IsTransient(err error) bool {
	var lookup *net.DNSError
	var operation *net.OpError
	var header textproto.ProtocolError // a response that was cut within a line of its header
	var proxy *ProxyError
	var other interface{ Transient() bool }
	switch {
	case errors.As(err, &other):
		return other.Transient()
	case isTLSFailure(err):
		return false
	case errors.As(err, &proxy):
		return IsTransientStatus(proxy.StatusCode)
	case errors.As(err, &lookup):
		return !lookup.IsNotFound
	case IsTimeout(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, &operation), errors.As(err, &header):
		return true
	}
	return hasTransientText(err.Error())
}

// hasTransientText reports whether text is one of the transient errors that net/http does not export.
func hasTransientText(text string) bool {
	for _, part := range []string{
		"http2: ", "stream error: ", // a connection that was lost, a stream that was reset
		"server closed idle connection",
		"unexpected EOF reading trailer", // a chunked body that was cut behind its last chunk
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// IsTimeout reports whether err is a timeout, a context's or the network's.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isTLSFailure reports whether the two sides could not agree on a secure connection.
func isTLSFailure(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var operation *net.OpError
	switch {
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert):
		return true
	case errors.As(err, &operation):
		// crypto/tls wraps the alerts of both sides in these.
		return operation.Op == "remote error" || operation.Op == "local error"
	}
	return false
}
