// Command fleet is the daily billing export of several accounts: one task for each account, domain and day, however
// many replicas run and whatever crashes. See README.md.
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
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// parse reads the flags. An error is one line; with -h it prints the usage.
func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.accounts, "accounts", "", "`names` of the accounts, such as shop,media; their keys are in FLEET_SHOP_AK, FLEET_SHOP_SK and so on")
	flags.IntVar(&s.days, "days", 1, "`number` of days to export")
	flags.StringVar(&s.until, "until", "", "last `day` to export, such as 2026-11-25; yesterday in UTC+8 if it is empty")
	flags.StringVar(&s.out, "out", "billing", "`folder` for the files")
	flags.StringVar(&s.journal, "journal", "billing-journal", "`folder` for the journals, one for each account")
	flags.StringVar(&s.database, "database", "", "`URL` of PostgreSQL, for replicas on several machines; better in FLEET_DATABASE, for its password")
	flags.StringVar(&s.metrics, "metrics", "", "`address` at which Prometheus finds /metrics, such as 127.0.0.1:9464")
	flags.BoolVar(&s.fast, "fast", false, "short pauses, for a service such as -sandbox starts")
	flags.BoolVar(&s.sandbox, "sandbox", false, "start a service for each account and replicas that use it, on this machine")
	flags.IntVar(&s.replicas, "replicas", 1, "`number` of replicas of the sandbox")
	flags.BoolVar(&s.kill, "kill", false, "kill replicas of the sandbox at random and start them again")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
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
		return nil, fmt.Errorf("%w; -h shows the usage", err)
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
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
