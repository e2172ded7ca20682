package pgjournal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrPooler means that the statements of one session run on several backends of the server, or share theirs with another
// client: a pooler in transaction or statement mode lies between. There, a session's lock does not exclude others.
var ErrPooler = errors.New("a connection pooler in transaction mode is in use; connect to PostgreSQL directly, or through a pool in session mode")

// refusePooler returns ErrPooler if the backend of s changes, or if a second session gets the same one. Each step
// makes a pooler in transaction mode hand out backends: the statements of two idle sessions take turns, and a
// transaction occupies one backend while the other session runs a statement.
//
// At the server itself, a backend belongs to one connection, so the check finds nothing wrong whatever the load is.
func (s *session) refusePooler(ctx context.Context, pool *pgxpool.Pool) error {
	const rounds = 5
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	second, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	other := &session{conn: second.Hijack()}
	defer other.close()
	if other.backend, err = other.currentBackend(ctx); err != nil {
		return err
	}
	for range rounds {
		if err := s.compare(ctx, other); err != nil {
			return err
		}
		if err := s.compareInTransaction(ctx, other); err != nil {
			return err
		}
	}
	return nil
}

// compare lets both sessions run a statement, and compares their backends with each other and with the earlier ones.
func (s *session) compare(ctx context.Context, other *session) error {
	for _, one := range []*session{s, other} {
		backend, err := one.currentBackend(ctx)
		if err != nil {
			return err
		}
		if backend != one.backend {
			return one.moved(backend)
		}
	}
	if s.backend == other.backend {
		return fmt.Errorf("%w: two sessions ran on backend %d", ErrPooler, s.backend)
	}
	return nil
}

func (s *session) compareInTransaction(ctx context.Context, other *session) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	err = s.compare(ctx, other)
	if rollback := tx.Rollback(ctx); err == nil {
		err = rollback
	}
	return err
}
