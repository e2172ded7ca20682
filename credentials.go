package cdn

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refreshWindow is how long before their expiry temporary credentials are refreshed. Calls go on with the
	// cached ones meanwhile.
	refreshWindow = 10 * time.Minute
	// refreshPause is the least time between two refreshes, between two fetches of credentials that had expired
	// when they were fetched, and between two fetches after a refused signature.
	refreshPause = time.Minute
)

// credentials sign one request.
type credentials struct {
	signer   Signer
	domainID string
	// expires is when temporary credentials expire; zero for permanent ones.
	expires time.Time
	// source names where they come from; empty if an option gave the keys themselves.
	source string
}

// permanent reports whether the credentials never expire, so that fetching them again returns the same.
func (c credentials) permanent() bool { return c.expires.IsZero() }

// cachedCredentials are credentials and how they were fetched.
type cachedCredentials struct {
	credentials
	fetchedAt time.Time // by the local clock
	// stale is whether they had expired when they were fetched.
	stale bool
}

// usable reports whether the credentials have not expired. Stale ones are usable until refreshPause has passed:
// fetching them again would return the same, and the clock may be wrong.
func (c *cachedCredentials) usable(now time.Time) bool {
	return c.permanent() || now.Before(c.expires) || c.stale && time.Since(c.fetchedAt) < refreshPause
}

// credentialSource caches credentials and refreshes them before they expire. One fetch at a time serves all
// callers, and goes on if they leave. It is safe for concurrent use.
type credentialSource struct {
	fetch func(context.Context) (credentials, error)
	// now returns the service's time, as far as it is known.
	now    func() time.Time
	logger *slog.Logger
	cached atomic.Pointer[cachedCredentials]

	mu          sync.Mutex
	flight      *flight   // the fetch in progress; nil if there is none
	lastFetch   time.Time // when the last fetch began, by the local clock
	lastRefetch time.Time // when the last fetch after a refused signature began, by the local clock
}

// flight is one fetch. Its result is set before done is closed.
type flight struct {
	done chan struct{}
	got  credentials
	err  error
}

// landed returns a flight that has ended with got.
func landed(got credentials) *flight {
	f := &flight{done: make(chan struct{}), got: got}
	close(f.done)
	return f
}

// wait returns the result of the fetch, or an error if ctx ends first.
func (f *flight) wait(ctx context.Context) (credentials, error) {
	select {
	case <-f.done:
		return f.got, f.err
	case <-ctx.Done():
		return credentials{}, fmt.Errorf("wait for credentials: %w", endOf(ctx))
	}
}

// get returns credentials that have not expired. It waits for a fetch only if there are none.
func (s *credentialSource) get(ctx context.Context) (credentials, error) {
	now := s.now()
	cached := s.cached.Load()
	if cached == nil || !cached.usable(now) {
		return s.fetchUsable().wait(ctx)
	}
	if !cached.permanent() && cached.expires.Sub(now) < refreshWindow {
		s.refresh()
	}
	return cached.credentials, nil
}

// fetchUsable returns the fetch in progress, or starts one unless another caller's has just ended.
func (s *credentialSource) fetchUsable() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if cached := s.cached.Load(); cached != nil && cached.usable(s.now()) {
		return landed(cached.credentials)
	}
	return s.start("")
}

// refresh starts a fetch for later calls while the cached credentials are still good.
func (s *credentialSource) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && time.Since(s.lastFetch) >= refreshPause {
		s.start("cdn: temporary credentials could not be refreshed before they expire")
	}
}

// refetch returns other credentials than the rejected ones, which the service has refused. It reports false if
// there are none.
func (s *credentialSource) refetch(ctx context.Context, rejected credentials) (credentials, bool) {
	f := s.fetchOther(rejected)
	if f == nil {
		return rejected, false
	}
	fetched, err := f.wait(ctx)
	if err != nil || fetched.signer == rejected.signer {
		return rejected, false
	}
	return fetched, true
}

// fetchOther returns the fetch in progress, or starts one unless another caller's has replaced the rejected
// credentials. It returns nil if they are permanent, or if the last such fetch was within refreshPause: refused
// calls must not fetch without end.
func (s *credentialSource) fetchOther(rejected credentials) *flight {
	if rejected.permanent() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if cached := s.cached.Load(); cached.signer != rejected.signer {
		return landed(cached.credentials)
	}
	now := time.Now()
	if now.Sub(s.lastRefetch) < refreshPause {
		return nil
	}
	s.lastRefetch = now
	return s.start("cdn: the service refused temporary credentials, and others could not be fetched")
}

// start starts a fetch. A failure is logged as warning unless that is empty. The caller holds mu.
func (s *credentialSource) start(warning string) *flight {
	f := &flight{done: make(chan struct{})}
	s.flight, s.lastFetch = f, time.Now()
	go s.run(f, warning)
	return f
}

// run fetches credentials for all callers that wait for f, so no caller's context bounds it. Each request of the
// fetch has a timeout of its own.
func (s *credentialSource) run(f *flight, warning string) {
	f.got, f.err = s.fetch(context.Background())
	switch {
	case f.err == nil:
		s.store(f.got)
	case warning != "":
		s.logger.Warn(warning, "error", f.err)
	}
	s.mu.Lock()
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
}

// store caches fetched credentials. It logs the source of the first ones.
func (s *credentialSource) store(fetched credentials) {
	stale := !fetched.permanent() && !s.now().Before(fetched.expires)
	before := s.cached.Swap(&cachedCredentials{credentials: fetched, fetchedAt: time.Now(), stale: stale})
	if before == nil && fetched.source != "" {
		s.logger.Info("cdn: credentials found", "source", fetched.source)
	}
}
