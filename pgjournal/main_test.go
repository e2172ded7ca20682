package pgjournal

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/pgjournal/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var _ cdn.Journal = (*Journal)(nil)

// server is the one server of all tests. Each test has a database of its own.
var server *pgtest.Server

func TestMain(m *testing.M) {
	if url := os.Getenv(holderURL); url != "" {
		hold(url)
		return
	}
	var err error
	if server, err = pgtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var names atomic.Int64

// newDatabase returns the URL of a new empty database.
func newDatabase(t *testing.T) string {
	t.Helper()
	name := fmt.Sprint("test", names.Add(1))
	exec(t, server.URL, "CREATE DATABASE "+name)
	return strings.Replace(server.URL, "/postgres?", "/"+name+"?", 1)
}

// newSchema returns a URL whose tables are in a new empty schema, which takes less time than a database. The locks are
// those of the whole database.
func newSchema(t *testing.T) string {
	t.Helper()
	name := fmt.Sprint("test", names.Add(1))
	exec(t, server.URL, "CREATE SCHEMA "+name)
	return server.URL + "&search_path=" + name
}

// databaseOf returns the name of the database that url connects to.
func databaseOf(url string) string {
	name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
	return name
}

func newPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func newJournal(t *testing.T, url string, options ...Option) *Journal {
	t.Helper()
	j, err := Open(t.Context(), newPool(t, url), options...)
	require.NoError(t, err)
	return j
}

func lock(t *testing.T, j *Journal) (unlock func()) {
	t.Helper()
	unlock, err := j.Lock(t.Context())
	require.NoError(t, err)
	return unlock
}

func store(t *testing.T, j *Journal, key, record string) {
	t.Helper()
	defer lock(t, j)()
	require.NoError(t, j.Store(t.Context(), key, []byte(record)))
}

func load(t *testing.T, j *Journal, key string) string {
	t.Helper()
	defer lock(t, j)()
	record, err := j.Load(t.Context(), key)
	require.NoError(t, err)
	return string(record)
}

// exec runs a statement on a connection of its own.
func exec(t *testing.T, url, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	mode := []any{pgx.QueryExecModeSimpleProtocol}
	_, err = conn.Exec(t.Context(), sql, append(mode, args...)...)
	require.NoError(t, err)
}

// terminate ends the backend of the session that holds j's lock.
func terminate(t *testing.T, url string, j *Journal) {
	t.Helper()
	exec(t, url, "SELECT pg_terminate_backend($1, 5000)", int32(j.session.backend))
}
