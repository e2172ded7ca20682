package pgjournal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Three journals on one database, four goroutines each: one at a time is between Lock and unlock.
func TestJournal_Lock_excludes(t *testing.T) {
	url := newSchema(t)
	var inside, most atomic.Int32
	var group sync.WaitGroup
	for range 3 {
		j := newJournal(t, url)
		for range 4 {
			group.Go(func() {
				unlock, err := j.Lock(t.Context())
				if !assert.NoError(t, err) {
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				assert.NoError(t, j.Store(t.Context(), "key", nil))
				inside.Add(-1)
				unlock()
			})
		}
	}
	group.Wait()
	require.EqualValues(t, 1, most.Load())
}

func TestJournal_Lock_waits_until_ctx_ends(t *testing.T) {
	url := newSchema(t)
	held, other := newJournal(t, url), newJournal(t, url)
	unlock := lock(t, held)
	for _, test := range []struct {
		name    string
		journal *Journal
		want    string
	}{
		{"the same journal", held, "another caller of this process"},
		{"another journal", other, "held by another session"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reason := errors.New("no patience")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, reason)
			defer cancel()
			_, err := test.journal.Lock(ctx)
			require.ErrorIs(t, err, reason)
			require.ErrorContains(t, err, test.want)
			_, err = test.journal.Lock(ctx)
			require.ErrorIs(t, err, reason)
		})
	}
	unlock()
	unlock()
	lock(t, other)()
	lock(t, held)()
}

// The limits that a database sets for its sessions do not end a session that waits for the lock or holds it.
func TestJournal_Lock_despite_timeouts(t *testing.T) {
	url := newDatabase(t)
	first, second := newJournal(t, url), newJournal(t, url)
	for _, setting := range []string{
		"statement_timeout = '1s'", "lock_timeout = '1s'", "idle_session_timeout = '1s'",
		"synchronous_commit = off", "default_transaction_read_only = on",
	} {
		exec(t, server.URL, "ALTER DATABASE "+databaseOf(url)+" SET "+setting)
	}
	unlock := lock(t, first)
	got := make(chan func())
	go func() {
		unlock, err := second.Lock(t.Context())
		assert.NoError(t, err)
		got <- unlock
	}()
	awaitWaiter(t)
	time.Sleep(1500 * time.Millisecond) // the limits have passed, for the waiting statement and the idle session
	require.NoError(t, first.Store(t.Context(), "key", []byte("record")))
	unlock()
	unlock = <-got
	defer unlock()
	record, err := second.Load(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, "record", string(record))
	var commit, keepalive string
	require.NoError(t, second.session.conn.QueryRow(t.Context(),
		"SELECT current_setting('synchronous_commit'), current_setting('tcp_keepalives_idle')").Scan(&commit, &keepalive))
	require.Equal(t, "on", commit)
	require.Equal(t, "15", keepalive)
}

// awaitWaiter returns once a session waits for an advisory lock.
func awaitWaiter(t *testing.T) {
	t.Helper()
	pool := newPool(t, server.URL)
	require.Eventually(t, func() bool {
		var waiting bool
		err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").Scan(&waiting)
		return err == nil && waiting
	}, 10*time.Second, 10*time.Millisecond)
}

func TestJournal_namespaces_are_apart(t *testing.T) {
	url := newSchema(t)
	one, two := newJournal(t, url, WithNamespace("one")), newJournal(t, url, WithNamespace("two"))
	unlock := lock(t, one)
	require.NoError(t, one.Store(t.Context(), "key", []byte("of one")))
	require.Empty(t, load(t, two, "key"))
	store(t, two, "key", "of two")
	unlock()
	require.Equal(t, "of one", load(t, one, "key"))
	require.Equal(t, "of two", load(t, two, "key"))
}

func TestJournal_needs_lock(t *testing.T) {
	j := newJournal(t, newSchema(t))
	for range 2 {
		_, err := j.Load(t.Context(), "key")
		require.ErrorContains(t, err, "the lock is not held")
		require.ErrorContains(t, j.Store(t.Context(), "key", nil), "the lock is not held")
		lock(t, j)()
	}
}

// A lost connection is noticed before a record counts, and leaves nothing locked.
func TestJournal_notices_lost_lock(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(t *testing.T, url string, j *Journal)
		want string
	}{
		{"backend terminated", terminate, "the connection is lost, and the lock with it"},
		{"lock released", func(t *testing.T, _ string, j *Journal) {
			_, err := j.session.conn.Exec(t.Context(), "SELECT pg_advisory_unlock_all()")
			require.NoError(t, err)
		}, "does not hold the lock any more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := newSchema(t)
			j, other := newJournal(t, url), newJournal(t, url)
			store(t, j, "key", "before")
			for _, call := range []func() error{
				func() error { return j.Store(t.Context(), "key", []byte("after")) },
				func() error { _, err := j.Load(t.Context(), "key"); return err },
			} {
				unlock := lock(t, j)
				test.harm(t, url, j)
				otherUnlock := lock(t, other)
				require.ErrorContains(t, call(), test.want)
				require.Error(t, call())
				otherUnlock()
				unlock()
				require.Equal(t, "before", load(t, other, "key"))
			}
		})
	}
}

// A context that ends during a statement closes the connection, and the lock is free.
func TestJournal_ctx_ends_during_Store(t *testing.T) {
	url := newSchema(t)
	j, other := newJournal(t, url), newJournal(t, url)
	unlock := lock(t, j)
	blocker := newPool(t, url)
	tx, err := blocker.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE cdn_journal IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = j.Store(ctx, "key", []byte("record"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the lock with it")
	require.NoError(t, tx.Rollback(t.Context()))
	lock(t, other)()
	unlock()
	require.Empty(t, load(t, other, "key"))
}

// holderURL is the variable that makes a process of the test binary hold the lock until it is killed.
const holderURL = "PGJOURNAL_TEST_HOLDER"

func hold(url string) {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err == nil {
		var j *Journal
		if j, err = Open(ctx, pool); err == nil {
			_, err = j.Lock(ctx)
		}
	}
	fmt.Println(err)
	select {}
}

func TestJournal_Lock_of_a_killed_process(t *testing.T) {
	url := newSchema(t)
	j := newJournal(t, url)
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := osexec.CommandContext(t.Context(), executable)
	cmd.Env = append(os.Environ(), holderURL+"="+url)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", line)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = j.Lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	lock(t, j)()
}
