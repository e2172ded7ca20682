package cdn_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var updateMatrix = flag.Bool("update", false, "write the tables that tests measure into docs/reliability.md")

// faultCalls are the calls that meet each fault.
var faultCalls = map[string]func(context.Context, *cdn.CdnClient) error{
	"list": func(ctx context.Context, client *cdn.CdnClient) error {
		_, err := client.ListExportTasks(ctx, nil)
		return err
	},
	"create": func(ctx context.Context, client *cdn.CdnClient) error {
		_, err := client.CreateExportTask(ctx, &cdn.CreateExportTaskRequest{StatType: cdn.StatTypeFlux})
		return err
	},
}

// TestFaultMatrix makes each call meet each fault. It compares the outcomes with the table in docs/reliability.md.
func TestFaultMatrix(t *testing.T) {
	rows := []string{
		"| fault | error | `Timeout()` | create: `ErrOutcomeUnknown` | attempts | connections | requests | time |",
		"|---|---|---|---|---|---|---|---|",
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			list, create := f.meet(t, "list", limits{}), f.meet(t, "create", limits{})
			assert.Equal(t, f.list, list, "list")
			assert.Equal(t, f.create, create, "create")
			rows = append(rows, matrixRow(f, list, create))
		})
	}
	table := strings.Join(rows, "\n") + "\n"
	t.Log("a / b: list / create\n" + table)
	if t.Failed() || len(rows) < 2+len(faults) {
		return // a part of the table cannot be compared
	}
	checkTable(t, "TestFaultMatrix", table)
}

// checkTable compares a table that test has measured with the one in docs/reliability.md. With -update it writes it.
func checkTable(t *testing.T, test, table string) {
	t.Helper()
	begin, end := "<!-- begin of what "+test+" measured -->\n", "<!-- end of what "+test+" measured -->\n"
	path := filepath.Join("docs", "reliability.md")
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(document), begin)
	require.True(t, found, begin)
	written, after, found := strings.Cut(rest, end)
	require.True(t, found, end)
	if *updateMatrix {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table+end+after), 0o644))
		return
	}
	assert.Equal(t, table, written, "go test -run %s -update . writes it anew", test)
}

func matrixRow(f fault, list, create outcome) string {
	pair := func(show func(outcome) string) string {
		if show(list) == show(create) {
			return show(list)
		}
		return show(list) + " / " + show(create)
	}
	number := func(of func(outcome) int) string { return pair(func(o outcome) string { return strconv.Itoa(of(o)) }) }
	yesNo := map[bool]string{true: "yes", false: "no"}
	return "| " + strings.Join([]string{
		f.name,
		pair(func(o outcome) string { return "`" + strings.ReplaceAll(o.err, ", ", "`, `") + "`" }),
		pair(func(o outcome) string { return yesNo[o.timeout] }),
		yesNo[create.unknown],
		number(func(o outcome) int { return o.attempts }),
		number(func(o outcome) int { return o.connections }),
		number(func(o outcome) int { return o.requests }),
		pair(func(o outcome) string {
			if !f.fakeClock {
				return "–"
			}
			return strconv.Itoa(int(o.took.Seconds())) + " s"
		}),
	}, " | ") + " |"
}

func TestFault_hanging_call_ends_at_its_deadline(t *testing.T) {
	const deadline = 7 * time.Second
	for _, f := range faults {
		if !f.fakeClock {
			continue
		}
		for call, want := range map[string]outcome{"list": f.list, "create": f.create} {
			t.Run(f.name+"/"+call, func(t *testing.T) {
				want.err, want.attempts, want.connections, want.requests, want.took = "context.DeadlineExceeded", 1, 1, min(want.requests, 1), deadline
				assert.Equal(t, want, f.meet(t, call, limits{deadline: deadline}))
			})
		}
	}
}

func TestFault_hanging_call_without_retries_is_a_timeout(t *testing.T) {
	for _, f := range faults {
		if !f.fakeClock {
			continue
		}
		for call, want := range map[string]outcome{"list": f.list, "create": f.create} {
			t.Run(f.name+"/"+call, func(t *testing.T) {
				want.took /= time.Duration(want.attempts)
				want.attempts, want.connections, want.requests = 1, 1, min(want.requests, 1)
				assert.Equal(t, want, f.meet(t, call, limits{attempts: 1}))
			})
		}
	}
}

// limits are set by the caller; 0 means the client's default.
type limits struct {
	deadline time.Duration
	attempts int
}

