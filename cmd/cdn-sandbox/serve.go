package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

const serveUsage = "usage: cdn-sandbox [flags]\n       cdn-sandbox sign [flags] METHOD URL"

type serveFlags struct {
	addr        string
	tasks       int
	ak, sk      string
	noAuth      bool
	exportTime  time.Duration
	allowRemote bool
}

// serve runs the sandbox until ctx ends.
func serve(ctx context.Context, args []string, stdout io.Writer) error {
	f, err := parseServe(args, stdout)
	if err != nil {
		return err
	}
	srv, err := cdntest.Listen(f.options()...)
	if err != nil {
		return err
	}
	defer srv.Close()
	if _, err := io.WriteString(stdout, welcome(srv.URL, f)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func parseServe(args []string, stdout io.Writer) (serveFlags, error) {
	var f serveFlags
	flags := flag.NewFlagSet("cdn-sandbox", flag.ContinueOnError)
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8086", "`address` to listen on; port 0 takes a free one")
	flags.IntVar(&f.tasks, "tasks", 6, "`number` of sample tasks")
	flags.StringVar(&f.ak, "ak", defaultAK, "access key to accept")
	flags.StringVar(&f.sk, "sk", defaultSK, "secret key to accept")
	flags.BoolVar(&f.noAuth, "no-auth", false, "accept requests that are not signed")
	flags.DurationVar(&f.exportTime, "export-time", 2*time.Second, "how long a created task takes to finish")
	flags.BoolVar(&f.allowRemote, "allow-remote", false, "listen on an address that other machines can reach")
	if err := parse(flags, args, serveUsage, stdout); err != nil {
		return f, err
	}
	return f, f.check(flags.Args())
}

func (f serveFlags) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return usageError{fmt.Errorf("unexpected argument %q (-h shows the usage)", rest[0])}
	case f.tasks < 0:
		return usageError{errors.New("-tasks must not be negative")}
	case f.exportTime < 0:
		return usageError{errors.New("-export-time must not be negative")}
	case f.ak == "" || f.sk == "":
		return usageError{errors.New("-ak and -sk must not be empty")}
	case !f.allowRemote && !isLoopback(f.addr):
		return usageError{fmt.Errorf("-addr %s may be reached from other machines; -allow-remote permits that", f.addr)}
	}
	return nil
}

// isLoopback knows an address by its text: a name other than localhost may resolve to anything.
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
		cdntest.WithRequestLog(0), // nobody reads it
	}
	if f.noAuth {
		options = append(options, cdntest.WithNoAuth())
	}
	return options
}

// welcome says how to reach the sandbox. All of it may be pasted into a shell.
func welcome(url string, f serveFlags) string {
	var text strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&text, format+"\n", args...) }

	line("# CDN sandbox with %d tasks at %s (Ctrl-C stops it)", f.tasks, url)
	if f.noAuth {
		line("# requests need no signature")
	}
	line("export CLOUD_SDK_AK=%s", quote(f.ak))
	if f.sk == defaultSK {
		line("export CLOUD_SDK_SK=%s", quote(f.sk))
	} else {
		line("# CLOUD_SDK_SK: the one given with -sk, which is not shown")
	}
	line("export CLOUD_SDK_SECURITY_TOKEN=''")
	line("export HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1=%s", url)
	line("# that is for clients of region cn-north-1, the official SDKs' too, whose credentials need")
	line("# any account id (WithDomainId), or they ask the real identity service for it; in Go instead:")
	line("#   client, err := cdn.NewCdnClient(cdn.WithEndpoint(%q))", url)
	return text.String()
}

// quote makes a word of text for a shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
