package pgjournal

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestJournal_record_returns_as_stored(t *testing.T) {
	j := newJournal(t, newSchema(t))
	defer lock(t, j)()
	rapid.Check(t, func(t *rapid.T) {
		key := strings.ReplaceAll(rapid.StringN(0, -1, 1000).Draw(t, "key"), "\x00", "")
		record := rapid.SliceOf(rapid.Byte()).Draw(t, "record")
		require.NoError(t, j.Store(context.Background(), key, record))
		loaded, err := j.Load(context.Background(), key)
		require.NoError(t, err)
		require.NotNil(t, loaded)
		require.Equal(t, string(record), string(loaded))
	})
}

func TestJournal_Load_unknown_key(t *testing.T) {
	j := newJournal(t, newSchema(t))
	defer lock(t, j)()
	record, err := j.Load(t.Context(), "key")
	require.NoError(t, err)
	require.Nil(t, record)
	require.NoError(t, j.Store(t.Context(), "key", nil))
	record, err = j.Load(t.Context(), "key")
	require.NoError(t, err)
	require.NotNil(t, record, "an empty record is a record")
}

func TestJournal_limits(t *testing.T) {
	j := newJournal(t, newSchema(t))
	defer lock(t, j)()
	long := strings.Repeat("日", 333)
	require.NoError(t, j.Store(t.Context(), long, make([]byte, 1<<20)))
	record, err := j.Load(t.Context(), long)
	require.NoError(t, err)
	require.Len(t, record, 1<<20)
	require.ErrorContains(t, j.Store(t.Context(), "key", make([]byte, 1<<20+1)), "the limit is 1048576")
	for key, want := range map[string]string{long + "日": "the limit is 1000", "a\x00b": "not UTF-8", "\xff": "not UTF-8"} {
		require.ErrorContains(t, j.Store(t.Context(), key, nil), want)
		_, err := j.Load(t.Context(), key)
		require.ErrorContains(t, err, want)
	}
}
