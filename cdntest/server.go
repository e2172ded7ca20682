package cdntest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"

	"example.com/huaweicloud/cdn"
)

// readHeaderTimeout ends connections that never send a whole request.
const readHeaderTimeout = 10 * time.Second

// Server is a running server. Its methods are safe for concurrent use. Neither the secret key nor
// the security token appears if it is printed, logged or marshalled.
type Server struct {
	// URL is the endpoint, of the form http://127.0.0.1:port, without a slash at the end.
	URL string
	// AK is the access key that the server accepts.
	AK string
	// SK is the secret key that belongs to it.
	SK string `json:"-"`

	service *service
	http    *httptest.Server
}

// NewServer starts a server, which the caller has to close. Like [httptest.NewServer] it panics if it cannot, also
// if an option is outside its range. [Listen] returns an error instead.
func NewServer(opts ...Option) *Server {
	s, err := Listen(opts...)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// Listen starts a server, which the caller has to close. It is for programs: it returns an error if the address is
// in use or an option is outside its range.
func Listen(opts ...Option) (*Server, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("cdntest: %w", err)
	}
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return nil, fmt.Errorf("cdntest: %w", err)
	}
	return start(c, listener), nil
}

func start(c config, listener net.Listener) *Server {
	url := endpoint(listener.Addr())
	s := &Server{URL: url, AK: c.ak, SK: c.sk, service: newService(c, url)}
	s.service.addSamples(c.samples)
	s.http = &httptest.Server{
		Listener: listener,
		Config: &http.Server{
			Handler:           c.wrap(s.service),
			ReadHeaderTimeout: readHeaderTimeout,
		},
	}
	s.http.Start()
	return s
}

// wrap puts a handler into the middleware.
func (c *config) wrap(handler http.Handler) http.Handler {
	for _, wrap := range c.middleware {
		handler = wrap(handler)
	}
	return handler
}

// endpoint returns the URL at which a client on this machine reaches addr.
func endpoint(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return "http://" + addr.String()
	}
	return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
}

// Close stops the server and returns when no request is being handled any more. Unlike
// [httptest.Server.Close] it does not wait for clients: connections are closed, a [Fault.Delay] and
// a half-read file with them. Closing twice does no harm.
func (s *Server) Close() {
	// Without the listener no connection can slip in between the next two steps, and so make the
	// last one wait for a client that does not read.
	_ = s.http.Listener.Close()
	s.http.CloseClientConnections()
	s.http.Close()
}

// NewClient returns a client of this server with its key pair. The opts are applied after the server's own, so
// they override them. It panics if they are not valid.
func (s *Server) NewClient(opts ...cdn.Option) *cdn.CdnClient {
	all := append([]cdn.Option{cdn.WithEndpoint(s.URL), s.credentials()}, opts...)
	client, err := cdn.NewCdnClient(all...)
	if err != nil {
		panic("cdntest: " + err.Error())
	}
	return client
}

func (s *Server) credentials() cdn.Option {
	if s.service.token == "" {
		return cdn.WithAKSK(s.AK, s.SK)
	}
	temporary := new(global.Credentials)
	temporary.AK, temporary.SK, temporary.SecurityToken = s.AK, s.SK, s.service.token
	return cdn.WithCredentials(temporary)
}

// Format prints the server without its secrets, whatever the verb. The receiver is a value, so that a copy of the
// server is printed in the same way.
func (s Server) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "cdntest.Server{URL:%q, AK:%q}", s.URL, s.AK)
}