// meet makes a call that meets the fault, and returns its outcome.
func (f fault) meet(t *testing.T, call string, caller limits) (got outcome) {
	if !f.fakeClock {
		return f.measure(t, call, caller)
	}
	synctest.Test(t, func(t *testing.T) { got = f.measure(t, call, caller) })
	return got
}

func (f fault) measure(t *testing.T, call string, caller limits) outcome {
	server := newFaultServer(t, f.fakeClock)
	var attempts countingLimiter
	policy := cdn.RetryPolicy{MaxAttempts: caller.attempts, MinBackoff: time.Nanosecond, MaxBackoff: time.Nanosecond}
	if !f.fakeClock {
		policy.AttemptTimeout = time.Hour
	}
	options := []cdn.Option{
		cdn.WithAKSK(faultKeys.AccessKey, faultKeys.SecretKey),
		cdn.WithEndpoint(f.address(t, server)),
		cdn.WithRetryPolicy(policy),
		cdn.WithRateLimiter(&attempts),
	}
	if transport := f.clientTransport(t, server); transport != nil {
		defer transport.CloseIdleConnections()
		options = append(options, cdn.WithHTTPClient(&http.Client{Transport: transport}))
	}
	client, err := cdn.NewCdnClient(options...)
	require.NoError(t, err)

	ctx := httptrace.WithClientTrace(t.Context(), server.trace())
	if caller.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, caller.deadline)
		defer cancel()
	}
	server.start(f.serve)
	start := time.Now()
	err = faultCalls[call](ctx, client)
	got := outcome{attempts: int(attempts.Load())}
	if f.fakeClock {
		got.took = time.Since(start)
	}
	server.close()

	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\n")
	t.Logf("%s: %v", call, err)
	var timeout interface{ Timeout() bool }
	got.err = errorTargets(err)
	got.timeout = errors.As(err, &timeout) && timeout.Timeout()
	got.unknown = errors.Is(err, cdn.ErrOutcomeUnknown)
	got.connections, got.requests = int(server.connections.Load()), int(server.requests.Load())
	return got
}

func (f fault) address(t *testing.T, server *faultServer) string {
	switch {
	case f.endpoint != nil:
		return f.endpoint(t)
	case f.https:
		return "https://" + server.address
	}
	return "http://" + server.address
}

// clientTransport returns the client's transport; nil for the default one.
func (f fault) clientTransport(t *testing.T, server *faultServer) *http.Transport {
	switch {
	case f.transport != nil:
		return f.transport(t)
	case f.fakeClock:
		return &http.Transport{DialContext: server.dial, TLSHandshakeTimeout: handshakeTime}
	}
	return nil
}

// countingLimiter counts the attempts and delays none.
type countingLimiter struct{ atomic.Int64 }

func (l *countingLimiter) Wait(context.Context) error {
	l.Add(1)
	return nil
}

// errorTargets names the errors that errors.Is and errors.As find in err. An error without such a name is a
// *url.Error, as each error of an http.Client is.
func errorTargets(err error) string {
	var response *cdn.APIError
	var certificate *tls.CertificateVerificationError
	var validity x509.CertificateInvalidError
	var header textproto.ProtocolError
	var lookup *net.DNSError
	isLookup := errors.As(err, &lookup)
	var found []string
	for _, target := range []struct {
		name string
		is   bool
	}{
		{"ErrMalformedResponse", errors.Is(err, cdn.ErrMalformedResponse)},
		{"*APIError", errors.As(err, &response)},
		{"context.DeadlineExceeded", errors.Is(err, context.DeadlineExceeded)},
		{"io.ErrUnexpectedEOF", errors.Is(err, io.ErrUnexpectedEOF)},
		{"gzip.ErrHeader", errors.Is(err, gzip.ErrHeader)},
		{"syscall.ECONNREFUSED", errors.Is(err, syscall.ECONNREFUSED)},
		{"syscall.ECONNRESET", errors.Is(err, syscall.ECONNRESET)},
		{"*tls.CertificateVerificationError", errors.As(err, &certificate)},
		{"x509.Expired", errors.As(err, &validity) && validity.Reason == x509.Expired},
		{"textproto.ProtocolError", errors.As(err, &header)},
		{"*net.DNSError", isLookup},
		{"IsNotFound", isLookup && lookup.IsNotFound},
		{"IsTemporary", isLookup && lookup.IsTemporary},
	} {
		if target.is {
			found = append(found, target.name)
		}
	}
	var request *url.Error
	if len(found) == 0 && errors.As(err, &request) {
		found = append(found, "*url.Error")
	}
	return strings.Join(found, ", ")
}
