package cdn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
)

// accessor calls an accessor of the official SDK's type.
type accessor struct {
	official  *global.Credentials
	endpoint  string
	transport http.RoundTripper
}

// fetch calls the accessor and returns when it does or when ctx ends. The accessor knows no context, so a call of
// it may go on then; it keeps the accessor's lock, and nothing else.
func (a accessor) fetch(ctx context.Context) (credentials, error) {
	type result struct {
		fetched credentials
		err     error
	}
	done := make(chan result, 1)
	go func() {
		fetched, err := a.locked(ctx)
		done <- result{fetched, err}
	}()
	select {
	case r := <-done:
		return r.fetched, r.err
	case <-ctx.Done():
		return credentials{}, endOf(ctx)
	}
}

// locked calls the accessor when no other client does.
func (a accessor) locked(ctx context.Context) (fetched credentials, err error) {
	unlock, err := accessors.lock(ctx, a.official.StsAccessor)
	if err != nil {
		return credentials{}, err
	}
	defer unlock()
	err = guardVendor(func() (err error) {
		fetched, err = a.call()
		return err
	})
	return fetched, err
}

// call runs the official SDK's code, which calls the accessor only for credentials that are about to expire. So it
// works on ones that hold none yet, and the accessor is listened to for the expiry, which the SDK does not give.
func (a accessor) call() (credentials, error) {
	listener := listenTo(a.official.StsAccessor.GetCredential)
	fetched := &global.Credentials{DomainId: a.official.DomainId}
	fetched.IamEndpoint, fetched.IdpId, fetched.IdTokenFile = a.endpoint, a.official.IdpId, a.official.IdTokenFile
	fetched.StsAccessor = listener
	client := impl.NewDefaultHttpClient(config.DefaultHttpConfig().WithHttpRoundTripper(a.transport))
	if err := fetched.ProcessSts(client); err != nil {
		return credentials{}, err
	}
	keys := officialKeys(fetched)
	keys.expires = time.Unix(listener.heard.ExpireAt, 0)
	return keys, keys.signer.validate()
}

// listener calls an accessor and keeps what it returns. It is generic because the official SDK's types, internal
// ones, can be inferred here but not named.
type listener[Option, Credential any] struct {
	get   func(...Option) (Credential, error)
	heard Credential
}

func listenTo[Option, Credential any](get func(...Option) (Credential, error)) *listener[Option, Credential] {
	return &listener[Option, Credential]{get: get}
}

// GetCredential calls the accessor.
func (l *listener[Option, Credential]) GetCredential(options ...Option) (credential Credential, err error) {
	l.heard, err = l.get(options...)
	return l.heard, err
}

// accessors has a lock for each accessor in use. Accessors are not safe for concurrent use, and clients that know
// nothing of each other may be given the same one, so the table is the package's.
var accessors accessorLocks

type accessorLocks struct {
	mu    sync.Mutex
	inUse map[any]*accessorLock
}

type accessorLock struct {
	turn  chan struct{} // holds one value while the accessor is in use
	users int           // how many hold the lock or wait for it
}

// lock waits for its turn to use accessor, or until ctx ends.
func (l *accessorLocks) lock(ctx context.Context, accessor any) (unlock func(), err error) {
	if !reflect.ValueOf(accessor).Comparable() {
		return func() {}, nil
	}
	lock := l.join(accessor)
	select {
	case lock.turn <- struct{}{}:
		return func() { <-lock.turn; l.leave(accessor, lock) }, nil
	case <-ctx.Done():
		l.leave(accessor, lock)
		return nil, ctx.Err()
	}
}

func (l *accessorLocks) join(accessor any) *accessorLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock := l.inUse[accessor]
	if lock == nil {
		if l.inUse == nil {
			l.inUse = map[any]*accessorLock{}
		}
		lock = &accessorLock{turn: make(chan struct{}, 1)}
		l.inUse[accessor] = lock
	}
	lock.users++
	return lock
}

func (l *accessorLocks) leave(accessor any, lock *accessorLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lock.users--; lock.users == 0 {
		delete(l.inUse, accessor)
	}
}

// guardVendor runs code of the official SDK, which may panic on unexpected responses, and whose errors may quote
// the secrets that it failed to read.
func guardVendor(run func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errUnreadable
		}
	}()
	return withoutSecrets(run())
}

// withoutSecrets returns err if it is known to hold no part of what was read, else errUnreadable.
func withoutSecrets(err error) error {
	var response *sdkerr.ServiceResponseError
	var call *url.Error
	var file *fs.PathError
	switch {
	case err == nil, errors.Is(err, ErrInvalidParameter):
		return err
	case errors.As(err, &response):
		return &statusError{status: response.StatusCode, message: redact.Excerpt(response.ErrorCode, redact.Short)}
	case errors.As(err, &call):
		return call
	case errors.As(err, &file):
		return fmt.Errorf("%w: %w", ErrInvalidParameter, file)
	}
	return errUnreadable
}
