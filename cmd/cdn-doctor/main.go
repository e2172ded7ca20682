// Command cdn-doctor checks the connection to the CDN's export-tasks API and what this module assumes of the API. It is
// for the first contact with the service, and for questions such as "why 401?".
//
//	cdn-doctor [flags]
//	cdn-doctor -sandbox
//
// With -h it prints its flags, with examples.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
