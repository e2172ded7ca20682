package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/journal"
)

// fleet is one replica.
type fleet struct {
	*settings
	accounts []account
	metrics  *metrics
	logger   *slog.Logger

	mu     sync.Mutex // for stdout
	stdout io.Writer
}

// maxExports is the number of exports that a replica runs at a time. Most of the time they wait for their tasks.
const maxExports = 16

// newClient returns the client of an account. Each account has a journal and a quota of its own.
func (f *fleet) newClient(a account, records cdn.Journal) (*cdn.CdnClient, error) {
	options := []cdn.Option{
		cdn.WithAKSK(a.ak, a.sk), cdn.WithJournal(records), cdn.WithObserver(f.metrics.observer(a.name)),
		cdn.WithLogger(f.logger.With("account", a.name)), cdn.WithUserAgent("fleet/1"),
	}
	if a.endpoint != "" {
		options = append(options, cdn.WithEndpoint(a.endpoint))
	}
	if f.fast {
		options = append(options, cdn.WithListLag(100*time.Millisecond), cdn.WithLostCreateExpiry(2*time.Second),
			cdn.WithPollInterval(100*time.Millisecond, 500*time.Millisecond))
	}
	client, err := cdn.NewCdnClient(options...)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.name, err)
	}
	return client, nil
}

// clients returns the clients of all accounts, with the journals that open returns.
func (f *fleet) clients(open func(account) (cdn.Journal, error)) (map[string]*cdn.CdnClient, error) {
	clients := map[string]*cdn.CdnClient{}
	for _, a := range f.accounts {
		records, err := open(a)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", a.name, err)
		}
		if clients[a.name], err = f.newClient(a, records); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// export creates the export's file. A file that exists is complete, so there is nothing to do.
func (f *fleet) export(ctx context.Context, client *cdn.CdnClient, e export) error {
	path := e.path(f.out)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	request, err := e.request()
	if err != nil {
		return err
	}
	start := time.Now()
	task, err := client.ExportFile(ctx, request, path, cdn.WithExportKey(e.key()))
	if err != nil {
		ended := outcomeOf(err)
		f.printf("%s  %s: %v%s", e.key(), ended, err, ended.hint())
		return err
	}
	f.printf("%s  finished in %s, task %s", e.key(), time.Since(start).Round(10*time.Millisecond), task.TaskID)
	return nil
}

func (f *fleet) printf(format string, values ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = fmt.Fprintf(f.stdout, format+"\n", values...) // a closed pipe must not stop the exports
}

// runOnce runs all exports that are due at now, with journals in a folder. The error has the number of failures.
func (f *fleet) runOnce(ctx context.Context, now time.Time) error {
	clients, err := f.clients(func(a account) (cdn.Journal, error) {
		if err := os.MkdirAll(f.journal, 0o700); err != nil {
			return nil, err
		}
		return journal.OpenDir(filepath.Join(f.journal, a.name))
	})
	if err != nil {
		return err
	}
	last, err := f.lastDay(now)
	if err != nil {
		return err
	}
	exports := plan(f.accounts, f.days, last)
	failures := make([]error, len(exports))
	places := make(chan struct{}, maxExports)
	var running sync.WaitGroup
	for i, e := range exports {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			failures[i] = f.export(ctx, clients[e.Account], e)
		})
	}
	running.Wait()
	if failed := count(failures); failed > 0 {
		return fmt.Errorf("%d of %d exports failed; run it again", failed, len(exports))
	}
	return ctx.Err()
}

func count(failures []error) int {
	n := 0
	for _, err := range failures {
		if err != nil {
			n++
		}
	}
	return n
}
