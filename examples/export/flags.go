package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

type config struct {
	request cdn.CreateExportTaskRequest
	taskID  string
	path    string
	service cli.Service
	timeout time.Duration
}

func parse(args []string, stderr io.Writer, now time.Time) (config, error) {
	var c config
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.path, "o", "", "write the `file` here; one that is there is replaced when the new one is complete; - is standard output")
	flags.StringVar(&c.taskID, "task-id", "", "create no task: wait for the one with this `id`, and download its file")

	c.request.DomainNames = []string{"all"}
	flags.Func("domains", "export the figures of these `domains`, with commas between them (default all)", list(&c.request.DomainNames))
	flags.Func("start", "export from this `time` on, as YYYY-MM-DD in UTC+8 or RFC 3339 (default a day before -end)", moment(&c.request.StartTime))
	flags.Func("end", "export up to this `time` (default a day after -start, or last midnight in UTC+8)", moment(&c.request.EndTime))
	flags.DurationVar(&c.request.Interval, "interval", 0, "one row for each step of this `length`, such as 5m or 1h (0: the service's default)")
	flags.StringVar((*string)(&c.request.StatType), "stat", string(cdn.StatTypeFlux), "`what` to count: flux (traffic) or req_num (requests)")
	flags.StringVar((*string)(&c.request.ServiceArea), "area", "", "`where` to count: mainland_china, outside_mainland_china or global")
	flags.StringVar(&c.request.GroupBy, "group-by", "", "`domain` for the figures of each domain")
	flags.Func("country", "count only these countries, by their `codes`, with commas between them", list(&c.request.Countries))
	flags.Func("province", "count only these provinces, by their `codes`; needs -country cn", list(&c.request.Provinces))
	flags.StringVar(&c.request.ISP, "isp", "", "count only this `carrier`")
	flags.StringVar((*string)(&c.request.Language), "language", "", "`language` of the file: zh or en")
	flags.StringVar((*string)(&c.request.Action), "action", "", "export this `kind` of data, such as reports_detail or isp_detail")

	flags.DurationVar(&c.timeout, "timeout", time.Hour, "give up after this `time`")
	c.service.AddFlags(flags, "ask a server in this process, which makes up a file in seconds")
	err := cli.Parse(flags, args, func() error {
		switch {
		case c.path == "":
			return errors.New("-o is missing: name the file to write, or - for standard output")
		case c.timeout <= 0:
			return errors.New("-timeout must be more than 0")
		}
		return c.service.Check()
	})
	setPeriod(&c.request, now)
	return c, err
}

// list reads names with commas between them.
func list(names *[]string) func(string) error {
	return func(text string) error {
		*names = strings.Split(text, ",")
		for i, name := range *names {
			(*names)[i] = strings.TrimSpace(name)
		}
		return nil
	}
}

// serviceZone is the time zone by which the service counts days.
func serviceZone() *time.Location { return time.FixedZone("UTC+8", 8*60*60) }

// moment reads a time. A date is its first moment in UTC+8.
func moment(t *time.Time) func(string) error {
	return func(text string) (err error) {
		if *t, err = time.ParseInLocation(time.DateOnly, text, serviceZone()); err == nil {
			return nil
		}
		if *t, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New("want YYYY-MM-DD, or RFC 3339 such as 2026-03-01T18:00:00+08:00")
		}
		return nil
	}
}

// setPeriod fills in what was not asked for: the day before an end or after a start, or yesterday in UTC+8.
func setPeriod(r *cdn.CreateExportTaskRequest, now time.Time) {
	if r.StartTime.IsZero() && r.EndTime.IsZero() {
		year, month, day := now.In(serviceZone()).Date()
		r.EndTime = time.Date(year, month, day, 0, 0, 0, 0, serviceZone())
	}
	if r.StartTime.IsZero() {
		r.StartTime = r.EndTime.AddDate(0, 0, -1)
	}
	if r.EndTime.IsZero() {
		r.EndTime = r.StartTime.AddDate(0, 0, 1)
	}
}

// summary is what an export is about.
func summary(r *cdn.CreateExportTaskRequest) string {
	return fmt.Sprintf("%s of %s from %s to %s", r.StatType, strings.Join(r.DomainNames, ","),
		r.StartTime.Format(time.RFC3339), r.EndTime.Format(time.RFC3339))
}
