package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"syscall"

	"example.com/huaweicloud/cdn/cdntest"
)

// serve runs the sandbox until ctx ends.
func serve(ctx context.Context, args []string, std streams) error {
	f, err := parseServe(args, std.out)
	if err != nil {
		return err
	}
	requests := new(requestLog)
	if f.verbose {
		requests.lines = log.New(std.err, "", 0)
	}
	page := newPage(requests, f)
	srv, err := listen(f, requests, page)
	if err != nil {
		return err
	}
	defer srv.Close()
	if _, err := io.WriteString(std.out, welcome(srv.URL, f)); err != nil {
		return err
	}
	<-ctx.Done()
	_, _ = io.WriteString(std.out, farewell(f)) // the terminal may be gone
	return nil
}

// listen starts the server. The page is outside of the log, so the page's own requests are not logged.
func listen(f serveFlags, requests *requestLog, page *page) (*cdntest.Server, error) {
	options := append(f.options(), cdntest.WithMiddleware(requests.middleware), cdntest.WithMiddleware(page.middleware))
	srv, err := cdntest.Listen(options...)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use, perhaps by another sandbox: stop it or give another -addr, such as 127.0.0.1:0 for a free port", f.addr)
	}
	if failed := new(net.OpError); errors.As(err, &failed) {
		return nil, fmt.Errorf("cannot listen on -addr %s: %w; give an address of this machine, such as 127.0.0.1:8086", f.addr, failed.Err)
	}
	if err != nil {
		return nil, err
	}
	for _, fault := range f.faults.faults {
		srv.Inject(fault)
	}
	page.server.Store(srv)
	return srv, nil
}
