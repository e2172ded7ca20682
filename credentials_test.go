package cdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeFetch is a fetch of credentials that a test controls.
type fakeFetch struct {
	calls atomic.Int64
	// gate blocks each fetch until it is closed; nil blocks none.
	gate chan struct{}
	// life is the time until the fetched keys expire; 0 means never.
	life time.Duration
	// same is whether each fetch returns the same keys.
	same bool
	err  atomic.Pointer[error]
}

func (f *fakeFetch) fetch(context.Context) (credentials, error) {
	n := f.calls.Add(1)
	if f.gate != nil {
		<-f.gate
	}
	if err := f.err.Load(); err != nil {
		return credentials{}, *err
	}
	if f.same {
		n = 1
	}
	c := credentials{signer: Signer{AccessKey: fmt.Sprintf("AK%d", n), SecretKey: secretKey, SecurityToken: securityToken}, source: "fake"}
	if f.life != 0 {
		c.expires = time.Now().Add(f.life)
	}
	return c, nil
}

func (f *fakeFetch) fail(err error) { f.err.Store(&err) }

func newFakeSource(f *fakeFetch, log io.Writer) *credentialSource {
	return &credentialSource{fetch: f.fetch, now: time.Now, logger: slog.New(slog.NewTextHandler(log, nil))}
}

func TestCredentials_one_fetch_serves_all_callers(t *testing.T) {
	for name, life := range map[string]time.Duration{"permanent": 0, "temporary": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetch{gate: make(chan struct{}), life: life}
				s := newFakeSource(f, io.Discard)
				var group sync.WaitGroup
				for range 1000 {
					group.Go(func() {
						got, err := s.get(t.Context())
						assert.NoError(t, err)
						assert.Equal(t, "AK1", got.signer.AccessKey)
					})
				}
				synctest.Wait()
				assert.EqualValues(t, 1, f.calls.Load())
				close(f.gate)
				group.Wait()
				requireAccessKey(t, s, "AK1")
				assert.EqualValues(t, 1, f.calls.Load())
			})
		})
	}
}

func TestCredentials_fetch_that_just_ended_serves_late_callers(t *testing.T) {
	for name, life := range map[string]time.Duration{"permanent": 0, "temporary": time.Hour} {
		t.Run(name, func(t *testing.T) {
			f := &fakeFetch{life: life}
			s := newFakeSource(f, io.Discard)
			// Two callers found no credentials; the first one's fetch has ended when the second one waits.
			for range 2 {
				got, err := s.fetchUsable().wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "AK1", got.signer.AccessKey)
			}
			assert.EqualValues(t, 1, f.calls.Load())
		})
	}
}

func TestCredentials_caller_leaves_and_fetch_goes_on(t *testing.T) {
	why := errors.New("the user has left")
	tests := map[string]struct {
		ctx  func(context.Context) (context.Context, func())
		want error
	}{
		"cancelled": {
			func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) }, context.Canceled,
		},
		"cancelled with a cause": {
			func(ctx context.Context) (context.Context, func()) {
				ctx, cancel := context.WithCancelCause(ctx)
				return ctx, func() { cancel(why) }
			}, why,
		},
		"deadline": {
			func(ctx context.Context) (context.Context, func()) {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				return ctx, func() { time.Sleep(time.Minute + time.Second); cancel() }
			}, context.DeadlineExceeded,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeFetch{gate: make(chan struct{})}
				s := newFakeSource(f, io.Discard)
				ctx, end := test.ctx(t.Context())
				left, served := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := s.get(ctx)
					left <- err
				}()
				synctest.Wait()
				go func() {
					_, err := s.get(t.Context())
					served <- err
				}()
				synctest.Wait()

				end()
				require.ErrorIs(t, <-left, test.want)
				select {
				case err := <-served:
					require.Fail(t, "the other caller must go on waiting", "%v", err)
				default:
				}
				close(f.gate)
				require.NoError(t, <-served)
				assert.EqualValues(t, 1, f.calls.Load())
				requireAccessKey(t, s, "AK1")
			})
		})
	}
}

func TestCredentials_failed_fetch_fails_all_callers_and_is_repeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no metadata")
		f := &fakeFetch{gate: make(chan struct{}), life: time.Hour}
		f.fail(broken)
		s := newFakeSource(f, io.Discard)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := s.get(t.Context())
				assert.ErrorIs(t, err, broken)
			})
		}
		synctest.Wait()
		close(f.gate)
		group.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
		f.err.Store(nil)
		requireAccessKey(t, s, "AK2")
	})
}

