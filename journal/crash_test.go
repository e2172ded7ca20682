package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"example.com/huaweicloud/cdn/journal"

	"github.com/stretchr/testify/require"
)

// workerFolder is the variable that makes a process of the test binary a worker on a journal.
const workerFolder = "CDN_TEST_JOURNAL"

// work increases a number in the journal under its lock until an error. It prints each value that is stored.
func work(folder string) {
	ctx := context.Background()
	dir, err := journal.OpenDir(folder)
	for err == nil {
		err = increase(ctx, dir)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func increase(ctx context.Context, dir *journal.Dir) error {
	unlock, err := dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for range 20 {
		record, err := dir.Load(ctx, "number")
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(strings.TrimRight("0"+string(record), "x"))
		if err != nil {
			return err
		}
		// Each record has another length, so a mixture of two records is no number.
		next := strconv.Itoa(number+1) + strings.Repeat("x", number*37%5000)
		if err := dir.Store(ctx, "number", []byte(next)); err != nil {
			return err
		}
		fmt.Println(number + 1)
	}
	return nil
}

// Workers that are killed at any instant lose no record that Store has confirmed, and free the lock.
func TestDir_survives_kills(t *testing.T) {
	folder := t.TempDir()
	confirmed := 0
	for range 8 {
		first, second := startWorker(t, folder), startWorker(t, folder)
		for _, worker := range []*worker{first, second} {
			confirmed = max(confirmed, worker.runAndKill(t, 1+rand.IntN(30)))
		}
		dir, err := journal.OpenDir(folder)
		require.NoError(t, err)
		stored, err := strconv.Atoi(strings.TrimRight(load(t, dir, "number"), "x"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, stored, confirmed)
		require.LessOrEqual(t, stored, confirmed+2, "each killed worker stored one number more at most")
		confirmed = stored
		require.Len(t, files(t, folder), 1, "leftovers are removed")
	}
}

type worker struct {
	cmd    *exec.Cmd
	output io.Reader
}

func startWorker(t *testing.T, folder string) *worker {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable)
	cmd.Env = append(os.Environ(), workerFolder+"="+folder)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &worker{cmd, output}
}

// runAndKill kills the worker once it has printed this many numbers, and returns the last one that it printed.
func (w *worker) runAndKill(t *testing.T, numbers int) (last int) {
	t.Helper()
	lines := bufio.NewScanner(w.output)
	for lines.Scan() {
		number, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		last = number
		if numbers--; numbers == 0 {
			require.NoError(t, w.cmd.Process.Kill())
		}
	}
	require.Error(t, w.cmd.Wait(), "it was killed")
	return last
}
