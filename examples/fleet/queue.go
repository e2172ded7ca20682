package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/pgjournal"
)

// Kind names the jobs of exports. An export is the arguments of its own job.
func (export) Kind() string { return "cdn_export" }

// InsertOpts allows one job for each export. A job that was canceled or discarded does not count: the next plan inserts
// it again, so a key that an operator has settled goes on by itself.
func (export) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// planArgs is the periodic job that inserts a job for each export of the plan.
type planArgs struct{}

func (planArgs) Kind() string { return "cdn_plan" }

// planWorker does the periodic job.
type planWorker struct {
	river.WorkerDefaults[planArgs]
	*fleet
}

func (w *planWorker) Work(ctx context.Context, _ *river.Job[planArgs]) error {
	last, err := w.lastDay(time.Now())
	if err != nil {
		return err
	}
	var jobs []river.InsertManyParams
	for _, e := range plan(w.accounts, w.days, last) {
		jobs = append(jobs, river.InsertManyParams{Args: e})
	}
	results, err := river.ClientFromContext[pgx.Tx](ctx).InsertMany(ctx, jobs)
	if err != nil {
		return err
	}
	inserted := 0
	for _, result := range results {
		if !result.UniqueSkippedAsDuplicate {
			inserted++
		}
	}
	w.printf("plan: %d exports, %d new jobs", len(jobs), inserted)
	return nil
}

// exportWorker does the jobs of exports.
type exportWorker struct {
	river.WorkerDefaults[export]
	*fleet
	clients map[string]*cdn.CdnClient
}

// Work runs one export. River retries errors with backoff.
func (w *exportWorker) Work(ctx context.Context, job *river.Job[export]) error {
	client := w.clients[job.Args.Account]
	if client == nil {
		return river.JobCancel(fmt.Errorf("account %q is not in -accounts", job.Args.Account))
	}
	return jobError(w.export(ctx, client, job.Args))
}

// jobError returns the error for River of an export that returned err.
func jobError(err error) error {
	switch ended := outcomeOf(err); {
	case ended == outcomeThrottled:
		return river.JobSnooze(quotaPause) // does not count as an attempt
	case ended.final():
		return river.JobCancel(fmt.Errorf("%w%s", err, ended.hint()))
	}
	return err
}

// serveQueue works on the queue in the database until ctx ends.
func (f *fleet) serveQueue(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(f.database)
	if err != nil {
		return fmt.Errorf("-database: %w", err)
	}
	config.MaxConns = int32(8 + len(f.accounts)) // one for each journal, the others for River
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("-database: %w", err)
	}
	defer pool.Close()
	if err := migrate(ctx, pool); err != nil {
		return fmt.Errorf("prepare River's tables: %w", err)
	}
	client, err := f.newQueue(ctx, pool)
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	// The jobs that run are canceled; another replica goes on with them.
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return client.StopAndCancel(stopCtx)
}

// newQueue returns River's client with the workers, and journals in the same database.
func (f *fleet) newQueue(ctx context.Context, pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	clients, err := f.clients(func(a account) (cdn.Journal, error) {
		return pgjournal.Open(ctx, pool, pgjournal.WithNamespace(a.name))
	})
	if err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	if err := errors.Join(
		river.AddWorkerSafely(workers, &planWorker{fleet: f}),
		river.AddWorkerSafely(workers, &exportWorker{fleet: f, clients: clients}),
	); err != nil {
		return nil, err
	}
	every, timeout := time.Hour, 30*time.Minute
	if f.fast {
		every, timeout = 10*time.Second, 20*time.Second
	}
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:  f.logger,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxExports}},
		Workers: workers,
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(every),
			func() (river.JobArgs, *river.InsertOpts) { return planArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})},
		// River gives the jobs of a dead replica to others after their timeout.
		JobTimeout:           timeout,
		RescueStuckJobsAfter: timeout + time.Second,
	})
}

// migrateLock is the advisory lock under which replicas that start together prepare River's tables in turn.
const migrateLock = 0x63646e666c656574

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	_, unlockErr := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrateLock))
	return errors.Join(err, unlockErr)
}
