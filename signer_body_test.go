package cdn

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// countingBody counts its reads and its closes.
type countingBody struct {
	io.Reader
	reads, closes int
	closeErr      error
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.reads++
	return b.Reader.Read(p)
}

func (b *countingBody) Close() error {
	b.closes++
	return b.closeErr
}

func TestSign_body_read_through_GetBody(t *testing.T) {
	body := &countingBody{Reader: strings.NewReader("content")}
	var opened []*countingBody
	req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
	req.Body = body
	req.GetBody = func() (io.ReadCloser, error) {
		opened = append(opened, &countingBody{Reader: strings.NewReader("content")})
		return opened[len(opened)-1], nil
	}
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Same(t, body, req.Body)
	assert.Zero(t, body.reads)
	assert.Zero(t, body.closes)
	require.Len(t, opened, 1)
	assert.Equal(t, 1, opened[0].closes, "the opened body must be closed")
	assert.NoError(t, testSigner.Verify(req, testTime))
}

func TestSign_body_without_GetBody_is_buffered(t *testing.T) {
	body := &countingBody{Reader: iotest.OneByteReader(strings.NewReader("content"))}
	req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
	req.Body = body
	require.NoError(t, testSigner.Sign(req, testTime))
	assert.Equal(t, 1, body.closes, "the body that was read to its end must be closed")

	for range 2 {
		again, err := req.GetBody()
		require.NoError(t, err)
		assert.Equal(t, "content", readAll(t, again))
	}
	assert.Equal(t, "content", readAll(t, req.Body))

	same := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "content")
	require.NoError(t, testSigner.Sign(same, testTime))
	assert.Equal(t, same.Header.Get("Authorization"), req.Header.Get("Authorization"))
}

func readAll(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(content)
}

func TestSign_no_body_equals_an_empty_one(t *testing.T) {
	var want string
	for _, body := range []io.ReadCloser{nil, http.NoBody, io.NopCloser(strings.NewReader(""))} {
		req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
		req.Body = body
		require.NoError(t, testSigner.Sign(req, testTime))
		want = cmp.Or(want, req.Header.Get("Authorization"))
		assert.Equal(t, want, req.Header.Get("Authorization"))
	}
}

func TestSign_declared_hash_leaves_the_body_unread(t *testing.T) {
	hash := sha256.Sum256([]byte("content"))
	for _, declared := range []string{"UNSIGNED-PAYLOAD", hex.EncodeToString(hash[:])} {
		t.Run(declared, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			body := &countingBody{Reader: strings.NewReader("content")}
			req.Body = body
			req.Header.Set("X-Sdk-Content-Sha256", declared)
			require.NoError(t, testSigner.Sign(req, testTime))
			assert.Zero(t, body.reads)
			assert.Same(t, body, req.Body)
			assert.Equal(t, []string{"host", "x-sdk-content-sha256", "x-sdk-date"}, signedNames(t, req))

			require.NoError(t, testSigner.Verify(req, testTime))
			assert.Equal(t, declared == "UNSIGNED-PAYLOAD", body.reads == 0, "Verify reads the body unless it is not signed")
			assert.Equal(t, "content", readAll(t, req.Body))
		})
	}
}

func TestSign_declared_hash_is_signed(t *testing.T) {
	hash := sha256.Sum256([]byte("content"))
	declared := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "other content")
	declared.Header.Set("X-Sdk-Content-Sha256", hex.EncodeToString(hash[:]))
	require.NoError(t, testSigner.Sign(declared, testTime))
	headers, err := signedHeaders(declared, signedNames(t, declared))
	require.NoError(t, err)
	payload, err := hashedPayload(declared, headers)
	require.NoError(t, err)
	canonical, err := appendCanonicalRequest(nil, declared, headers, payload)
	require.NoError(t, err)
	assert.True(t, bytes.HasSuffix(canonical, []byte("\n"+hex.EncodeToString(hash[:]))))
	require.ErrorIs(t, testSigner.Verify(declared, testTime), ErrUnauthorized, "a verifier reads the body")
}

func TestSign_unreadable_body_returns_its_error(t *testing.T) {
	broken := errors.New("broken body")
	tests := map[string]func(*http.Request){
		"while reading": func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(broken)) },
		"while closing": func(r *http.Request) { r.Body = &countingBody{Reader: strings.NewReader(""), closeErr: broken} },
		"GetBody": func(r *http.Request) {
			r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), func() (io.ReadCloser, error) { return nil, broken }
		},
		"the body of GetBody": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(""))
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			require.NoError(t, testSigner.Sign(req, testTime))
			change(req)
			err := testSigner.Verify(req, testTime)
			require.ErrorIs(t, err, broken)
			assert.NotErrorIs(t, err, ErrUnauthorized)

			change(req)
			err = testSigner.Sign(req, testTime)
			require.ErrorIs(t, err, broken)
			assert.NotErrorIs(t, err, ErrInvalidParameter)
		})
	}
}

func TestSign_body_over_32_MiB_is_invalid(t *testing.T) {
	tests := map[string]struct {
		size int64
		fits bool
	}{
		"at the limit":   {size: maxSignedBody, fits: true},
		"over the limit": {size: maxSignedBody + 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := newTestRequest(t, http.MethodPost, "https://cdn.example.com/v1", "")
			req.Body = io.NopCloser(io.LimitReader(zeros{}, test.size))
			err := testSigner.Sign(req, testTime)
			if test.fits {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), "33554432 bytes")

			req.Body = nil
			require.NoError(t, testSigner.Sign(req, testTime))
			req.Body = io.NopCloser(io.LimitReader(zeros{}, test.size))
			err = testSigner.Verify(req, testTime)
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.NotErrorIs(t, err, ErrUnauthorized)
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
