package main

import (
	"context"
	"net/http"
	"os"
	"sync"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

// steps are the names of the steps at which a worker can kill itself.
var steps = []string{
	"before lock", "after lock", "before load", "after load", "before store", "after store", "before unlock", "after unlock",
	"before create", "after create", "before list", "after list", "before download", "after download",
}

// killer kills its own process at a step.
type killer struct {
	mu   sync.Mutex
	at   string
	left int
}

func (k *killer) step(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if name != k.at {
		return
	}
	if k.left--; k.left > 0 {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // the signal comes
}

// killingJournal is a journal with steps.
type killingJournal struct {
	*killer
	cdn.Journal
}

func (j killingJournal) Lock(ctx context.Context) (func(), error) {
	j.step("before lock")
	unlock, err := j.Journal.Lock(ctx)
	if err != nil {
		return nil, err
	}
	j.step("after lock")
	return func() {
		j.step("before unlock")
		unlock()
		j.step("after unlock")
	}, nil
}

func (j killingJournal) Load(ctx context.Context, key string) ([]byte, error) {
	j.step("before load")
	record, err := j.Journal.Load(ctx, key)
	j.step("after load")
	return record, err
}

func (j killingJournal) Store(ctx context.Context, key string, record []byte) error {
	j.step("before store")
	err := j.Journal.Store(ctx, key, record)
	j.step("after store")
	return err
}

// killingTransport is a transport with steps.
type killingTransport struct {
	*killer
	next http.RoundTripper
}

func (t killingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := "download"
	switch {
	case cdntest.IsCreate(req):
		kind = "create"
	case cdntest.IsList(req):
		kind = "list"
	}
	t.step("before " + kind)
	resp, err := t.next.RoundTrip(req)
	t.step("after " + kind)
	return resp, err
}
