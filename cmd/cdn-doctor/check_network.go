package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"example.com/huaweicloud/cdn/internal/retry"
)

// checkNetwork reports whether the service could be reached.
func (d *doctor) checkNetwork(err error) bool {
	e := d.observer.seen[0]
	d.checkDNS(e)
	d.checkProxy(e, err)
	d.checkTLS(e)
	if e.err == nil {
		return true
	}
	if !d.report.broken() {
		d.report.add("connection", broken, e.err.Error(), "check the endpoint, firewalls and the route to "+e.host+"; if the network needs a proxy, set HTTPS_PROXY")
	}
	d.report.skip("the service was not reached", slices.Concat(serviceChecks, listChecks, storeChecks)...)
	return false
}

func (d *doctor) checkDNS(e *exchange) {
	switch {
	case e.dnsErr != nil:
		d.report.add("dns", broken, e.dnsErr.Error(), "check the network and the endpoint's name; if the network needs a proxy, set HTTPS_PROXY")
	case len(e.addresses) > 0:
		d.report.ok("dns", "%s is %s", e.host, strings.Join(e.addresses, ", "))
	case e.proxy != nil:
		d.report.ok("dns", "the proxy resolves %s", e.host)
	default:
		d.report.ok("dns", "%s is an address", e.host)
	}
}

func (d *doctor) checkProxy(e *exchange, err error) {
	var refused *retry.ProxyError
	var dial *net.OpError
	switch {
	case errors.As(err, &refused):
		d.report.add("proxy", broken, refused.Error(), "check HTTPS_PROXY and NO_PROXY, or ask who runs the proxy")
	case errors.As(err, &dial) && dial.Op == "proxyconnect":
		d.report.add("proxy", broken, dial.Error(), "check HTTPS_PROXY: nothing listens there")
	case e.proxy != nil:
		d.report.ok("proxy", "%s", e.proxy.Host)
	default:
		d.report.ok("proxy", "none is set for %s", e.host)
	}
}

func (d *doctor) checkTLS(e *exchange) {
	switch {
	case e.tlsErr != nil:
		d.report.add("tls", broken, e.tlsErr.Error(), tlsAdvice(e.tlsErr))
	case e.tls != nil:
		certificate := e.tls.PeerCertificates[0]
		d.report.ok("tls", "%s, issued by %s, valid until %s", tls.VersionName(e.tls.Version), issuer(certificate.Issuer.Organization, certificate.Issuer.CommonName), certificate.NotAfter.Format("2006-01-02"))
	case e.connected != "":
		d.report.ok("tls", "not used: the endpoint is http://")
	default:
		d.report.skip("there was no connection", "tls")
	}
}

// tlsAdvice returns what to do after a TLS handshake that failed.
func tlsAdvice(err error) string {
	var invalid x509.CertificateInvalidError
	var otherHost x509.HostnameError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS):
		return "the server speaks no TLS: check the scheme and the port of the endpoint, and for a proxy on the way"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "check this machine's clock; if it is right, ask who runs the endpoint or a proxy on the way"
	case errors.As(err, &otherHost):
		return "check the endpoint's name; a proxy or portal on the way may respond instead of the service"
	}
	return "a proxy may replace certificates: install its authority on this machine, or exempt the endpoint from it"
}

func issuer(organization []string, name string) string {
	if len(organization) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", organization[0], name)
}
