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
	// refreshWindow is how long before their expiry temporary credentials are fetched anew, while calls go on
	// with the cached ones.
	refreshWindow = 10 * time.Minute
	// refreshPause is the least time between two such fetches, and between two fetches of credentials that
	// had expired when they were fetched.
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

// usable reports whether the credentials have not expired. Stale ones are used until refreshPause has passed:
// fetching them again would return the same, and the clock may be wrong.
func (c *cachedCredentials) usable(now time.Time) bool {
	return c.permanent() || now.Before(c.expires) || c.stale && time.Since(c.fetchedAt) < refreshPause
}

// credentialSource caches credentials and fetches them anew before they expire. One fetch at a time serves all
// callers; it goes on if they leave. It is safe for concurrent use.
type credentialSource struct {
	fetch func(context.Context) (credentials, error)
	// now returns the time by the service's clock, as far as it is known.
	now    func() time.Time
	logger *slog.Logger
	cached atomic.Pointer[cachedCredentials]

	mu      sync.Mutex
	flight  *flight   // the fetch that is under way; nil if there is none
	lastTry time.Time // when the last fetch began, by the local clock
}

// flight is one fetch. Its result is set once done is closed.
type flight struct {
	done chan struct{}
	got  credentials
	err  error
}

// get returns credentials that have not expired. It waits for a fetch only if there are none.
func (s *credentialSource) get(ctx context.Context) (credentials, error) {
	now := s.now()
	cached := s.cached.Load()
	if cached == nil || !cached.usable(now) {
		return s.wait(ctx, func(c *cachedCredentials) bool { return c.usable(s.now()) }, "")
	}
	if !cached.permanent() && cached.expires.Sub(now) < refreshWindow {
		s.refreshAhead()
	}
	return cached.credentials, nil
}

// refetch returns other credentials than the ones that the service rejected, fetched once for all callers. It
// reports false if there are none: if rejected are permanent, if they were fetched again, or if the fetch fails,
// which is logged.
func (s *credentialSource) refetch(ctx context.Context, rejected credentials) (credentials, bool) {
	if rejected.permanent() {
		return rejected, false
	}
	fetched, err := s.wait(ctx, func(c *cachedCredentials) bool { return c.signer != rejected.signer },
		"cdn: temporary credentials were refused by the service and could not be fetched anew")
	if err != nil || fetched.signer == rejected.signer {
		return rejected, false
	}
	return fetched, true
}

// refreshAhead starts a fetch while the cached credentials are still good. Nobody waits for it.
func (s *credentialSource) refreshAhead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && time.Since(s.lastTry) >= refreshPause {
		s.start("cdn: temporary credentials could not be refreshed ahead of their end")
	}
}

// wait returns the cached credentials if they are enough, else those of the next fetch to end. A fetch that it
// starts and that fails is logged as warning, unless that is "".
func (s *credentialSource) wait(
	ctx context.Context, enough func(*cachedCredentials) bool, warning string,
) (credentials, error) {
	s.mu.Lock()
	f := s.flight
	if f == nil {
		// Another caller's fetch may have ended between the caller's check and this one.
		if cached := s.cached.Load(); cached != nil && enough(cached) {
			s.mu.Unlock()
			return cached.credentials, nil
		}
		f = s.start(warning)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.got, f.err
	case <-ctx.Done():
		return credentials{}, fmt.Errorf("wait for credentials: %w", endOf(ctx))
	}
}

// start starts a fetch. The caller holds mu, and there is no fetch under way.
func (s *credentialSource) start(warning string) *flight {
	f := &flight{done: make(chan struct{})}
	s.flight, s.lastTry = f, time.Now()
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

// store caches fetched credentials. The first ones tell which source signs, which is logged.
func (s *credentialSource) store(fetched credentials) {
	stale := !fetched.permanent() && !s.now().Before(fetched.expires)
	before := s.cached.Swap(&cachedCredentials{credentials: fetched, fetchedAt: time.Now(), stale: stale})
	if before == nil && fetched.source != "" {
		s.logger.Info("cdn: credentials found", "source", fetched.source)
	}
}
