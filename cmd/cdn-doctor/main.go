// Command cdn-doctor checks the way from this machine to the CDN's export-tasks API, and what this module assumes
// of the API. It is for the first contact with the service, and for questions such as "why 401?".
//
//	cdn-doctor [-region ID] [-endpoint URL] [-watch 3s] [-timeout 1m] [-json]
//	cdn-doctor -sandbox
//
// It only reads: it lists tasks, looks one up, and asks the object store for one byte of a finished file. That
// takes about 8 requests of the account's quota. Its report has no key, token or link, so it can be pasted into
// an issue. Each line says ok, broken and what to do, different from what this module assumes, or skipped.
//
// The exit status is 0 if nothing is broken, 1 if something is, and 2 for arguments that it does not understand.
// With -sandbox it checks a sandbox in this process, which needs no account.
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
