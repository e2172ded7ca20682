package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"
)

// exchange is one request and its response, as the doctor's transport saw them.
type exchange struct {
	query     string
	host      string
	proxy     *url.URL
	addresses []string // what the host's name resolved to
	dnsErr    error
	connected string // the address of the connection; "" if there was none
	reused    bool   // whether the connection was one of an earlier request
	tls       *tls.ConnectionState
	tlsErr    error
	status    int
	date      time.Time // the response's Date, by the service's clock
	received  time.Time // by the local clock
	body      []byte
	err       error
}

// observer is a transport that records each exchange. It is for one request at a time.
type observer struct {
	base *http.Transport
	seen []*exchange
}

func newObserver() *observer {
	return &observer{base: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
	}}
}

// RoundTrip sends req and records the exchange.
func (o *observer) RoundTrip(req *http.Request) (*http.Response, error) {
	e := &exchange{query: req.URL.RawQuery, host: req.URL.Host}
	o.seen = append(o.seen, e)
	e.proxy, _ = http.ProxyFromEnvironment(req)
	resp, err := o.base.RoundTrip(req.WithContext(e.trace(req.Context())))
	e.received = time.Now()
	if err != nil {
		e.err = err
		return nil, err
	}
	e.status, e.tls = resp.StatusCode, resp.TLS
	e.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return resp, e.read(resp)
}

// read keeps the body, up to the largest response that the client reads.
func (e *exchange) read(resp *http.Response) error {
	const limit = 32<<20 + 1
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	e.body = body
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// trace returns ctx with callbacks that record how the connection is made.
func (e *exchange) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			e.dnsErr = info.Err
			for _, address := range info.Addrs {
				e.addresses = append(e.addresses, address.String())
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { e.tlsErr = err },
		GotConn: func(info httptrace.GotConnInfo) {
			e.connected, e.reused = info.Conn.RemoteAddr().String(), info.Reused
		},
	})
}

// last returns the last exchange, or nil.
func (o *observer) last() *exchange {
	if len(o.seen) == 0 {
		return nil
	}
	return o.seen[len(o.seen)-1]
}

// sourceLog is a log handler that records the source of the keys, which the client logs once.
type sourceLog struct{ source *string }

func (sourceLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l sourceLog) WithAttrs([]slog.Attr) slog.Handler             { return l }
func (l sourceLog) WithGroup(string) slog.Handler                  { return l }

// Handle records the attribute "source".
func (l sourceLog) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "source" {
			*l.source = attr.Value.String()
		}
		return true
	})
	return nil
}
