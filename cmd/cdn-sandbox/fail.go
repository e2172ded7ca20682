package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

const (
	cutAfter  = 16                    // bytes of a body that is cut
	slowPause = 50 * time.Millisecond // before each byte of a body that is slow
	proxyPage = "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Log in to use this network.</body></html>\n"
)

// faultFlags are the faults of -fail, in order, and their texts.
type faultFlags struct {
	faults []cdntest.Fault
	texts  []string
}

// String is for package flag.
func (f *faultFlags) String() string { return "" }

// Set adds the fault of one -fail.
func (f *faultFlags) Set(text string) error {
	what, rest, found := strings.Cut(text, "=")
	if !found {
		what, rest = "", text
	}
	match, err := matcher(what)
	if err != nil {
		return err
	}
	name, count, counted := strings.Cut(rest, ":")
	fault, err := namedFault(name)
	if err != nil {
		return err
	}
	fault.Match, fault.Times = match, -1
	if counted {
		if err := limit(&fault, count); err != nil {
			return err
		}
	}
	f.faults, f.texts = append(f.faults, fault), append(f.texts, text)
	return nil
}

// matcher returns the Match of the fault.
func matcher(what string) (func(*http.Request) bool, error) {
	switch what {
	case "":
		return nil, nil
	case "list":
		return cdntest.IsList, nil
	case "create":
		return cdntest.IsCreate, nil
	case "download":
		return cdntest.IsDownload, nil
	default:
		return nil, fmt.Errorf("unknown requests %q: give list, create or download before the =", what)
	}
}

// namedFault returns the fault with a name, an HTTP status or an error code.
func namedFault(name string) (cdntest.Fault, error) {
	switch name {
	case "reset":
		return cdntest.Fault{DropConnection: true}, nil
	case "lost":
		return cdntest.Fault{Handled: true, DropConnection: true}, nil
	case "cut":
		return cdntest.Fault{TruncateAfter: cutAfter}, nil
	case "slow":
		return cdntest.Fault{Trickle: slowPause}, nil
	case "html":
		return cdntest.Fault{Body: proxyPage, Header: http.Header{"Content-Type": {"text/html"}}}, nil
	}
	if status, err := strconv.Atoi(name); err == nil {
		if status < 200 || status > 599 {
			return cdntest.Fault{}, fmt.Errorf("status %d is not from 200 to 599", status)
		}
		return cdntest.Fault{Status: status}, nil
	}
	return codeFault(name)
}

// codeFault returns the fault of an error code. FaultCode panics if it does not know the code.
func codeFault(code string) (fault cdntest.Fault, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("unknown fault %q: give reset, lost, cut, slow, html, a status or an error code such as CDN.0005", code)
		}
	}()
	return cdntest.FaultCode(code), nil
}

// limit sets how many requests meet the fault: a number, or a percentage.
func limit(fault *cdntest.Fault, count string) error {
	percent, isShare := strings.CutSuffix(count, "%")
	n, err := strconv.Atoi(percent)
	switch {
	case err != nil || n < 1 || isShare && n > 100:
		return fmt.Errorf("%q must be a number, at least 1, or a percentage from 1%% to 100%%", count)
	case !isShare:
		fault.Times = n
	default:
		all := fault.Match
		fault.Match = func(r *http.Request) bool { return (all == nil || all(r)) && rand.IntN(100) < n }
	}
	return nil
}

// quotaFlag is the quota of -quota. The zero value is no quota.
type quotaFlag struct {
	n    int
	per  time.Duration
	text string // of the flag
}

// String is for package flag.
func (q *quotaFlag) String() string { return "" }

// Set parses N/PERIOD, such as 20/1m.
func (q *quotaFlag) Set(text string) error {
	number, period, found := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	if !found || err != nil || n < 1 {
		return errors.New("must be N/PERIOD, such as 20/1m")
	}
	per, err := time.ParseDuration(period)
	if err != nil || per <= 0 {
		return fmt.Errorf("the period %q must be a duration such as 1m", period)
	}
	q.n, q.per, q.text = n, per, text
	return nil
}
