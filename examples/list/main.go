// Command list prints a page of the account's export tasks, the latest change first.
//
//	go run ./examples/list -sandbox    # needs no account: sample tasks of a server in this process
//	go run ./examples/list -limit 20   # the account of CLOUD_SDK_AK and CLOUD_SDK_SK
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

const help = `list prints a page of the account's export tasks, the latest change first.

  list -sandbox            sample tasks; needs no account
  list -limit 20           the account of CLOUD_SDK_AK and CLOUD_SDK_SK
  list -task-id ID -json   one task, as the service sends it

The tasks go to standard output, all else to standard error.
The exit status is 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C or SIGTERM.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(cli.Status("list", err, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var request cdn.ListExportTasksRequest
	flags := flag.NewFlagSet("list", flag.ContinueOnError)
	flags.IntVar(&request.Limit, "limit", 0, "show at most `n` tasks, up to 100 (default 10)")
	flags.IntVar(&request.Offset, "offset", 0, "skip the first `n` tasks")
	flags.StringVar(&request.TaskID, "task-id", "", "show only the task with this `id`")
	flags.StringVar(&request.TaskName, "task-name", "", "show only tasks with this `name`")
	timeout := flags.Duration("timeout", 30*time.Second, "give up after this `duration`")
	asJSON := flags.Bool("json", false, "print JSON, as the service sends it")
	region := flags.String("region", cdn.DefaultRegion, "`region` of the service: "+strings.Join(cdn.Regions(), ", "))
	endpoint := flags.String("endpoint", "", "`URL` of the service, instead of the region's")
	sandbox := flags.Bool("sandbox", false, "use a server in this process that has sample tasks")
	if err := cli.Parse(flags, args, help, stdout); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	options := []cdn.Option{cdn.WithRegion(*region)}
	if *endpoint != "" {
		options = append(options, cdn.WithEndpoint(*endpoint))
	}
	if *sandbox {
		srv := cdntest.NewServer(cdntest.WithSampleTasks(12))
		defer srv.Close()
		options = append(options, cdn.WithEndpoint(srv.URL), cdn.WithAKSK(srv.AK, srv.SK))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return err
	}
	page, err := client.ListExportTasks(ctx, &request)
	if err != nil {
		return err
	}

	if *asJSON {
		return cli.WriteJSON(stdout, page)
	}
	if err := printTable(stdout, page.Data); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "%d of %d tasks\n", len(page.Data), page.Total)
	return err
}

func printTable(w io.Writer, tasks []cdn.ExportTask) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tSTATUS\tCREATED\tUPDATED")
	for _, task := range tasks {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", cell(task.TaskID), cell(task.TaskName), cell(string(task.Status)),
			localTime(task.CreateTime), localTime(task.UpdateTime))
	}
	return table.Flush() // it returns the error of any write before
}

func cell(text string) string { return cmp.Or(cli.Printable(text), "-") }

func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
