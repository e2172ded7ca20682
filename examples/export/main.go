// Command export gets statistics out of the service: it creates an export task, waits until it is
// finished, and downloads its file.
//
//	go run ./examples/export -sandbox -o report.csv   # no account needed: a made-up file, in seconds
//	go run ./examples/export -domains www.example.com -interval 1h -o report
//	go run ./examples/export -task-id ID -o report    # goes on with a task that is there already
//	go run ./examples/export -o - | head              # to standard output; a failure can leave a part there
//
// The exit status is 0 where the file is complete, 130 after Ctrl-C or SIGTERM, 2 for arguments that
// make no sense, and 1 for everything else. Unless it is 0, the file is as it was before, and one line
// says what happened, what to do, and the id of the task where that is known.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program; it returns the exit status. More than one goroutine writes to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr, time.Now())
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	show := newDisplay(stderr)
	taskID, size, err := export(ctx, c, show, stdout)
	show.close()
	if err == nil {
		if c.path == standardOutput {
			stdout = stderr
		}
		_, _ = fmt.Fprintf(stdout, "%s: %d bytes\n", cli.Printable(c.path), size)
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "export: %s (%s)\n", advice(err, taskID, c.service.Sandbox), cli.Printable(err.Error()))
	if errors.Is(err, context.Canceled) {
		return 130
	}
	return 1
}

// standardOutput is the path that means standard output.
const standardOutput = "-"

// export brings the file to its path and returns its size. The id of the task is returned with an
// error too, where it is known.
func export(ctx context.Context, c config, show *display, stdout io.Writer) (taskID string, size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	// Better to know now than with a task that nobody needs.
	if err := checkPath(c.path); err != nil {
		return c.taskID, 0, err
	}
	// Failures that are tried again are warnings.
	logger := slog.New(slog.NewTextHandler(show, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := append(c.service.Options(), cdn.WithLogger(logger))
	if c.service.Sandbox {
		sandbox, err := cdntest.Listen(cdntest.WithExportTime(2 * time.Second))
		if err != nil {
			return c.taskID, 0, err
		}
		defer sandbox.Close()
		show.line("sandbox: the task and its file are made up, by %s in this process", sandbox.URL)
		options = append(options, cdn.WithEndpoint(sandbox.URL), cdn.WithAKSK(sandbox.AK, sandbox.SK),
			cdn.WithPollInterval(100*time.Millisecond, 500*time.Millisecond),
			cdn.WithListLag(200*time.Millisecond)) // the sandbox shows a new task at once
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return c.taskID, 0, err
	}
	defer client.CloseIdleConnections()

	task, err := finishedTask(ctx, client, c, show)
	if err != nil {
		return task, 0, err
	}
	report, done := show.download("downloading")
	if c.path == standardOutput {
		size, err = client.Download(ctx, task, stdout, cdn.WithProgress(report))
	} else {
		size, err = client.DownloadFile(ctx, task, c.path, cdn.WithProgress(report))
	}
	done(err == nil)
	return task, size, err
}

// finishedTask creates a task, or takes the one that is named, and waits until it is finished.
func finishedTask(ctx context.Context, client *cdn.CdnClient, c config, show *display) (taskID string, err error) {
	start := time.Now()
	var task *cdn.ExportTask
	if c.taskID != "" {
		done := show.wait("waiting for task " + c.taskID)
		task, err = client.WaitForExportTask(ctx, c.taskID)
		done()
	} else {
		done := show.wait("exporting " + summary(&c.request))
		task, err = client.Export(ctx, &c.request)
		done()
	}
	if task != nil {
		taskID = task.TaskID
	} else {
		taskID = c.taskID
	}
	if err == nil {
		show.line("task %s is finished after %v", taskID, time.Since(start).Round(100*time.Millisecond))
	}
	return taskID, err
}

// checkPath reports what would keep a file from being written, as far as that can be known.
func checkPath(path string) error {
	if path == standardOutput {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return &os.PathError{Op: "write", Path: path, Err: errors.New("not a regular file")}
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
