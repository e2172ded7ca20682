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
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8086", "`address` to listen on; port 0 is a free port")
	flags.BoolVar(&f.allowRemote, "allow-remote", false, "allow an -addr that other machines can reach")
	flags.BoolVar(&f.verbose, "v", false, "print a line for each request to standard error")
	flags.StringVar(&f.ak, "ak", defaultAK, "access `key` to accept")
	flags.StringVar(&f.sk, "sk", defaultSK, "secret `key` to accept")
	flags.BoolVar(&f.noAuth, "no-auth", false, "accept requests without a signature")
	flags.BoolVar(&f.lock, "lock", false, "lock the key for 5 minutes after more than five refused signatures in a row")
	flags.IntVar(&f.tasks, "tasks", 6, "`number` of sample tasks")
	flags.DurationVar(&f.exportTime, "export-time", 2*time.Second, "`duration` until a created task is finished")
	flags.DurationVar(&f.lag, "lag", 0, "`duration` by which lists are behind (default 0s)")
	flags.DurationVar(&f.latency, "latency", 0, "`duration` that each request waits (default 0s)")
	flags.Var(&f.quota, "quota", "`N/PERIOD`: allow N requests in each period, such as 20/1m (default no quota)")
	flags.Var(&f.faults, "fail", "`FAULT` for some requests, see above (default none)")
	if err := parse(flags, args, serveHelp, stdout); err != nil {
		return f, err
	}
	return f, f.check(flags.Args())
}

// setting is a flag that makes requests fail or wait, as it was given.
type setting struct{ Name, Value string }

// settings returns the flags that make requests fail or wait.
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
		return usageError{fmt.Errorf("other machines may reach -addr %s; give -allow-remote to allow that", f.addr)}
	}
	return nil
}

// isLoopback reports whether only this machine can reach addr. A name other than localhost may resolve to any address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // not an address: listen returns a better error
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
