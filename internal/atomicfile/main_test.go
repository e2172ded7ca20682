package atomicfile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// helperEnv names what a process of inProcess does instead of running tests.
const helperEnv = "ATOMICFILE_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		if err := helpers[name](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helpers are what other processes do with a path.
var helpers = map[string]func(path string) error{
	"hold":  hold,
	"write": write,
	"chmod": func(path string) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return chmod(file, 0o600)
	},
}

// hold creates a temporary file and keeps it until standard input ends.
func hold(path string) error {
	f, err := Create(context.Background(), path)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("half")); err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil // without Discard, as if the process were killed
}

// write replaces the file at path.
func write(path string) error {
	f, err := Create(context.Background(), path)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("new")); err != nil {
		return err
	}
	return f.Commit()
}

// inProcess returns a command that runs a helper on path.
func inProcess(t *testing.T, helper, path string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable, path)
	cmd.Env = append(os.Environ(), helperEnv+"="+helper, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}
