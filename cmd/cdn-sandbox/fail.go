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

// cutAfter is after how many bytes a body is cut.
const cutAfter = 16

// faultFlags are the faults of -fail, in order, and what was given for them.
type faultFlags struct {
	faults []cdntest.Fault
	texts  []string
}

// String is for the flags package.
func (f *faultFlags) String() string { return "" }

// Set adds the fault of one flag: [list=|create=|download=]FAULT[:N|:P%].
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

// matcher returns the function that chooses requests, nil for all.
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
		return nil, fmt.Errorf("no requests are called %q: give list, create or download, or only the fault", what)
	}
}

// namedFault returns the fault of a word, an HTTP status or an error code.
func namedFault(name string) (cdntest.Fault, error) {
	switch name {
	case "reset":
		return cdntest.Fault{DropConnection: true}, nil
	case "lost":
		return cdntest.Fault{Handled: true, DropConnection: true}, nil
	case "cut":
		return cdntest.Fault{TruncateAfter: cutAfter}, nil
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
			err = fmt.Errorf("no fault is called %q: give reset, lost, cut, a status or an error code such as CDN.0005", code)
		}
	}()
	return cdntest.FaultCode(code), nil
}

// limit reads N, the number of requests that meet the fault, or P%, their share.
func limit(fault *cdntest.Fault, count string) error {
	percent, isShare := strings.CutSuffix(count, "%")
	n, err := strconv.Atoi(percent)
	switch {
	case err != nil || n < 1 || isShare && n > 100:
		return fmt.Errorf("%q is neither a number from 1 on nor a percentage from 1%% to 100%%", count)
	case !isShare:
		fault.Times = n
	default:
		all := fault.Match
		fault.Match = func(r *http.Request) bool { return (all == nil || all(r)) && rand.IntN(100) < n }
	}
	return nil
}

// quotaFlag is the quota of -quota; the zero value is none.
type quotaFlag struct {
	n    int
	per  time.Duration
	text string // as it was given
}

// String is for the flags package.
func (q *quotaFlag) String() string { return "" }

// Set reads N/PERIOD, such as 20/1m.
func (q *quotaFlag) Set(text string) error {
	number, period, found := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	if !found || err != nil || n < 1 {
		return errors.New("give requests per time, such as 20/1m")
	}
	per, err := time.ParseDuration(period)
	if err != nil || per <= 0 {
		return fmt.Errorf("%q is no time, such as 1m", period)
	}
	q.n, q.per, q.text = n, per, text
	return nil
}
