// Chaos exports keys from several processes that are killed with SIGKILL: at random moments, and at each step between
// the journal and the service. The service is a sandbox that lists late, loses requests and responses, and throttles. An
// operator settles the keys that are ambiguous. In the end each key must have one task and one whole file.
//
//	go run ./internal/chaos -kills 1000            in a folder
//	go run ./internal/chaos -kills 1000 -postgres  in PostgreSQL, whose connections are cut as well
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if os.Getenv(envJob) != "" {
		work()
		return
	}
	kills := flag.Int("kills", 40, "how many processes to kill")
	postgres := flag.Bool("postgres", false, "use a journal in PostgreSQL, not in a folder")
	workers := flag.Int("workers", 4, "how many processes at a time")
	limit := flag.Duration("limit", time.Hour, "when to give up")
	cutEvery := flag.Duration("cut", 8*time.Second, "how often, on average, to cut the connection that holds the lock in PostgreSQL")
	verbose := flag.Bool("v", false, "print the errors of exports, which are tried again")
	flag.Parse()
	ctx, cancel := context.WithTimeoutCause(context.Background(), *limit, errors.New("the time is up"))
	defer cancel()
	s := &supervisor{limit: *kills, cutEvery: *cutEvery, verbose: *verbose}
	if err := run(ctx, s, *workers, *postgres); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *supervisor, workers int, postgres bool) (err error) {
	folder, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := s.open(folder, postgres); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	start := time.Now()
	if err := s.run(ctx, workers); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	s.print(os.Stdout, time.Since(start))
	return nil
}
