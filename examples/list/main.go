// Command list prints a page of an account's export tasks, the last changed first.
//
//	go run ./examples/list -sandbox    # no account needed: sample tasks from a server in the process
//	go run ./examples/list -limit 20   # the account of CLOUD_SDK_AK and CLOUD_SDK_SK
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

// sampleTasks is how many tasks the sandbox has, more than one page of them.
const sampleTasks = 12

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

type config struct {
	request cdn.ListExportTasksRequest
	service cli.Service
	timeout time.Duration
	json    bool
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := list(ctx, c, stdout, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "list: %s (%s)\n", cli.Advice(err), cli.Printable(err.Error()))
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("list", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.request.Limit, "limit", 0, "show at most `n` tasks (0: the service's default, 10)")
	flags.IntVar(&c.request.Offset, "offset", 0, "skip the first `n` tasks")
	flags.StringVar(&c.request.TaskID, "task-id", "", "show only the task with this `id`")
	flags.StringVar(&c.request.TaskName, "task-name", "", "show only tasks with this `name`")
	flags.DurationVar(&c.timeout, "timeout", 30*time.Second, "give up after this `time`")
	flags.BoolVar(&c.json, "json", false, "print JSON as the service writes it, not a table")
	c.service.AddFlags(flags, "ask a server in this process that has sample tasks")
	err := cli.Parse(flags, args, func() error {
		if c.timeout <= 0 {
			return errors.New("-timeout must be more than 0")
		}
		return c.service.Check()
	})
	return c, err
}

func list(ctx context.Context, c config, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	options := c.service.Options()
	if c.service.Sandbox {
		sandbox, err := cdntest.Listen(cdntest.WithSampleTasks(sampleTasks))
		if err != nil {
			return err
		}
		defer sandbox.Close()
		_, _ = fmt.Fprintf(stderr, "sandbox: these are sample tasks, from %s in this process\n", sandbox.URL)
		options = append(options, cdn.WithEndpoint(sandbox.URL), cdn.WithAKSK(sandbox.AK, sandbox.SK))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()

	page, err := client.ListExportTasks(ctx, &c.request)
	if err != nil {
		return err
	}
	if c.json {
		return cli.WriteJSON(stdout, page)
	}
	if err := printTable(stdout, page.Data); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stderr, "%d of %d tasks\n", len(page.Data), page.Total)
	return nil
}

func printTable(w io.Writer, tasks []cdn.ExportTask) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tSTATUS\tCREATED\tUPDATED")
	for _, task := range tasks {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
			cell(task.TaskID), cell(task.TaskName), cell(string(task.Status)),
			localTime(task.CreateTime), localTime(task.UpdateTime))
	}
	return table.Flush() // it has the error of any write before
}

func cell(text string) string { return cmp.Or(cli.Printable(text), "-") }

func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