func TestCredentials_permanent_ones_are_fetched_once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{}
		s := newFakeSource(f, io.Discard)
		for range 3 {
			requireAccessKey(t, s, "AK1")
			time.Sleep(1000 * time.Hour)
		}
		synctest.Wait()
		assert.EqualValues(t, 1, f.calls.Load())
	})
}

func TestCredentials_refreshed_before_they_expire_without_waiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")
		f.gate = make(chan struct{})

		time.Sleep(50 * time.Minute)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		assert.EqualValues(t, 1, f.calls.Load(), "ten minutes before the expiry it is not yet time")

		time.Sleep(time.Second)
		for range 5 {
			requireAccessKey(t, s, "AK1")
			synctest.Wait()
			assert.EqualValues(t, 2, f.calls.Load(), "one refresh goes on in the background")
		}

		close(f.gate)
		synctest.Wait()
		requireAccessKey(t, s, "AK2")
		assert.EqualValues(t, 2, f.calls.Load())
	})
}

func TestCredentials_failed_refresh_is_logged_and_tried_once_a_minute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		var log bytes.Buffer
		s := newFakeSource(f, &log)
		requireAccessKey(t, s, "AK1")
		f.fail(errors.New("metadata is away"))

		time.Sleep(50*time.Minute + 30*time.Second)
		for range 9 * 60 / 5 {
			requireAccessKey(t, s, "AK1")
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		assert.EqualValues(t, 1+9, f.calls.Load(), "one fetch in each of nine minutes")
		assert.Equal(t, 9, strings.Count(log.String(), "level=WARN"))
		assert.Contains(t, log.String(), "metadata is away")
		assertNoPartOfASecret(t, log.String())

		f.err.Store(nil)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		requireAccessKey(t, s, "AK11")
		assert.Equal(t, 9, strings.Count(log.String(), "level=WARN"))
	})
}

func TestCredentials_expired_ones_are_waited_for(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")

		time.Sleep(time.Hour)
		broken := errors.New("metadata is away")
		f.fail(broken)
		_, err := s.get(t.Context())
		require.ErrorIs(t, err, broken, "expired credentials must not be used")

		f.err.Store(nil)
		requireAccessKey(t, s, "AK3")
		requireAccessKey(t, s, "AK3")
		assert.EqualValues(t, 3, f.calls.Load())
	})
}

func TestCredentials_expired_caller_joins_the_refresh_under_way(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: time.Hour}
		s := newFakeSource(f, io.Discard)
		requireAccessKey(t, s, "AK1")
		f.gate = make(chan struct{})
		time.Sleep(59 * time.Minute)
		requireAccessKey(t, s, "AK1")
		synctest.Wait()
		require.EqualValues(t, 2, f.calls.Load())

		time.Sleep(2 * time.Minute)
		served := make(chan credentials)
		go func() {
			got, err := s.get(t.Context())
			assert.NoError(t, err)
			served <- got
		}()
		synctest.Wait()
		close(f.gate)
		assert.Equal(t, "AK2", (<-served).signer.AccessKey)
		assert.EqualValues(t, 2, f.calls.Load())
	})
}

func TestCredentials_short_lived_ones_are_fetched_once_a_minute(t *testing.T) {
	// The keys of a pod may have less time left than the refresh window.
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: 5 * time.Minute}
		s := newFakeSource(f, io.Discard)
		for range 4 * 60 {
			_, err := s.get(t.Context())
			require.NoError(t, err)
			synctest.Wait()
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, f.calls.Load(), int64(5))
	})
}

func TestCredentials_expiry_in_the_past_is_fetched_once_a_minute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: -time.Hour}
		s := newFakeSource(f, io.Discard)
		for range 60 {
			requireAccessKey(t, s, "AK1")
			synctest.Wait()
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 1, f.calls.Load())
		requireAccessKey(t, s, "AK2")

		// A refusal by the service still fetches.
		got, ok := s.refetch(t.Context(), credentialsOf(t, s))
		require.True(t, ok)
		assert.Equal(t, "AK3", got.signer.AccessKey)
	})
}

func TestCredentials_expiry_by_the_corrected_clock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: 2 * time.Hour}
		s := newFakeSource(f, io.Discard)
		var offset time.Duration
		s.now = func() time.Time { return time.Now().Add(offset) }
		requireAccessKey(t, s, "AK1")
		offset = 3 * time.Hour // the service showed that the local clock is behind
		requireAccessKey(t, s, "AK2")
		requireAccessKey(t, s, "AK2")
		assert.EqualValues(t, 2, f.calls.Load(), "keys that are expired when fetched serve for a minute")
	})
}

