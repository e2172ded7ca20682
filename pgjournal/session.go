package pgjournal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is one connection, which may hold the lock. One caller at a time uses it.
type session struct {
	conn      *pgx.Conn
	namespace string
	lockID    int64
	backend   uint32 // the server process of the connection
}

// settings are those of a session that holds a lock. The server must end it soon after its client's machine or network
// has died, and at no other time. A commit that is reported must be durable. transaction_timeout is PostgreSQL 17's.
const settings = `SELECT
	set_config('tcp_keepalives_idle', '15', false),
	set_config('tcp_keepalives_interval', '5', false),
	set_config('tcp_keepalives_count', '3', false),
	set_config('client_connection_check_interval', '5s', false),
	(SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
		'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')),
	set_config('default_transaction_read_only', 'off', false),
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
		ELSE current_setting('synchronous_commit') END, false)`

// connect takes a connection out of the pool. It remains the session's until it is closed.
func (j *Journal) connect(ctx context.Context) (*session, error) {
	pooled, err := j.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &session{conn: pooled.Hijack(), namespace: j.namespace, lockID: j.lockID}
	if s.backend, err = s.currentBackend(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// currentBackend returns the backend that runs the next statement. The simple protocol works with every pooler.
func (s *session) currentBackend(ctx context.Context) (backend uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = s.conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&backend)
	return backend, err
}

func (s *session) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var standby bool
	if err := s.conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil {
		return err
	}
	if standby {
		return errors.New("the server is a standby, whose locks the primary does not know")
	}
	if _, err := s.conn.Exec(ctx, settings); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	return nil
}

// holds is a condition: this very backend holds the lock $1.
const holds = `EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND classid::bigint = ($1::bigint >> 32) & 4294967295 AND objid::bigint = $1::bigint & 4294967295 AND objsubid = 1)`

// lock sets up the session and waits for the lock. A new session holds none, so a backend that holds it has another
// client as well: a lock is granted to its own backend a second time.
func (s *session) lock(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	var shared bool
	var backend uint32
	err := s.conn.QueryRow(ctx, `SELECT held, pg_backend_pid(), CASE WHEN NOT held THEN pg_advisory_lock($1) END IS NULL
		FROM (SELECT `+holds+` AS held OFFSET 0) AS before`, s.lockID).Scan(&shared, &backend, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("held by another session: %w", context.Cause(ctx))
	case err != nil:
		return err
	case shared:
		return fmt.Errorf("%w: another client has the same backend, and the lock", ErrPooler)
	case backend != s.backend:
		return s.moved(backend)
	}
	return s.checkHeld(ctx)
}

// checkHeld returns an error if the backend of the next statement does not hold the lock.
func (s *session) checkHeld(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var held bool
	var backend uint32
	if err := s.conn.QueryRow(ctx, "SELECT "+holds+", pg_backend_pid()", s.lockID).Scan(&held, &backend); err != nil {
		return s.lost(err)
	}
	return s.verdict(held, backend)
}

func (s *session) load(ctx context.Context, key string) (record []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var held bool
	var backend uint32
	err = s.conn.QueryRow(ctx, `SELECT `+holds+`, pg_backend_pid(),
		(SELECT record FROM cdn_journal WHERE namespace = $2 AND key = $3)`, s.lockID, s.namespace, key).
		Scan(&held, &backend, &record)
	if err != nil {
		return nil, s.lost(err)
	}
	if err := s.verdict(held, backend); err != nil {
		return nil, err
	}
	return record, nil
}

// store writes only if the backend that runs the statement holds the lock.
func (s *session) store(ctx context.Context, key string, record []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if record == nil {
		record = []byte{} // nil would be NULL
	}
	tag, err := s.conn.Exec(ctx, `INSERT INTO cdn_journal (namespace, key, record, stored_at)
		SELECT $2, $3, $4, now() WHERE pg_backend_pid() = $5 AND `+holds+`
		ON CONFLICT (namespace, key) DO UPDATE SET record = excluded.record, stored_at = excluded.stored_at`,
		s.lockID, s.namespace, key, record, int32(s.backend))
	if err != nil {
		return s.lost(err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	if err := s.checkHeld(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w: the statement ran on a backend without the lock", ErrPooler)
}

// verdict returns the error for a statement that ran on a backend without the lock.
func (s *session) verdict(held bool, backend uint32) error {
	switch {
	case backend != s.backend:
		return s.moved(backend)
	case !held:
		return errors.New("the session does not hold the lock any more")
	}
	return nil
}

func (s *session) moved(backend uint32) error {
	return fmt.Errorf("%w: statements of one session ran on the backends %d and %d", ErrPooler, s.backend, backend)
}

// lost adds that the lock is lost if the connection is.
func (s *session) lost(err error) error {
	if s.conn.IsClosed() {
		return fmt.Errorf("the connection is lost, and the lock with it: %w", err)
	}
	return err
}

// unlock releases the lock and closes the connection. The server releases it as well when the connection ends, so an
// error leaves nothing to do.
func (s *session) unlock() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if !s.conn.IsClosed() {
		_, _ = s.conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", s.lockID)
	}
	s.close()
}

// close closes the connection and waits until its goroutines have ended, 1 s at most.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
	select {
	case <-s.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
