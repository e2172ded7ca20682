// Package pgjournal remembers in PostgreSQL which export belongs to which key, for cdn.WithJournal.
//
// Replicas on several machines share one journal. Its lock is a session's advisory lock, on a connection of its
// own; its records are rows of the table cdn_journal, which [Open] creates. PostgreSQL 14 and newer are supported.
//
// The records are as durable as the database. After a failover to an asynchronous replica the last ones may be
// missing, and their exports may be made again.
package pgjournal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	maxName   = 1000             // bytes of a key or a namespace: an index entry has at most 2,704
	maxRecord = 1 << 20          // bytes of a record
	callTime  = 30 * time.Second // for one statement that waits for no lock
)

// Journal is a journal in PostgreSQL. It implements cdn.Journal and is safe for concurrent use. Journals of one
// namespace in one database exclude each other, in one process and in many.
type Journal struct {
	pool      *pgxpool.Pool
	namespace string
	lockID    int64
	turn      chan struct{} // a semaphore: one caller of this Journal at a time has a connection

	mu      sync.Mutex
	session *session // nil if the lock is not held
}

// Option configures [Open].
type Option func(*Journal) error

// WithNamespace keeps the keys of several accounts in one database apart. The default is the empty namespace. A
// namespace is valid UTF-8 of at most 1,000 bytes.
func WithNamespace(namespace string) Option {
	return func(j *Journal) error {
		j.namespace = namespace
		return checkText("namespace", namespace)
	}
}

// Open returns the journal in pool's database. It creates the table cdn_journal in the first schema of the
// search_path if it finds none. The pool remains the caller's; nothing has to be closed.
//
// For each lock the journal takes a connection out of the pool, and closes it afterwards. An error says that the
// database cannot be used: it is a standby, the role may not create the table, or a pooler in transaction mode lies
// between, under which a session's lock has no meaning. [ErrPooler] is that last one.
func Open(ctx context.Context, pool *pgxpool.Pool, options ...Option) (*Journal, error) {
	j, err := open(ctx, pool, options)
	if err != nil {
		return nil, fmt.Errorf("pgjournal: Open: %w", err)
	}
	return j, nil
}

func open(ctx context.Context, pool *pgxpool.Pool, options []Option) (*Journal, error) {
	if pool == nil {
		return nil, errors.New("pool is nil")
	}
	j := &Journal{pool: pool, turn: make(chan struct{}, 1)}
	for i, option := range options {
		if option == nil {
			return nil, fmt.Errorf("option %d is nil", i)
		}
		if err := option(j); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256([]byte("cdn_journal\x00" + j.namespace))
	j.lockID = int64(binary.BigEndian.Uint64(sum[:])) // any 64 bits are a lock's id
	s, err := j.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.refusePooler(ctx, pool); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.createTable(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// Lock takes the lock of the journal's namespace and returns the function that releases it. It waits for other
// goroutines, processes and machines until ctx ends; the error then wraps the cause of ctx. The server releases
// the lock of a client that dies, within 30 s also if its machine or network does.
//
// The lock is not reentrant: a second Lock waits until the first one is released, in the same goroutine too.
// A second call of unlock does nothing.
func (j *Journal) Lock(ctx context.Context) (unlock func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("pgjournal: lock: %w", context.Cause(ctx))
	}
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("pgjournal: lock: held or awaited by another caller of this process: %w", context.Cause(ctx))
	}
	s, err := j.lock(ctx)
	if err != nil {
		<-j.turn
		return nil, fmt.Errorf("pgjournal: lock: %w", err)
	}
	j.mu.Lock()
	j.session = s
	j.mu.Unlock()
	return sync.OnceFunc(j.unlock), nil
}

func (j *Journal) lock(ctx context.Context) (*session, error) {
	s, err := j.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (j *Journal) unlock() {
	j.mu.Lock()
	s := j.session
	j.session = nil
	j.mu.Unlock()
	s.unlock()
	<-j.turn
}

// Load returns the record of key, or nil if there is none. The caller holds the lock. If the lock was lost with its
// connection, the error says so.
func (j *Journal) Load(ctx context.Context, key string) ([]byte, error) {
	s, err := j.begin(key)
	if err != nil {
		return nil, fmt.Errorf("pgjournal: load: %w", err)
	}
	record, err := s.load(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("pgjournal: load %q: %w", key, err)
	}
	return record, nil
}

// Store replaces the record of key. The caller holds the lock. The transaction is durable before Store returns nil. If
// the lock was lost with its connection, the error says so and the record is as before. After another error it is as
// before, or the new one. A record has at most 1 MiB; a key is valid UTF-8 of at most 1,000 bytes.
func (j *Journal) Store(ctx context.Context, key string, record []byte) error {
	if len(record) > maxRecord {
		return fmt.Errorf("pgjournal: store: the record has %d bytes, the limit is %d", len(record), maxRecord)
	}
	s, err := j.begin(key)
	if err != nil {
		return fmt.Errorf("pgjournal: store: %w", err)
	}
	if err := s.store(ctx, key, record); err != nil {
		return fmt.Errorf("pgjournal: store %q: %w", key, err)
	}
	return nil
}

// begin returns the session that holds the lock.
func (j *Journal) begin(key string) (*session, error) {
	if err := checkText("key", key); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.session == nil {
		return nil, errors.New("the lock is not held: call Lock first")
	}
	return j.session, nil
}

// checkText returns an error if text cannot be in a column of an index.
func checkText(field, text string) error {
	switch {
	case len(text) > maxName:
		return fmt.Errorf("%s has %d bytes, the limit is %d", field, len(text), maxName)
	case !utf8.ValidString(text), strings.Contains(text, "\x00"):
		return fmt.Errorf("%s %q is not UTF-8 text", field, text)
	}
	return nil
}