func credentialsOf(t *testing.T, s *credentialSource) credentials {
	t.Helper()
	got, err := s.get(t.Context())
	require.NoError(t, err)
	return got
}

func TestRefetch(t *testing.T) {
	tests := map[string]struct {
		fetch *fakeFetch
		// before runs between the credentials' use and their rejection.
		before func(f *fakeFetch, s *credentialSource)
		want   string // "" for none
		calls  int64
		log    string
	}{
		"new keys":         {fetch: &fakeFetch{life: 24 * time.Hour}, want: "AK2", calls: 2},
		"permanent keys":   {fetch: &fakeFetch{}, calls: 1},
		"the same keys":    {fetch: &fakeFetch{life: 24 * time.Hour, same: true}, calls: 2},
		"the fetch failed": {fetch: &fakeFetch{life: 24 * time.Hour}, before: func(f *fakeFetch, _ *credentialSource) { f.fail(errors.New("metadata is away")) }, calls: 2, log: "metadata is away"},
		"fetched by another caller": {
			fetch:  &fakeFetch{life: 24 * time.Hour},
			before: func(_ *fakeFetch, s *credentialSource) { s.refetch(context.Background(), s.cached.Load().credentials) },
			want:   "AK2", calls: 2,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			s := newFakeSource(test.fetch, &log)
			rejected := credentialsOf(t, s)
			if test.before != nil {
				test.before(test.fetch, s)
			}
			got, ok := s.refetch(t.Context(), rejected)
			assert.Equal(t, test.want != "", ok)
			if ok {
				assert.Equal(t, test.want, got.signer.AccessKey)
			}
			assert.Equal(t, test.calls, test.fetch.calls.Load())
			assert.Equal(t, test.log != "", strings.Contains(log.String(), "level=WARN"), log.String())
			assert.Contains(t, log.String(), test.log)
		})
	}
}

func TestRefetch_one_fetch_for_20_rejected_calls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFetch{life: 24 * time.Hour}
		s := newFakeSource(f, io.Discard)
		rejected := credentialsOf(t, s)
		f.gate = make(chan struct{})
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				got, ok := s.refetch(t.Context(), rejected)
				assert.True(t, ok)
				assert.Equal(t, "AK2", got.signer.AccessKey)
			})
		}
		synctest.Wait()
		close(f.gate)
		group.Wait()
		assert.EqualValues(t, 2, f.calls.Load())
	})
}

// The service refuses all keys of a locked account, even new ones.
func TestRefetch_once_a_minute_if_all_keys_are_refused(t *testing.T) {
	for name, f := range map[string]*fakeFetch{
		"other keys":  {life: 24 * time.Hour},
		"same keys":   {life: 24 * time.Hour, same: true},
		"failed":      {life: 24 * time.Hour},
		"expire soon": {life: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeSource(f, io.Discard)
				credentialsOf(t, s)
				if name == "failed" {
					f.fail(errors.New("metadata is away"))
				}
				for minute := range int64(3) {
					for range 1000 {
						s.refetch(t.Context(), s.cached.Load().credentials)
					}
					assert.Equal(t, 2+minute, f.calls.Load(), "the first fetch, and one in each minute")
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

func TestCredentials_source_is_logged_once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newFakeSource(&fakeFetch{life: time.Hour}, &log)
		for range 3 {
			credentialsOf(t, s)
			time.Sleep(2 * time.Hour)
		}
		assert.Equal(t, 1, strings.Count(log.String(), "level=INFO"), log.String())
		assert.Contains(t, log.String(), "source=fake")
	})
}

func TestCredentials_call_waits_no_longer_than_its_context(t *testing.T) {
	emptyEnvironment(t)
	i := newInstance(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	i.metadata = func(w http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
		_, _ = io.WriteString(w, metadataJSON("AK", time.Now().Add(24*time.Hour)))
	}
	service, requests := emptyListServer(t)
	client, err := NewCdnClient(WithEndpoint(service.URL), WithHTTPClient(service.Client()))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := client.ListExportTasks(ctx, nil)
		left <- err
	}()
	<-asked
	cancel()
	err = <-left
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "Get ", "nothing was sent to the service")
	assert.Empty(t, requests())

	// The fetch that went on without its caller serves the next one.
	close(release)
	_, err = client.ListExportTasks(t.Context(), nil)
	require.NoError(t, err)
	assert.Len(t, requests(), 1)
}
