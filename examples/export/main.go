// Command export creates an export task, waits until it is finished, and downloads its file.
//
//	go run ./examples/export -sandbox -o report.csv   # needs no account: a made-up file, in seconds
//	go run ./examples/export -domains www.example.com -interval 1h -o report
//	go run ./examples/export -task-id ID -o report    # goes on with a task that exists
//	go run ./examples/export -o - | head              # to standard output
package main

import (
	"context"
	"errors"
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
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(cli.Status("export", err, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stdout, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	// The log has the id of the task as soon as it is known, and each retry.
	options := []cdn.Option{cdn.WithRegion(c.region), cdn.WithLogger(slog.New(slog.NewTextHandler(stderr, nil)))}
	if c.endpoint != "" {
		options = append(options, cdn.WithEndpoint(c.endpoint))
	}
	if c.sandbox {
		srv := cdntest.NewServer()
		defer srv.Close()
		options = append(options, cdn.WithEndpoint(srv.URL), cdn.WithAKSK(srv.AK, srv.SK),
			cdn.WithPollInterval(100*time.Millisecond, time.Second), cdn.WithListLag(100*time.Millisecond))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return err
	}

	task, n, err := export(ctx, client, c, stdout, stderr)
	switch {
	case err == nil:
		_, err = fmt.Fprintf(stderr, "%s: %d bytes\n", cli.Printable(c.path), n)
		return err
	case task == nil, c.sandbox, errors.Is(err, cdn.ErrTaskFailed), errors.Is(err, cdn.ErrTaskNotFound):
		return err
	}
	return fmt.Errorf("%w; go on with -task-id %s", err, task.TaskID)
}

// export writes the file of a task to c.path and returns the file's size. The task is returned with an error too, as
// soon as it is known. CdnClient.ExportFile does all of it in one call, without progress and standard output.
func export(ctx context.Context, client *cdn.CdnClient, c config, stdout, stderr io.Writer) (task *cdn.ExportTask, size int64, err error) {
	if _, err := os.Stat(filepath.Dir(c.path)); err != nil {
		return nil, 0, fmt.Errorf("the folder of -o: %w", err) // before there is a task
	}
	if c.taskID != "" {
		task, err = client.WaitForExportTask(ctx, c.taskID)
	} else {
		task, err = client.Export(ctx, &c.request)
	}
	if err != nil {
		return task, 0, err
	}
	options := []cdn.DownloadOption{cdn.WithLink(task.DownloadLink), cdn.WithProgress(progress(stderr))}
	if c.path == standardOutput {
		size, err = client.Download(ctx, task.TaskID, stdout, options...)
	} else {
		size, err = client.DownloadFile(ctx, task.TaskID, c.path, options...)
	}
	return task, size, err
}

// progress returns a function that prints how far a download is, every 10 seconds.
func progress(w io.Writer) func(cdn.Progress) {
	const every = 10 * time.Second
	next := time.Now().Add(every)
	return func(p cdn.Progress) {
		if now := time.Now(); now.After(next) {
			next = now.Add(every)
			_, _ = fmt.Fprintf(w, "downloading: %.1f MiB\n", float64(p.Bytes)/(1<<20))
		}
	}
}
