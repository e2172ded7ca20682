// Command fleet exports the daily traffic of several accounts: one task for each account, domain and day, however many
// replicas run and crash. See README.md.
//
//	go run ./examples/fleet -sandbox -replicas 3 -kill
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
	"syscall"
	"time"
)

const help = `fleet exports the daily traffic of several accounts: one task for each account, domain and day, however many replicas
run and crash.

  fleet -sandbox -replicas 3 -kill       a trial on this machine; needs no account
  fleet -accounts shop,media -days 7     runs once, for cron, and exports what is missing of the last 7 days
  FLEET_DATABASE=postgres://fleet@db/fleet fleet -accounts shop,media
                                         runs until SIGTERM, as one of several replicas

Variables of an account, here shop:
  FLEET_SHOP_AK, FLEET_SHOP_SK   the keys
  FLEET_SHOP_DOMAINS             a task for each of these domains, with commas between them (default: a task for all)
  FLEET_SHOP_ENDPOINT            URL of the service (default: that of region cn-north-1)

The exit status is 0, 1 for a failure, 2 for wrong usage.

Flags:
`

// settings are the flags.
type settings struct {
	accounts string
	days     int
	until    string
	out      string
	journal  string
	database string
	metrics  string
	fast     bool
	sandbox  bool
	replicas int
	kill     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch wrongUsage := (usageError{}); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrongUsage):
		fmt.Fprintf(os.Stderr, "fleet: %v; -h shows the usage\n", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// usageError is an error of the arguments.
type usageError struct{ error }

// parse parses the flags. With -h it prints the usage to stdout.
func parse(args []string, stdout io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.accounts, "accounts", "", "`names` of the accounts, with commas between them")
	flags.IntVar(&s.days, "days", 1, "`number` of days to export")
	flags.StringVar(&s.until, "until", "", "last `day` to export, such as 2026-11-25 (default yesterday in UTC+8)")
	flags.StringVar(&s.out, "out", "billing", "`folder` for the files")
	flags.StringVar(&s.journal, "journal", "billing-journal", "`folder` for the journals, one for each account")
	flags.StringVar(&s.database, "database", "", "`URL` of PostgreSQL, for replicas on several machines (default $FLEET_DATABASE, which hides its password)")
	flags.StringVar(&s.metrics, "metrics", "", "`address` of /metrics for Prometheus, such as 127.0.0.1:9464 (default none)")
	flags.BoolVar(&s.fast, "fast", false, "use short pauses, for a sandbox")
	flags.BoolVar(&s.sandbox, "sandbox", false, "start a server for each account and replicas that use it, on this machine")
	flags.IntVar(&s.replicas, "replicas", 1, "`number` of replicas of the sandbox")
	flags.BoolVar(&s.kill, "kill", false, "kill replicas of the sandbox at random and start them again")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, help)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil, err
	}
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.days < 1:
		err = fmt.Errorf("-days %d: must be at least 1", s.days)
	case s.replicas < 1:
		err = fmt.Errorf("-replicas %d: must be at least 1", s.replicas)
	case !s.sandbox && (s.replicas > 1 || s.kill):
		err = errors.New("-replicas and -kill need -sandbox")
	case s.sandbox && s.accounts != "":
		err = errors.New("-sandbox has accounts of its own, without -accounts")
	}
	if err == nil {
		_, err = s.lastDay(time.Now())
	}
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout)
	if err != nil {
		return err
	}
	if s.sandbox {
		return runSandbox(ctx, s, stdout)
	}
	return runReplica(ctx, s, stdout, stderr)
}

// runReplica exports what is missing, once without a database, until ctx ends with one.
func runReplica(ctx context.Context, s *settings, stdout, stderr io.Writer) error {
	accounts, err := accountsOf(s.accounts, os.Getenv)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	m, err := newMetrics()
	if err != nil {
		return err
	}
	stopMetrics, err := m.serve(s.metrics)
	if err != nil {
		return err
	}
	defer stopMetrics()
	f := &fleet{settings: s, accounts: accounts, metrics: m, stdout: stdout, logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if s.database == "" {
		s.database = os.Getenv("FLEET_DATABASE")
	}
	if s.database != "" {
		return f.serveQueue(ctx)
	}
	return f.runOnce(ctx, time.Now())
}
