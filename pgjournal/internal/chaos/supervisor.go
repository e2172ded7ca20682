package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
	"example.com/huaweicloud/cdn/pgjournal/internal/pgtest"

	"github.com/jackc/pgx/v5"
)

// supervisor starts workers, and kills them until it has killed enough.
type supervisor struct {
	limit    int           // kills
	cutEvery time.Duration // how often, on average, a connection is cut
	verbose  bool
	folder   string
	server   *cdntest.Server
	db       *pgtest.Server // nil for a journal in a folder

	mu     sync.Mutex
	starts int
	atStep map[string]int // kills by step; by the supervisor at random for an empty step
	cuts   int            // connections to PostgreSQL that were cut
}

// open starts the service, and the server of a journal in PostgreSQL.
func (s *supervisor) open(folder string, postgres bool) (err error) {
	s.folder, s.atStep, s.server = folder, make(map[string]int), newService()
	for _, name := range []string{"files", "journal"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			return err
		}
	}
	if postgres {
		if s.db, err = pgtest.Start(); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) close() error {
	s.server.Close()
	if s.db != nil {
		return s.db.Stop()
	}
	return nil
}

// run keeps so many workers at work until enough were killed and the keys by then are done.
func (s *supervisor) run(ctx context.Context, workers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				done, err := s.runWorker(ctx)
				if err != nil {
					cancel(err)
				}
				if done {
					return
				}
			}
		})
	}
	cutter, stopCutter := context.WithCancel(ctx)
	var cutting sync.WaitGroup
	if s.db != nil {
		cutting.Go(func() { s.cutConnections(cutter) })
	}
	group.Wait()
	stopCutter()
	cutting.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// next returns the job of the next worker, and whether the worker is to be killed.
func (s *supervisor) next() (next job, doomed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = job{Folder: s.folder, Endpoint: s.server.URL, AK: s.server.AK, SK: s.server.SK, Verbose: s.verbose}
	if s.db != nil {
		next.Postgres = s.db.URL
	}
	// There is always more to do than is done, until enough were killed.
	next.Keys = 3 + s.kills()/8
	if doomed = s.kills() < s.limit; !doomed {
		next.Keys = 3 + s.limit/8
		return next, false
	}
	if s.starts++; s.starts%2 == 0 {
		next.DieAt, next.DieAfter = steps[s.starts/2%len(steps)], 1+rand.IntN(3)
	}
	return next, true
}

func (s *supervisor) kills() int {
	sum := 0
	for _, kills := range s.atStep {
		sum += kills
	}
	return sum
}

// runWorker runs a worker to its end, and reports whether it had done all that there is to do.
func (s *supervisor) runWorker(ctx context.Context) (done bool, err error) {
	next, doomed := s.next()
	data, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	executable, err := os.Executable()
	if err != nil {
		return false, err
	}
	life := ctx
	if doomed && next.DieAt == "" {
		var cancel context.CancelFunc
		// exec.CommandContext kills with SIGKILL at the end of its context.
		life, cancel = context.WithTimeout(ctx, time.Duration(100+rand.IntN(2500))*time.Millisecond)
		defer cancel()
	}
	cmd := exec.CommandContext(life, executable)
	cmd.Env = append(os.Environ(), envJob+"="+string(data))
	cmd.Stderr = os.Stderr
	err = cmd.Run()
	failed := new(exec.ExitError)
	switch {
	case err == nil:
		return !doomed, nil
	case life.Err() != nil && ctx.Err() == nil && !errors.As(err, &failed):
		return false, nil // it ended, or had not begun, when it was to be killed
	case errors.As(err, &failed) && failed.ExitCode() == exitFailed:
		return false, errors.New("a worker met an error that no key may have")
	case errors.As(err, &failed) && !failed.Exited(): // by a signal
		s.mu.Lock()
		s.atStep[next.DieAt]++
		s.mu.Unlock()
		return false, nil
	}
	return false, err
}

// cutConnections ends the session that holds the journal's lock again and again. A turn takes one lag at least, and the
// next holder begins anew if it loses its connection meanwhile.
func (s *supervisor) cutConnections(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.cutEvery/2 + rand.N(s.cutEvery)):
		}
		conn, err := pgx.Connect(ctx, s.db.URL)
		if err != nil {
			continue
		}
		var cut int
		err = conn.QueryRow(ctx, `SELECT count(*) FROM (SELECT pg_terminate_backend(pid) AS ended FROM pg_locks
			WHERE locktype = 'advisory' AND granted LIMIT 1) AS cut WHERE ended`).Scan(&cut)
		if err == nil {
			s.mu.Lock()
			s.cuts += cut
			s.mu.Unlock()
		}
		_ = conn.Close(context.Background())
	}
}

func (s *supervisor) print(w io.Writer, took time.Duration) {
	where := "a folder"
	if s.db != nil {
		where = fmt.Sprintf("PostgreSQL, %d connections cut", s.cuts)
	}
	random := s.atStep[""]
	fmt.Fprintf(w, "journal in %s\n", where)
	fmt.Fprintf(w, "kills %d: %d at random, %d at %d steps\n", s.kills(), random, s.kills()-random, len(s.atStep)-min(1, random))
	keys := 3 + s.limit/8
	fmt.Fprintf(w, "keys %d, tasks %d, whole files %d, in %s\n", keys, len(s.server.Tasks()), keys, took.Round(time.Second))
}
