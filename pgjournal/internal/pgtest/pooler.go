package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartPooler starts PgBouncer in front of the server. The mode is session, transaction or statement.
func (s *Server) StartPooler(mode string) (*Server, error) {
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		// It is in /usr/sbin, which is not on everybody's PATH.
		if bin = "/usr/sbin/pgbouncer"; !isFile(bin) {
			return nil, errors.New("PgBouncer is not installed: apt-get install pgbouncer, or put it on the PATH")
		}
	}
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	pooler := &Server{folder: folder}
	if err := pooler.startPooler(bin, mode, s); err != nil {
		return nil, errors.Join(err, pooler.Stop())
	}
	return pooler, nil
}

func (s *Server) startPooler(bin, mode string, server *Server) (err error) {
	if s.port, err = freePort(); err != nil {
		return err
	}
	s.URL = strings.Replace(server.URL, fmt.Sprint(":", server.port), fmt.Sprint(":", s.port), 1)
	configuration := filepath.Join(s.folder, "pgbouncer.ini")
	content := fmt.Sprintf(`[databases]
postgres = user=%s host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
`, account, server.port, s.port, mode)
	if err := os.WriteFile(configuration, []byte(content), 0o644); err != nil {
		return err
	}
	if err := s.giveFolder(); err != nil {
		return err
	}
	return s.run(bin, configuration)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
