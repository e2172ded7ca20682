// Package pgtest starts a PostgreSQL server for tests: in a temporary folder, on a free port of the loopback
// interface, from the binaries that the distribution's package installs.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL server.
type Server struct {
	// URL connects to its database as a superuser.
	URL string

	port   int
	folder string
	bin    string
	input  io.Closer // the server's process ends once it is closed, also by the end of this process
	cmd    *exec.Cmd
}

// account is whom the server runs as if this process is root's: PostgreSQL refuses to run as root.
const account = "postgres"

// Start starts a server. The error says how to install PostgreSQL if it is missing.
func Start() (*Server, error) { return startServer(false) }

// StartStandby starts a server that is a standby, as one behind a primary.
func StartStandby() (*Server, error) { return startServer(true) }

func startServer(standby bool) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, bin: bin}
	if err := s.start(standby); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// find returns the folder of the newest server's binaries.
func find() (string, error) {
	newest, version := "", -1
	matches, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	for _, match := range matches {
		bin := filepath.Dir(match)
		if number, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && number > version {
			newest, version = bin, number
		}
	}
	if newest != "" {
		return newest, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("no PostgreSQL server is installed: apt-get install postgresql, or put postgres and initdb on the PATH")
}

func (s *Server) start(standby bool) error {
	if err := s.giveFolder(); err != nil {
		return err
	}
	data := filepath.Join(s.folder, "data")
	initdb := s.command(filepath.Join(s.bin, "initdb"), "-D", data, "-U", account, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, output)
	}
	if standby {
		if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	s.URL = fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", account, port)
	return s.run(filepath.Join(s.bin, "postgres"), "-D", data, "-k", s.folder, "-c", "listen_addresses=127.0.0.1",
		"-c", "port="+strconv.Itoa(port), "-c", "fsync=off", "-c", "max_connections=200")
}

// run starts a server process. The shell ends it once its input ends, so that it does not outlive this process.
func (s *Server) run(name string, args ...string) error {
	const script = `"$@" </dev/null & server=$!; read line; kill -INT $server; wait $server`
	s.cmd = s.command("/bin/sh", append([]string{"-c", script, "sh", name}, args...)...)
	input, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.input = input
	return s.awaitReady()
}

// giveFolder gives the folder to the server's account if this process is root's.
func (s *Server) giveFolder() error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := user.Lookup(account)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(s.folder, uid, -1)
}

// command runs as the server's account if this process is root's.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		args = append([]string{"-u", account, "--", name}, args...)
		name = "runuser"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = s.folder
	return cmd
}

func (s *Server) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.folder, "log"))
			return fmt.Errorf("no server on port %d: %w: %s", s.port, err, log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop stops the server and removes its folder.
func (s *Server) Stop() error {
	if s.input != nil {
		_ = s.input.Close()
		_ = s.cmd.Wait() // the shell's status is the server's, which was interrupted
	}
	return os.RemoveAll(s.folder)
}

// freePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
