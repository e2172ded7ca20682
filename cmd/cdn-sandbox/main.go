// Command cdn-sandbox is the CDN export-tasks API on this machine, for trying out clients in any
// language: package cdntest as a program.
//
//	cdn-sandbox [-addr HOST:PORT] [-tasks N] [-ak AK] [-sk SK] [-export-time D] [-no-auth] [-allow-remote]
//	cdn-sandbox sign [-ak AK] [-sk SK] [-data BODY] METHOD URL
//
// It prints what a client needs as lines for a shell, and runs until Ctrl-C or SIGTERM. The exit
// status is 0 then, 1 where it cannot run, and 2 for arguments that it does not understand.
//
// The second form prints the headers of a signed request, one a line, which curl reads with -H @-:
//
//	url='http://127.0.0.1:8086/v1/cdn/statistics/export-tasks?task_id&task_name'
//	cdn-sandbox sign GET "$url" | curl -H @- "$url"
//
// It signs with the keys of -ak and -sk, else with those of the variables CLOUD_SDK_AK and
// CLOUD_SDK_SK, and CLOUD_SDK_SECURITY_TOKEN with that access key. Where neither variable is set, the
// sandbox's own key stands in for a flag that is not given.
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
