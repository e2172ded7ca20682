package main

import (
	"crypto/tls"
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
		d.report.add("connection", broken, e.err.Error(), "check the endpoint, firewalls and the route to "+e.host)
	}
	d.report.skip("the service was not reached", slices.Concat(serviceChecks, listChecks, storeChecks)...)
	return false
}

func (d *doctor) checkDNS(e *exchange) {
	switch {
	case e.dnsErr != nil:
		d.report.add("dns", broken, e.dnsErr.Error(), "check the endpoint's name and this machine's resolver")
	case len(e.addresses) > 0:
		d.report.ok("dns", "%s is %s", e.host, strings.Join(e.addresses, ", "))
	case e.proxy != nil:
		d.report.ok("dns", "the proxy resolves %s", e.host)
	default:
		d.report.ok("dns", "%s needs no look-up", e.host)
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
		d.report.add("tls", broken, e.tlsErr.Error(), "a proxy may replace certificates: install its authority, or exempt the endpoint")
	case e.tls != nil:
		certificate := e.tls.PeerCertificates[0]
		d.report.ok("tls", "%s, issued by %s, valid until %s", tls.VersionName(e.tls.Version), issuer(certificate.Issuer.Organization, certificate.Issuer.CommonName), certificate.NotAfter.Format("2006-01-02"))
	case e.connected != "":
		d.report.ok("tls", "not used: the endpoint is http://")
	default:
		d.report.skip("there was no connection", "tls")
	}
}

func issuer(organization []string, name string) string {
	if len(organization) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", organization[0], name)
}
