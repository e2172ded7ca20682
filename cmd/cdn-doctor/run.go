package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

const help = `cdn-doctor checks the connection to the CDN's export-tasks API and what this module assumes of the API.

usage: cdn-doctor [flags]

  cdn-doctor                          the service of region cn-north-1
  cdn-doctor -region eu-west-101      another region
  cdn-doctor -json                    the report as JSON, for an issue
  cdn-doctor -sandbox                 a server in this process; needs no account

It uses the keys that the module finds: CLOUD_SDK_AK and CLOUD_SDK_SK, a profile, or the identity of a pod or machine.
It only reads: it lists tasks, looks one up by its id, and downloads a byte of a finished file. This takes 5 requests
of the account's quota. The report has no key, token or link, so it can be pasted into an issue.

Each line has a verdict: ok; broken, with what to do; different from what this module assumes; or skipped.
The exit status is 0 if nothing is broken, 1 if something is, 2 for wrong usage, 130 after Ctrl-C or SIGTERM.

Flags:
`

// settings are the program's flags.
type settings struct {
	region, endpoint string
	watch, timeout   time.Duration
	json, sandbox    bool
}

// run runs the program and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "cdn-doctor: %v (-h shows the usage)\n", err)
		return 2
	}
	var options []cdn.Option
	if s.sandbox {
		sandbox := cdntest.NewServer(cdntest.WithSampleTasks(25))
		defer sandbox.Close()
		options = []cdn.Option{cdn.WithEndpoint(sandbox.URL), cdn.WithAKSK(sandbox.AK, sandbox.SK)}
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	report := newDoctor(s, options...).examine(limited)
	if ctx.Err() != nil {
		_, _ = fmt.Fprintln(stderr, "cdn-doctor: stopped")
		return 130
	}
	if err := report.write(stdout, s.json); err != nil {
		_, _ = fmt.Fprintf(stderr, "cdn-doctor: %v\n", err)
		return 1
	}
	if report.broken() {
		return 1
	}
	return 0
}

func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("cdn-doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.region, "region", "", "`region` of the service: "+strings.Join(cdn.Regions(), ", ")+" (default "+cdn.DefaultRegion+")")
	flags.StringVar(&s.endpoint, "endpoint", "", "`URL` of the service, instead of the region's")
	flags.DurationVar(&s.watch, "watch", 3*time.Second, "`duration` between two readings of the list")
	flags.DurationVar(&s.timeout, "timeout", time.Minute, "`duration` of all checks")
	flags.BoolVar(&s.json, "json", false, "print the report as JSON")
	flags.BoolVar(&s.sandbox, "sandbox", false, "check a server in this process")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		_, _ = io.WriteString(stdout, help)
		flags.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.sandbox && (s.region != "" || s.endpoint != ""):
		return s, errors.New("-sandbox excludes -region and -endpoint")
	case s.watch < 0 || s.timeout <= 0:
		return s, errors.New("-watch must not be negative, -timeout must be positive")
	}
	return s, nil
}
