package journal

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplainLockError(t *testing.T) {
	for _, test := range []struct {
		name      string
		err       error
		explained bool
	}{
		{"not supported", syscall.ENOTSUP, true},
		{"no such system call", syscall.ENOSYS, true},
		{"no lock daemon", &fs.PathError{Op: "flock", Path: "x", Err: syscall.ENOLCK}, true},
		{"unsupported platform", errors.ErrUnsupported, true},
		{"permission denied", fs.ErrPermission, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := explainLockError(test.err)
			require.ErrorIs(t, err, test.err)
			if test.explained {
				require.ErrorContains(t, err, "use a local disk, or pgjournal")
			} else {
				require.Equal(t, test.err, err)
			}
		})
	}
}
