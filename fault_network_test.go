package cdn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refusingEndpoint returns an address that refuses connections. It is the client's side of an open connection, so
// that no other process can listen there during the test.
func refusingEndpoint(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return "http://" + conn.LocalAddr().String()
}

// expired returns a certificate for 127.0.0.1 that ended in 2020.
var expired = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// trustingExpired returns a transport that trusts the expired certificate except for its age.
func trustingExpired(*testing.T) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(expired().Leaf)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
}

func unknownHost(*testing.T) string { return "https://cdn.example.invalid" }

// resolvingTo returns a transport whose name server, in the process, fails each query with a code of RFC 1035. It
// dials nothing.
func resolvingTo(code byte) func(*testing.T) *http.Transport {
	return func(t *testing.T) *http.Transport {
		var servers sync.WaitGroup
		t.Cleanup(servers.Wait)
		dialer := &net.Dialer{
			Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				servers.Go(func() { failQueries(server, code) })
				return client, nil
			}},
			Control: func(_, address string, _ syscall.RawConn) error {
				return fmt.Errorf("nothing is to be dialled, not %s", address)
			},
		}
		return &http.Transport{DialContext: dialer.DialContext}
	}
}

// failQueries fails the queries of a connection, in the framing of DNS over TCP.
func failQueries(conn net.Conn, code byte) {
	defer func() { _ = conn.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, message); err != nil || len(message) < 12 {
			return
		}
		message[2] |= 0x80       // it is a response
		message[3] = 0x80 | code // recursion is available
		if _, err := conn.Write(append(length[:], message...)); err != nil {
			return
		}
	}
}
