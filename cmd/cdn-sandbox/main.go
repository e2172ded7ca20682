// Command cdn-sandbox runs the CDN export-tasks API on this machine, to try out clients in any language. It is package
// cdntest as a program.
//
//	cdn-sandbox [flags]
//	cdn-sandbox sign [flags] METHOD URL
//
// The first form prints variables that clients read, and runs until Ctrl-C or SIGTERM. The second prints the headers
// of a signed request, for curl. With -h each prints its flags with examples.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}
