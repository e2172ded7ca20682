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

// Server is a running server. Its methods are safe for concurrent use. Printing, logging or marshalling it shows
// neither the secret key nor the security token.
type Server struct {
	// URL is the endpoint, of the form http://127.0.0.1:port, without a slash at the end.
	URL string
	// AK is the access key that the server accepts.
	AK string
	// SK is the secret key of AK.
	SK string `json:"-"`

	service *service
	http    *httptest.Server
}

// NewServer starts a server. The caller must close it. Like [httptest.NewServer] it panics if it cannot start, also if
// an option is outside its range. [Listen] returns an error instead.
func NewServer(opts ...Option) *Server {
	s, err := Listen(opts...)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// Listen starts a server, for programs. The caller must close it. It returns an error if the address is in use or an
// option is outside its range.
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

// wrap returns handler wrapped in the middleware.
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

// Close closes all connections and returns once no request is being handled. Unlike [httptest.Server.Close] it does not
// wait for clients: it ends a [Fault.Delay] and a half-read file. Closing twice is allowed.
func (s *Server) Close() {
	// Without the listener, no connection is accepted between the next two steps. The last one would wait for it.
	_ = s.http.Listener.Close()
	s.http.CloseClientConnections()
	s.http.Close()
}

// NewClient returns a client of this server with its key pair. The opts override both. It panics if they are invalid.
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

// Format prints the server without its secrets, for each verb. The receiver is a value so that a copy of the server
// is printed in the same way.
func (s Server) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "cdntest.Server{URL:%q, AK:%q}", s.URL, s.AK)
}
