package pgjournal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// createTable creates the table if there is none, and checks the one that is there. A role without the right to
// create tables can use a table that its owner has created.
func (s *session) createTable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	exists, err := s.tableExists(ctx)
	if err == nil && !exists {
		err = pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error { return createTable(ctx, tx) })
	}
	if err != nil {
		return fmt.Errorf("create the table cdn_journal: %w", err)
	}
	var namespace, key string
	var record []byte
	err = s.conn.QueryRow(ctx, "SELECT namespace, key, record FROM cdn_journal WHERE stored_at > 'infinity'").Scan(&namespace, &key, &record)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("the table cdn_journal is not this package's: %w", err)
	}
	return nil
}

func (s *session) tableExists(ctx context.Context) (exists bool, err error) {
	err = s.conn.QueryRow(ctx, "SELECT to_regclass('cdn_journal') IS NOT NULL").Scan(&exists)
	return exists, err
}

// createTable excludes other programs that create it: two CREATE TABLE IF NOT EXISTS at once can fail.
func createTable(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('cdn_journal'), 0)"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS cdn_journal (
		namespace text NOT NULL,
		key text NOT NULL,
		record bytea NOT NULL,
		stored_at timestamptz NOT NULL,
		PRIMARY KEY (namespace, key))`)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" {
		return fmt.Errorf("%w: let its owner create the table and grant SELECT, INSERT and UPDATE on it", err)
	}
	return err
}
