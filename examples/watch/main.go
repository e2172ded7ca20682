// Command watch prints a line for each export task that is created or changes.
//
//	go run ./examples/watch -sandbox           # no account needed: tasks that come and go
//	go run ./examples/watch -json -for 10m     # the account of CLOUD_SDK_AK and CLOUD_SDK_SK
//
// It runs until Ctrl-C, SIGTERM or the end of -for, and the exit status is 0 then; it is 2 for
// arguments that make no sense, and 1 where the service cannot be watched: one line says why, and what
// to do.
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
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

type config struct {
	service  cli.Service
	duration time.Duration
	every    time.Duration
	json     bool
}

// run is the program; it returns the exit status. More than one goroutine writes to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := watch(ctx, c, stdout, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "watch: %s (%s)\n", cli.Advice(err), cli.Printable(err.Error()))
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&c.duration, "for", 0, "stop after this `time` (0: at Ctrl-C only)")
	flags.DurationVar(&c.every, "every", 0, "look for changes with this `pause` (0: 2s after a change, growing to 30s; 100ms in the sandbox)")
	flags.BoolVar(&c.json, "json", false, "print each task as JSON, as the service writes it")
	c.service.AddFlags(flags, "watch a server in this process, where tasks come and go")
	err := cli.Parse(flags, args, func() error {
		if c.duration < 0 || c.every < 0 {
			return errors.New("-for and -every must not be negative")
		}
		return c.service.Check()
	})
	return c, err
}

func watch(ctx context.Context, c config, stdout, stderr io.Writer) error {
	if c.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.duration)
		defer cancel()
	}
	// Failures that are tried again are warnings.
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := append(c.service.Options(), cdn.WithLogger(logger))
	if c.service.Sandbox {
		sandbox, err := startSandbox()
		if err != nil {
			return err
		}
		defer sandbox.stop()
		_, _ = fmt.Fprintf(stderr, "sandbox: these tasks come and go on %s in this process\n", sandbox.URL)
		options = append(options, sandbox.options()...)
	}
	if c.every > 0 {
		options = append(options, cdn.WithPollInterval(c.every, c.every))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()

	printTask := printLine
	if c.json {
		printTask = printJSON
	}
	changes := client.WatchExportTasks(ctx)
	begun := ctx.Err() == nil
	for task, err := range changes {
		if err != nil {
			return failure(ctx, err, begun)
		}
		if err := printTask(stdout, task); err != nil {
			return err
		}
	}
	return nil
}

// failure is err where it is not the end that was asked for: Ctrl-C always is, and -for where the
// service could be watched until then.
func failure(ctx context.Context, err error, begun bool) error {
	var answer *cdn.APIError
	var request *url.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil
	case ctx.Err() == nil, !begun:
		return err
	case errors.As(err, &answer), errors.As(err, &request), errors.Is(err, cdn.ErrMalformedResponse):
		return err
	}
	return nil
}

func printJSON(w io.Writer, task cdn.ExportTask) error { return cli.WriteJSON(w, task) }

// printLine prints fields with tabs between them.
func printLine(w io.Writer, task cdn.ExportTask) error {
	changed := "-"
	if !task.UpdateTime.IsZero() {
		changed = task.UpdateTime.Local().Format(time.DateTime)
	}
	fields := []string{changed, task.TaskID, task.TaskName, string(task.Status)}
	for i, field := range fields {
		fields[i] = cmp.Or(cli.Printable(field), "-")
	}
	_, err := fmt.Fprintln(w, strings.Join(fields, "\t"))
	return err
}
