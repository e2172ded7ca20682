// Command watch prints a line for each export task that is created or changes.
//
//	go run ./examples/watch -sandbox        # needs no account: a server in this process, where tasks are created
//	go run ./examples/watch -json -for 10m  # the account of CLOUD_SDK_AK and CLOUD_SDK_SK
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

const help = `watch prints a line for each export task that is created or changes.

  watch -sandbox         tasks that come and go; needs no account
  watch -json -for 10m   the account of CLOUD_SDK_AK and CLOUD_SDK_SK

A line has the time of the change, the id, the name and the status, with tabs between them.
The tasks go to standard output, all else to standard error.
It runs until Ctrl-C, SIGTERM or the end of -for. The exit status is 0 then, 1 for a failure, 2 for wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(cli.Status("watch", err, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	duration := flags.Duration("for", 0, "stop after this `duration` (default: run until Ctrl-C)")
	every := flags.Duration("every", 0, "`pause` between two polls (default: 2s after a change, growing to 30s)")
	asJSON := flags.Bool("json", false, "print each task as a line of JSON, as the service sends it")
	region := flags.String("region", cdn.DefaultRegion, "`region` of the service: "+strings.Join(cdn.Regions(), ", "))
	endpoint := flags.String("endpoint", "", "`URL` of the service, instead of the region's")
	sandbox := flags.Bool("sandbox", false, "use a server in this process, where a task is created each second")
	if err := cli.Parse(flags, args, help, stdout); err != nil {
		return err
	}
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}

	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})) // retries are warnings
	options := []cdn.Option{cdn.WithRegion(*region), cdn.WithLogger(logger)}
	if *endpoint != "" {
		options = append(options, cdn.WithEndpoint(*endpoint))
	}
	if *sandbox {
		srv := cdntest.NewServer()
		defer srv.Close()
		options = append(options, cdn.WithEndpoint(srv.URL), cdn.WithAKSK(srv.AK, srv.SK))
		*every = cmp.Or(*every, 100*time.Millisecond)
		go createTasks(ctx, srv.NewClient())
	}
	if *every != 0 {
		options = append(options, cdn.WithPollInterval(*every, *every))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return err
	}

	for task, err := range client.WatchExportTasks(ctx) {
		if err != nil {
			return unlessEnded(ctx, err)
		}
		if err := printTask(stdout, task, *asJSON); err != nil {
			return err
		}
	}
	return nil
}

// unlessEnded returns nil if the watch ended as it should: by Ctrl-C, or by -for. At the end of -for it returns err if
// the last poll failed: a script must not take a service that is down for one where nothing happens.
func unlessEnded(ctx context.Context, err error) error {
	var refused *cdn.APIError
	var failed *url.Error
	pollFailed := errors.As(err, &refused) || errors.As(err, &failed) || errors.Is(err, cdn.ErrMalformedResponse)
	if errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil && !pollFailed {
		return nil
	}
	return err
}

func printTask(w io.Writer, task cdn.ExportTask, asJSON bool) error {
	if asJSON {
		return cli.WriteJSON(w, task)
	}
	changed := "-"
	if !task.UpdateTime.IsZero() {
		changed = task.UpdateTime.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", changed, cli.Printable(task.TaskID),
		cmp.Or(cli.Printable(task.TaskName), "-"), cmp.Or(cli.Printable(string(task.Status)), "-"))
	return err
}

// createTasks creates a task each second until ctx ends.
func createTasks(ctx context.Context, client *cdn.CdnClient) {
	for ctx.Err() == nil {
		_, _ = client.CreateExportTask(ctx, &cdn.CreateExportTaskRequest{StatType: cdn.StatTypeFlux}) // the server is this process
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}
