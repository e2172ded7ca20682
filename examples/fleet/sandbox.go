package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/cdntest"
)

// sandbox has a server for each account in this process, and the replicas of the fleet as processes of their own.
type sandbox struct {
	*settings
	program  string // the executable
	folder   string
	accounts []account
	servers  []*cdntest.Server
	exports  []export

	mu       sync.Mutex
	stdout   io.Writer
	replicas []*exec.Cmd // nil until it has started
	kills    int
}

// runSandbox starts servers and replicas, waits for all files, and compares the number of tasks with that of the keys.
func runSandbox(ctx context.Context, s *settings, stdout io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		return err
	}
	b := &sandbox{settings: s, program: program, folder: folder, stdout: stdout, replicas: make([]*exec.Cmd, s.replicas)}
	defer func() { _ = os.RemoveAll(folder) }() // it has only the sandbox's files
	for _, name := range []string{"shop", "media", "games"} {
		server := cdntest.NewServer(cdntest.WithExportTime(time.Second))
		defer server.Close()
		b.servers = append(b.servers, server)
		b.accounts = append(b.accounts, account{name: name, ak: server.AK, sk: server.SK, endpoint: server.URL})
	}
	last, err := s.lastDay(time.Now())
	if err != nil {
		return err
	}
	s.until = last.Format(time.DateOnly) // so that midnight changes nothing
	b.exports = plan(b.accounts, s.days, last)
	if err := b.play(ctx); err != nil {
		return err
	}
	return b.report()
}

// play runs the replicas until all files exist or ctx ends.
func (b *sandbox) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range b.replicas {
		running.Go(func() { b.keepRunning(ctx, i) })
	}
	if b.kill {
		running.Go(func() { b.keepKilling(ctx) })
	}
	for b.files() < len(b.exports) {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// keepRunning starts the replica again whenever it ends.
func (b *sandbox) keepRunning(ctx context.Context, replica int) {
	for ctx.Err() == nil {
		b.mu.Lock()
		cmd := b.command(ctx, replica)
		err := cmd.Start()
		if err == nil {
			b.replicas[replica] = cmd
		}
		b.mu.Unlock()
		if err == nil {
			_ = cmd.Wait() // a replica that was killed is expected here
		}
		_ = sleep(ctx, 100*time.Millisecond)
	}
}

// command returns the replica's process. The caller holds mu.
func (b *sandbox) command(ctx context.Context, replica int) *exec.Cmd {
	names := make([]string, 0, len(b.accounts))
	for _, a := range b.accounts {
		names = append(names, a.name)
	}
	args := []string{"-fast", "-accounts", strings.Join(names, ","), "-days", strconv.Itoa(b.days), "-until", b.until,
		"-out", filepath.Join(b.folder, "files"), "-journal", filepath.Join(b.folder, "journals")}
	if replica == 0 {
		args = append(args, "-metrics", b.metrics)
	}
	cmd := exec.CommandContext(ctx, b.program, args...)
	cmd.Env = append(os.Environ(), "FLEET_DATABASE="+b.database)
	for _, a := range b.accounts {
		prefix := variables(a.name)
		cmd.Env = append(cmd.Env, prefix+"AK="+a.ak, prefix+"SK="+a.sk, prefix+"ENDPOINT="+a.endpoint)
	}
	cmd.Stdout = &prefixWriter{b, fmt.Sprintf("replica %d: ", replica+1)}
	cmd.Stderr = cmd.Stdout
	return cmd
}

// keepKilling kills a replica at random after each pause. The pauses grow by a fifth each: slow machines finish too, and
// River has the minute that it takes to notice that a replica is dead.
func (b *sandbox) keepKilling(ctx context.Context) {
	for pause := 300 * time.Millisecond; ; pause += pause / 5 {
		if sleep(ctx, pause+rand.N(pause)) != nil {
			return
		}
		b.mu.Lock()
		cmd := b.replicas[rand.IntN(len(b.replicas))]
		if cmd != nil && cmd.Process.Kill() == nil { // an error means that it has ended by itself
			b.kills++
		}
		b.mu.Unlock()
	}
}

// files returns the number of files of the plan that exist.
func (b *sandbox) files() int {
	n := 0
	for _, e := range b.exports {
		if _, err := os.Stat(e.path(filepath.Join(b.folder, "files"))); err == nil {
			n++
		}
	}
	return n
}

// report prints the figures. More or fewer tasks than keys are an error.
func (b *sandbox) report() error {
	tasks := 0
	for _, server := range b.servers {
		tasks += len(server.Tasks())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintf(b.stdout, "keys %d, tasks on the servers %d, files %d, kills %d\n", len(b.exports), tasks, b.files(), b.kills); err != nil {
		return err
	}
	if tasks != len(b.exports) {
		return errors.New("there are not as many tasks as keys")
	}
	return nil
}

// prefixWriter writes what a replica prints, with the replica's name before each line.
type prefixWriter struct {
	b      *sandbox
	prefix string
}

func (w *prefixWriter) Write(text []byte) (int, error) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Fprintf(w.b.stdout, "%s%s\n", w.prefix, strings.TrimSuffix(line, "\n")); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
