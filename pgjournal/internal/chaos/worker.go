package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/journal"
	"example.com/huaweicloud/cdn/pgjournal"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// envJob is the variable that makes a process a worker.
	envJob = "CHAOS_JOB"
	// exitFailed is the status of a worker that met an error which no key may have.
	exitFailed = 3
	// expiry is how long a lost create may be accepted.
	expiry = 2 * time.Second
	// parallel is how many keys a worker exports at a time.
	parallel = 3
)

// job is what a worker has to do.
type job struct {
	Folder, Endpoint, AK, SK string
	Postgres                 string // the URL of the journal's database; empty for a folder
	Keys                     int
	Verbose                  bool
	// The worker kills itself at the DieAfter-th step of the name DieAt, unless that is empty.
	DieAt    string
	DieAfter int
}

func work() {
	var j job
	err := json.Unmarshal([]byte(os.Getenv(envJob)), &j)
	if err == nil {
		err = j.do(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(exitFailed)
	}
}

// do exports all keys that have no file.
func (j *job) do(ctx context.Context) error {
	killer := &killer{at: j.DieAt, left: j.DieAfter}
	records, err := j.openJournal(ctx)
	if err != nil {
		return err
	}
	client, err := cdn.NewCdnClient(
		cdn.WithAKSK(j.AK, j.SK), cdn.WithEndpoint(j.Endpoint), cdn.WithPollInterval(100*time.Millisecond, time.Second),
		cdn.WithRetryPolicy(cdn.RetryPolicy{MinBackoff: 50 * time.Millisecond, MaxBackoff: time.Second}),
		cdn.WithHTTPClient(&http.Client{Transport: killingTransport{killer, http.DefaultTransport}}),
		cdn.WithJournal(killingJournal{killer, records}), cdn.WithListLag(clientLag), cdn.WithLostCreateExpiry(expiry))
	if err != nil {
		return err
	}
	keys := make(chan int)
	failures := make(chan error, parallel)
	var group sync.WaitGroup
	for range parallel {
		group.Go(func() {
			for key := range keys {
				if err := j.export(ctx, client, key); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	for _, key := range rand.Perm(j.Keys) {
		select {
		case keys <- key:
		case err := <-failures:
			return err
		}
	}
	close(keys)
	group.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

func (j *job) openJournal(ctx context.Context) (cdn.Journal, error) {
	if j.Postgres == "" {
		return journal.OpenDir(filepath.Join(j.Folder, "journal"))
	}
	pool, err := pgxpool.New(ctx, j.Postgres)
	if err != nil {
		return nil, err
	}
	for {
		opened, err := pgjournal.Open(ctx, pool)
		if err == nil || errors.Is(err, pgjournal.ErrPooler) {
			return opened, err
		}
		time.Sleep(100 * time.Millisecond) // its connection may have been cut
	}
}

// export exports a key until it has a file, and settles it if it is ambiguous. What a key may not have ends it: another
// request, or a task that is gone.
func (j *job) export(ctx context.Context, client *cdn.CdnClient, key int) error {
	path := fileOf(j.Folder, key)
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		_, err := client.ExportFile(ctx, requestOf(key), path, cdn.WithExportKey(nameOf(key)))
		if err != nil && j.Verbose {
			fmt.Fprintf(os.Stderr, "worker %d: key %d: %v\n", os.Getpid(), key, err)
		}
		switch {
		case errors.Is(err, cdn.ErrAmbiguousExport):
			if err := j.settle(ctx, client, key); err != nil {
				return err
			}
		case errors.Is(err, cdn.ErrInvalidParameter), errors.Is(err, cdn.ErrTaskNotFound):
			return err
		}
	}
}
