package pgjournal

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cutter is a proxy before the server that cuts a connection once.
type cutter struct {
	listener net.Listener
	target   string
	all      sync.WaitGroup

	mu        sync.Mutex
	cutAt     int  // before which of the client's messages, counted over all connections; 0 for none
	delivered bool // whether that message reaches the server, and only the response is lost
	messages  int
}

// newCutter starts a proxy before the server of url, and returns it with its own URL.
func newCutter(t *testing.T, server string) (*cutter, string) {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{listener: listener, target: u.Host}
	c.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.serve(client) })
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		c.all.Wait()
	})
	u.Host = listener.Addr().String()
	return c, u.String()
}

// cut has the connection cut at the n-th message from now.
func (c *cutter) cut(n int, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages, c.cutAt, c.delivered = 0, n, delivered
}

// isCut counts a message, and reports whether the connection is cut at it.
func (c *cutter) isCut() (cut, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages++
	return c.messages == c.cutAt, c.delivered
}

// hasCut reports whether the connection was cut.
func (c *cutter) hasCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages >= c.cutAt
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	responses := make(chan struct{})
	go func() {
		defer close(responses)
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	defer func() { <-responses }()
	defer server.Close()
	message := make([]byte, 64<<10)
	for {
		n, err := client.Read(message)
		if err != nil {
			return
		}
		cut, delivered := c.isCut()
		if cut {
			_ = client.Close() // the response is lost
		}
		if !cut || delivered {
			if _, err := server.Write(message[:n]); err != nil {
				return
			}
		}
		if cut {
			return
		}
	}
}

// A connection that is cut at any message, before or after its effect, leaves a key with one task.
func TestExport_connection_cut_at_each_message(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		t.Run(fmt.Sprintf("delivered %v", delivered), func(t *testing.T) {
			t.Parallel()
			service := cdntest.NewServer(cdntest.WithExportTime(0))
			t.Cleanup(service.Close)
			server := newSchema(t)
			proxy, proxied := newCutter(t, server)
			e := &exporter{service, WithNamespace(t.Name())}
			for n := 1; ; n++ {
				key := fmt.Sprint("cut at ", n)
				tasks := len(service.Tasks())
				j := newJournal(t, proxied, e.namespace)
				proxy.cut(n, delivered)
				first, err := e.export(t, j, key)
				if !proxy.hasCut() {
					require.NoError(t, err)
					require.Greater(t, n, 15, "each statement was cut")
					return
				}
				second, again := e.export(t, newJournal(t, server, e.namespace), key)
				require.NoError(t, again, key)
				require.Len(t, service.Tasks(), tasks+1, "%s: %v", key, err)
				if err == nil {
					require.Equal(t, first.TaskID, second.TaskID, key)
				}
				require.Less(t, n, 200)
			}
		})
	}
}

// exporter exports keys, of which each has the same request.
type exporter struct {
	service   *cdntest.Server
	namespace Option
}

func (e *exporter) export(t *testing.T, j *Journal, key string) (*cdn.ExportTask, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := e.service.NewClient(cdn.WithJournal(j), cdn.WithListLag(10*time.Millisecond), cdn.WithLostCreateExpiry(200*time.Millisecond))
	request := &cdn.CreateExportTaskRequest{Action: cdn.ActionReportsDetail, DomainNames: []string{"example.com"}}
	return client.Export(ctx, request, cdn.WithExportKey(key))
}
