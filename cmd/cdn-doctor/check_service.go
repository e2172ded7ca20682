package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
)

// maxClockError is how far a clock may be off without being reported. The service refuses more than 15 minutes.
const maxClockError = 2 * time.Minute

// checkService reports whether the service accepted the first request.
func (d *doctor) checkService(err error) bool {
	offset, known := d.checkClock()
	if !isOfService(err) {
		d.report.add("list", broken, err.Error(), advice(err))
		d.report.skip("the response is not one of the service", slices.Concat(serviceChecks[1:], listChecks[1:], storeChecks)...)
		return false
	}
	if !d.checkSignature(err, offset, known) {
		d.report.skip("the signature was not accepted", slices.Concat(serviceChecks[2:], listChecks, storeChecks)...)
		return false
	}
	if errors.Is(err, cdn.ErrForbidden) {
		d.report.add("permission", broken, err.Error(), "give the user the CDN's statistics permission; check its enterprise project (CDN.0020, CDN.0021)")
		d.report.skip("reading the list is not allowed", slices.Concat(serviceChecks[3:], listChecks, storeChecks)...)
		return false
	}
	d.report.ok("permission", "reading the list is allowed")
	if errors.Is(err, cdn.ErrThrottled) {
		d.report.add("quota", broken, err.Error(), advice(err))
		d.report.skip("the quota is used up", slices.Concat(listChecks, storeChecks)...)
		return false
	}
	d.report.ok("quota", "the first request was not refused")
	if err != nil {
		d.report.add("list", broken, err.Error(), advice(err))
		d.report.skip("there is no list", slices.Concat(listChecks[1:], storeChecks)...)
		return false
	}
	return true
}

// isOfService reports whether the service sent the response, and not a proxy or a portal on the way.
func isOfService(err error) bool {
	var refused *cdn.APIError
	return err == nil || errors.As(err, &refused) && refused.ErrorCode != ""
}

// advice returns what to do after an error of a request.
func advice(err error) string {
	var refused *cdn.APIError
	switch {
	case errors.Is(err, cdn.ErrThrottled):
		return "wait a minute and run cdn-doctor again; other programs use the same quota"
	case errors.Is(err, context.DeadlineExceeded):
		return "check the network, or give more time with -timeout"
	case errors.Is(err, cdn.ErrMalformedResponse), !isOfService(err) && errors.As(err, &refused):
		return "this is not a response of the service: log in to the network if it has a portal, or exempt the endpoint from the proxy"
	case errors.As(err, &refused):
		return "run cdn-doctor again; if the error stays, give the request id to the vendor's support"
	}
	return "check the network and run cdn-doctor again"
}

// checkClock returns how far the service's clock is ahead, and whether it is known.
func (d *doctor) checkClock() (time.Duration, bool) {
	e := d.observer.seen[0]
	if e.date.IsZero() {
		d.report.different("clock", "the response has no Date")
		return 0, false
	}
	offset := e.date.Sub(e.received)
	shown := offset.Round(time.Second) // a Date has no fractions
	if offset.Abs() > maxClockError {
		d.report.add("clock", broken, fmt.Sprintf("the local clock is %v %s the service's", offset.Abs().Round(10*time.Second), behindOrAhead(offset)),
			"set the clock (NTP); this module corrects for it, other programs do not")
		return offset, true
	}
	d.report.ok("clock", "%v from the service's", shown.Abs())
	return offset, true
}

func behindOrAhead(offset time.Duration) string {
	if offset > 0 {
		return "behind"
	}
	return "ahead of"
}

// checkSignature reports whether the service accepted a signature.
func (d *doctor) checkSignature(err error, offset time.Duration, known bool) bool {
	switch {
	case !errors.Is(err, cdn.ErrUnauthorized) && offset.Abs() > maxClockError && len(d.observer.seen) > 1:
		d.report.ok("signature", "accepted, by the service's clock")
		return true
	case !errors.Is(err, cdn.ErrUnauthorized):
		d.report.ok("signature", "accepted")
		return true
	}
	advice := "check that access key and secret key belong together, are complete, and are not disabled; temporary keys also need " +
		"their security token; if all are right, a proxy may change the host or a header: exempt the endpoint from it"
	switch {
	case strings.Contains(err.Error(), "AK access failed to reach the limit"):
		advice = "the key is locked after too many refused signatures: stop all programs that use it with a wrong secret, wait 5 minutes"
	case known && offset.Abs() > maxClockError:
		advice = "set the clock first, then check the keys"
	}
	d.report.add("signature", broken, err.Error(), advice)
	return false
}
