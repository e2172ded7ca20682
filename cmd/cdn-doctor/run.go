package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// settings are the program's flags.
type settings struct {
	region, endpoint string
	watch, timeout   time.Duration
	json, sandbox    bool
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "cdn-doctor: %v (-h shows the usage)\n", err)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var options []cdn.Option
	if s.sandbox {
		sandbox := cdntest.NewServer(cdntest.WithSampleTasks(25))
		defer sandbox.Close()
		options = sandboxOptions(sandbox)
	}
	report := newDoctor(s, options...).examine(ctx)
	if err := report.write(stdout, s.json); err != nil {
		_, _ = fmt.Fprintf(stderr, "cdn-doctor: %v\n", err)
		return 1
	}
	if report.broken() {
		return 1
	}
	return 0
}

// sandboxOptions returns what makes a client one of the sandbox.
func sandboxOptions(sandbox *cdntest.Server) []cdn.Option {
	return []cdn.Option{cdn.WithEndpoint(sandbox.URL), cdn.WithAKSK(sandbox.AK, sandbox.SK)}
}

func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("cdn-doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.region, "region", "", "region `ID` (default "+cdn.DefaultRegion+")")
	flags.StringVar(&s.endpoint, "endpoint", "", "`URL` of the service, instead of the region's")
	flags.DurationVar(&s.watch, "watch", 3*time.Second, "time between two readings of the list")
	flags.DurationVar(&s.timeout, "timeout", time.Minute, "time for all checks")
	flags.BoolVar(&s.json, "json", false, "print the report as JSON")
	flags.BoolVar(&s.sandbox, "sandbox", false, "check a sandbox in this process")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		_, _ = fmt.Fprintln(stdout, "usage: cdn-doctor [flags]")
		flags.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.watch < 0 || s.timeout <= 0:
		return s, errors.New("-watch must not be negative, -timeout must be positive")
	}
	return s, nil
}
