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

const help = `export creates an export task, waits until it is finished, and downloads its file.

  export -sandbox -o report.csv   a made-up file; needs no account
  export -domains www.example.com -interval 1h -o report
                                  the account of CLOUD_SDK_AK and CLOUD_SDK_SK
  export -task-id ID -o report    goes on with a task that exists
  export -o - | head              to standard output; a failure can leave a part there

Without -start and -end it exports yesterday, by the days of UTC+8.
A file that exists is replaced when the new one is complete. Until then it is untouched.
The exit status is 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C or SIGTERM.
`

// standardOutput is the path that means standard output.
const standardOutput = "-"

// config is what the flags say.
type config struct {
	request          cdn.CreateExportTaskRequest
	taskID, path     string
	region, endpoint string
	sandbox          bool
	timeout          time.Duration
}

func parse(args []string, stdout io.Writer, now time.Time) (config, error) {
	c := config{request: cdn.CreateExportTaskRequest{DomainNames: []string{"all"}, StatType: cdn.StatTypeFlux}}
	r := &c.request
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.StringVar(&c.path, "o", "", "write the `file` here; - is standard output")
	flags.StringVar(&c.taskID, "task-id", "", "create no task: wait for the one with this `id`")
	flags.Func("domains", "`domains`, with commas between them (default all)", list(&r.DomainNames))
	flags.Func("start", "first `time`, as YYYY-MM-DD in UTC+8 or as RFC 3339 (default a day before -end)", moment(&r.StartTime))
	flags.Func("end", "`time` after the last one (default a day after -start)", moment(&r.EndTime))
	flags.DurationVar(&r.Interval, "interval", 0, "`duration` of each step: 5m or 1h (default: the service's)")
	flags.StringVar((*string)(&r.Action), "action", "", "`kind` of data, such as reports_detail or isp_detail")
	flags.StringVar((*string)(&r.StatType), "stat", string(r.StatType), "`statistic`: flux (traffic) or req_num (requests)")
	flags.StringVar(&r.GroupBy, "group-by", "", "`domain`: rows for each domain")
	flags.StringVar((*string)(&r.ServiceArea), "area", "", "service `area`: mainland_china, outside_mainland_china or global")
	flags.Func("country", "`codes` of countries, with commas between them", list(&r.Countries))
	flags.Func("province", "`codes` of provinces, with commas between them; needs -country cn", list(&r.Provinces))
	flags.StringVar(&r.ISP, "isp", "", "code of a `carrier`")
	flags.StringVar((*string)(&r.Language), "language", "", "`language` of the file: zh or en")
	flags.DurationVar(&c.timeout, "timeout", time.Hour, "give up after this `duration`")
	flags.StringVar(&c.region, "region", cdn.DefaultRegion, "`region` of the service: "+strings.Join(cdn.Regions(), ", "))
	flags.StringVar(&c.endpoint, "endpoint", "", "`URL` of the service, instead of the region's")
	flags.BoolVar(&c.sandbox, "sandbox", false, "use a server in this process")
	if err := cli.Parse(flags, args, help, stdout); err != nil {
		return c, err
	}
	if c.path == "" {
		return c, fmt.Errorf("%w: -o is missing: give the file to write, or - for standard output", cli.ErrUsage)
	}
	setPeriod(r, now)
	return c, nil
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
			return errors.New("must be YYYY-MM-DD, or RFC 3339 such as 2026-03-01T18:00:00+08:00")
		}
		return nil
	}
}

// setPeriod sets the times that were not given: a day before the end or after the start, by default yesterday in UTC+8.
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
