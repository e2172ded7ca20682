//go:build unix

package cdn

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadCredentialsFile_refuses(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, syscall.Mkfifo(in("pipe"), 0o600))
	require.NoError(t, os.WriteFile(in("large"), []byte(strings.Repeat("x", maxCredentialsFile+1)), 0o600))
	require.NoError(t, os.Symlink("loop", in("loop")))
	require.NoError(t, os.Symlink("nowhere", in("dangling")))
	for path, says := range map[string]string{
		in("pipe"):     "pipe: not a regular file", // without a writer, opening it would wait for ever
		"/dev/zero":    "/dev/zero: not a regular file",
		folder:         "not a regular file",
		in("large"):    "large: larger than 1048576 bytes",
		in("loop"):     "too many levels of symbolic links",
		in("dangling"): "no such file or directory",
		in("a\tb"):     `a\tb" has a control character`,
	} {
		_, err := readCredentialsFile(path)
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "\t")
	}
}

func TestReadCredentialsFile_largest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("x", maxCredentialsFile)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	got, err := readCredentialsFile(path)
	require.NoError(t, err)
	assert.Len(t, got, len(content))
}

// Kubernetes replaces a projected token by moving the link ..data, which the token's own link goes through.
func TestReadToken_follows_a_replaced_link(t *testing.T) {
	volume := t.TempDir()
	in := func(name string) string { return filepath.Join(volume, name) }
	mount := func(version, token string) {
		require.NoError(t, os.Mkdir(in(version), 0o700))
		require.NoError(t, os.WriteFile(in(version+"/token"), []byte(token), 0o600))
		require.NoError(t, os.Symlink(version, in("..data_tmp")))
		require.NoError(t, os.Rename(in("..data_tmp"), in("..data")))
	}
	require.NoError(t, os.Symlink("..data/token", in("token")))
	for version, token := range []string{"first", "second\n"} {
		mount("..version"+string(rune('0'+version)), token)
		got, err := readToken(in("token"))
		require.NoError(t, err)
		assert.Equal(t, strings.TrimSpace(token), got)
	}
	require.NoError(t, os.Truncate(in("token"), 0))
	_, err := readToken(in("token"))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.ErrorContains(t, err, "token is empty")
}
