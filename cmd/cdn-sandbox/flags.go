package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

const serveUsage = "usage: cdn-sandbox [flags]\n       cdn-sandbox sign [flags] METHOD URL"

type serveFlags struct {
	addr        string
	allowRemote bool
	verbose     bool
	ak, sk      string
	noAuth      bool
	lock        bool
	tasks       int
	exportTime  time.Duration
	lag         time.Duration
	latency     time.Duration
	quota       quotaFlag
	faults      faultFlags
}

func parseServe(args []string, stdout io.Writer) (serveFlags, error) {
	var f serveFlags
	flags := flag.NewFlagSet("cdn-sandbox", flag.ContinueOnError)
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8086", "`address` to listen on; port 0 takes a free one")
	flags.BoolVar(&f.allowRemote, "allow-remote", false, "listen on an address that other machines can reach")
	flags.BoolVar(&f.verbose, "v", false, "print a line for each request")
	flags.StringVar(&f.ak, "ak", defaultAK, "access key to accept")
	flags.StringVar(&f.sk, "sk", defaultSK, "secret key to accept")
	flags.BoolVar(&f.noAuth, "no-auth", false, "accept requests that are not signed")
	flags.BoolVar(&f.lock, "lock", false, "lock the key for 5 minutes after more than five refused signatures in a row")
	flags.IntVar(&f.tasks, "tasks", 6, "`number` of sample tasks")
	flags.DurationVar(&f.exportTime, "export-time", 2*time.Second, "how long a created task takes to finish")
	flags.DurationVar(&f.lag, "lag", 0, "how far lists are behind")
	flags.DurationVar(&f.latency, "latency", 0, "how long each request waits")
	flags.Var(&f.quota, "quota", "`N/PERIOD` requests that are allowed, such as 20/1m")
	flags.Var(&f.faults, "fail", "`[list=|create=|download=]FAULT[:N|:P%]` that requests meet: an error code such as CDN.0005,\n"+
		"a status, reset, lost (it takes effect) or cut; N of them, P percent, or all; may be repeated")
	if err := parse(flags, args, serveUsage, stdout); err != nil {
		return f, err
	}
	return f, f.check(flags.Args())
}

// setting is a flag that makes life hard for a client, as it was given.
type setting struct{ Name, Value string }

// settings returns the flags that make life hard for a client.
func (f serveFlags) settings() []setting {
	var all []setting
	if f.quota.n > 0 {
		all = append(all, setting{"-quota", f.quota.text})
	}
	if f.lag > 0 {
		all = append(all, setting{"-lag", f.lag.String()})
	}
	if f.latency > 0 {
		all = append(all, setting{"-latency", f.latency.String()})
	}
	for _, text := range f.faults.texts {
		all = append(all, setting{"-fail", text})
	}
	return all
}

func (f serveFlags) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return usageError{fmt.Errorf("unexpected argument %q (-h shows the usage)", rest[0])}
	case f.tasks < 0:
		return usageError{errors.New("-tasks must not be negative")}
	case f.exportTime < 0 || f.lag < 0 || f.latency < 0:
		return usageError{errors.New("-export-time, -lag and -latency must not be negative")}
	case f.ak == "" || f.sk == "":
		return usageError{errors.New("-ak and -sk must not be empty")}
	case !f.allowRemote && !isLoopback(f.addr):
		return usageError{fmt.Errorf("-addr %s may be reached from other machines; -allow-remote permits that", f.addr)}
	}
	return nil
}

// isLoopback goes by the text of an address: a name other than localhost may resolve to anything.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // it is no address at all, which listening will say better
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func (f serveFlags) options() []cdntest.Option {
	options := []cdntest.Option{
		cdntest.WithAddr(f.addr),
		cdntest.WithAKSK(f.ak, f.sk),
		cdntest.WithExportTime(f.exportTime),
		cdntest.WithSampleTasks(f.tasks),
		cdntest.WithListLag(f.lag),
		cdntest.WithLatency(f.latency),
		cdntest.WithRequestLog(0), // the sandbox has a log of its own
	}
	if f.noAuth {
		options = append(options, cdntest.WithNoAuth())
	}
	if f.lock {
		options = append(options, cdntest.WithKeyLock())
	}
	if f.quota.n > 0 {
		options = append(options, cdntest.WithQuota(f.quota.n, f.quota.per))
	}
	return options
}
