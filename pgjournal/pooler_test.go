package pgjournal

import (
	"testing"

	"example.com/huaweicloud/cdn/pgjournal/internal/pgtest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func newPooler(t *testing.T, mode string) *pgtest.Server {
	t.Helper()
	pooler, err := server.StartPooler(mode)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pooler.Stop()) })
	return pooler
}

func TestOpen_pooler(t *testing.T) {
	for _, test := range []struct {
		mode    string
		refused bool
	}{{"session", false}, {"transaction", true}, {"statement", true}} {
		t.Run(test.mode, func(t *testing.T) {
			pooler := newPooler(t, test.mode)
			for range 5 { // each time the pooler has other backends at hand
				j, err := Open(t.Context(), newPool(t, pooler.URL))
				if test.refused {
					require.Nil(t, j)
					require.ErrorIs(t, err, ErrPooler)
					continue
				}
				require.NoError(t, err)
				store(t, j, "key", "record")
				require.Equal(t, "record", load(t, j, "key"))
			}
		})
	}
}

// What Open does not notice, the lock and the records do: two journals, as if Open had let them pass.
func TestJournal_notices_pooler_later(t *testing.T) {
	newJournal(t, server.URL) // makes the table
	pooler := newPooler(t, "transaction")
	unchecked := func(t *testing.T) *Journal {
		config, err := pgxpool.ParseConfig(pooler.URL + "&default_query_exec_mode=exec")
		require.NoError(t, err)
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return &Journal{pool: pool, lockID: 4711, turn: make(chan struct{}, 1)}
	}
	t.Run("a second lock on the same backend", func(t *testing.T) {
		first, second := unchecked(t), unchecked(t)
		unlock := lock(t, first)
		defer unlock()
		_, err := second.Lock(t.Context())
		require.ErrorIs(t, err, ErrPooler)
		require.ErrorContains(t, err, "the same backend")
	})
	t.Run("a statement on another backend", func(t *testing.T) {
		j := unchecked(t)
		unlock := lock(t, j)
		defer unlock()
		tx, err := unchecked(t).pool.Begin(t.Context()) // occupies the backend with the lock
		require.NoError(t, err)
		defer tx.Rollback(t.Context())
		var backend uint32
		require.NoError(t, tx.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&backend))
		require.Equal(t, j.session.backend, backend, "the pooler hands out the backend that was used last")
		require.ErrorIs(t, j.Store(t.Context(), "key", []byte("record")), ErrPooler)
		_, err = j.Load(t.Context(), "key")
		require.ErrorIs(t, err, ErrPooler)
	})
}
