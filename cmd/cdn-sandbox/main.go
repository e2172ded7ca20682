// Command cdn-sandbox runs the CDN export-tasks API on this machine, for trying out clients in any
// language. It is package cdntest as a program.
//
//	cdn-sandbox [flags]
//	cdn-sandbox sign [-ak AK] [-sk SK] [-data BODY] METHOD URL
//
// It prints what a client needs as lines for a shell, runs until Ctrl-C or SIGTERM, and then prints a line that
// undoes the first ones. A browser shows its tasks and the last requests at the address that it prints; -v
// prints a line for each request. The exit status is 0 when it was stopped, 1 if it cannot run, and 2 for
// arguments that it does not understand. With -h it prints all flags.
//
// The flags -quota, -lag, -latency and -fail make life hard for a client:
//
//	cdn-sandbox -quota 20/1m               20 requests a minute, as the gateway allows
//	cdn-sandbox -lag 3s                    lists that are 3 seconds behind
//	cdn-sandbox -fail list=503:20%         one list in five fails
//	cdn-sandbox -fail create=lost:1        the first create takes effect, and its response is lost
//	cdn-sandbox -fail create=CDN.0005      each create is refused with an error of the service
//	cdn-sandbox -fail download=cut:2       the connection breaks in the first two files
//
// A fault is an error code of the gateway, the CDN or the object store, an HTTP status, or one of the words
// reset, lost and cut. What is in front of it chooses the requests, by default all; what is behind it says how
// many of them, by default all.
//
// The second form prints the headers of a signed request, one a line, which curl reads with -H @-:
//
//	url='http://127.0.0.1:8086/v1/cdn/statistics/export-tasks'
//	cdn-sandbox sign GET "$url" | curl -H @- "$url"
//
// The body of a create is signed too. It comes from -data, from a file with -data @FILE, or from standard input
// with -data @-. Here curl has to send the same bytes:
//
//	cdn-sandbox sign -data '{"stat_type":"flux"}' POST "$url" | curl -H @- --data-binary '{"stat_type":"flux"}' "$url"
//	cdn-sandbox sign -data @export.json POST "$url" | curl -H @- --data-binary @export.json "$url"
//
// It signs with the keys of -ak and -sk, else with those of the variables CLOUD_SDK_AK and
// CLOUD_SDK_SK, and CLOUD_SDK_SECURITY_TOKEN with that access key. If neither variable is set, the
// sandbox's own key replaces a flag that is not given.
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
