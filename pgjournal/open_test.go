package pgjournal

import (
	"strings"
	"sync"
	"testing"

	"example.com/huaweicloud/cdn/pgjournal/internal/pgtest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Replicas that start together create the table once.
func TestOpen_concurrently(t *testing.T) {
	url := newSchema(t)
	var group sync.WaitGroup
	for range 8 {
		pool := newPool(t, url)
		group.Go(func() {
			_, err := Open(t.Context(), pool)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	store(t, newJournal(t, url), "key", "record")
	require.Equal(t, "record", load(t, newJournal(t, url), "key"))
}

func TestOpen_invalid(t *testing.T) {
	pool := newPool(t, newSchema(t))
	for _, test := range []struct {
		name    string
		pool    *pgxpool.Pool
		options []Option
		want    string
	}{
		{"no pool", nil, nil, "pool is nil"},
		{"nil option", pool, []Option{nil}, "option 0 is nil"},
		{"namespace is no text", pool, []Option{WithNamespace("a\x00b")}, "namespace"},
		{"namespace too long", pool, []Option{WithNamespace(strings.Repeat("n", 1001))}, "the limit is 1000"},
		{"no server", newPool(t, "postgres://postgres@127.0.0.1:1/x"), nil, "connect"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j, err := Open(t.Context(), test.pool, test.options...)
			require.Nil(t, j)
			require.ErrorContains(t, err, "pgjournal: Open: ")
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestOpen_foreign_table(t *testing.T) {
	url := newSchema(t)
	exec(t, url, "CREATE TABLE cdn_journal (id int)")
	_, err := Open(t.Context(), newPool(t, url))
	require.ErrorContains(t, err, "the table cdn_journal is not this package's")
}

// A role that may not create tables uses the one that its owner has made.
func TestOpen_without_right_to_create(t *testing.T) {
	url := newSchema(t)
	exec(t, url, "CREATE ROLE restricted LOGIN; DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema || ' TO restricted'; END $$")
	restricted := strings.Replace(url, "postgres@", "restricted@", 1)
	_, err := Open(t.Context(), newPool(t, restricted))
	require.ErrorContains(t, err, "let its owner create the table")

	newJournal(t, url)
	exec(t, url, "GRANT SELECT, INSERT, UPDATE ON cdn_journal TO restricted")
	j := newJournal(t, restricted)
	store(t, j, "key", "record")
	require.Equal(t, "record", load(t, j, "key"))
}

func TestOpen_standby(t *testing.T) {
	standby, err := pgtest.StartStandby()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	_, err = Open(t.Context(), newPool(t, standby.URL))
	require.ErrorContains(t, err, "the server is a standby")
}

// A pool of one connection is enough: the journal's own connection does not count.
func TestOpen_pool_of_one(t *testing.T) {
	j := newJournal(t, newSchema(t)+"&pool_max_conns=1")
	unlock := lock(t, j)
	require.NoError(t, j.pool.Ping(t.Context()))
	unlock()
	require.Zero(t, j.pool.Stat().AcquiredConns())
}
