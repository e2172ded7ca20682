package cdntest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func TestSignatureIsVerified(t *testing.T) {
	f := newFixture(t)
	good := f.signer
	for _, c := range []struct {
		name    string
		signer  cdn.Signer
		late    time.Duration
		tamper  func(*http.Request)
		message string // empty: the request is accepted
	}{
		{name: "as it should be", signer: good},
		{name: "not signed", signer: good, tamper: func(r *http.Request) { r.Header.Del("Authorization") }, message: "Authorization"},
		{name: "another scheme", signer: good, tamper: func(r *http.Request) { r.SetBasicAuth("a", "b") }, message: "Authorization"},
		{name: "unknown access key", signer: cdn.Signer{AccessKey: "unknown", SecretKey: f.SK}, message: "access key"},
		{name: "wrong secret key", signer: cdn.Signer{AccessKey: f.AK, SecretKey: "wrong"}, message: "signature"},
		{name: "a token that the pair does not have", signer: cdn.Signer{AccessKey: f.AK, SecretKey: f.SK, SecurityToken: "t"}, message: "oken"},
		{name: "15 minutes late", signer: good, late: 15 * time.Minute},
		{name: "15 minutes early", signer: good, late: -15 * time.Minute},
		{name: "more than 15 minutes late", signer: good, late: 15*time.Minute + time.Second, message: "15"},
		{name: "more than 15 minutes early", signer: good, late: -15*time.Minute - time.Second, message: "15"},
		{name: "another query", signer: good, tamper: func(r *http.Request) { r.URL.RawQuery += "&limit=1" }, message: "signature"},
		{name: "another method", signer: good, tamper: func(r *http.Request) { r.Method = http.MethodPost }, message: "signature"},
		{name: "another body", signer: good, tamper: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), 2
		}, message: "signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.request(http.MethodGet, allTasks, "")
			require.NoError(t, c.signer.Sign(r, f.clock.Now().Add(-c.late)))
			if c.tamper != nil {
				c.tamper(r)
			}
			a := f.send(r)
			if c.message == "" {
				assert.Equal(t, http.StatusOK, a.StatusCode, a.body)
				return
			}
			assertGateway(t, a, http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: ")
			assert.Contains(t, a.body, c.message)
			assert.NotContains(t, a.body, "verify:", "the gateway does not name our packages")
			assert.NotContains(t, a.body, f.SK)
		})
	}
}

func TestAnUnsignedCreateMakesNothing(t *testing.T) {
	f := newFixture(t)
	a := f.send(f.request(http.MethodPost, tasksPath, `{}`))
	assertGateway(t, a, http.StatusUnauthorized, "APIGW.0301", "")
	assert.Empty(t, f.Tasks())
}

func TestTheServersClockCounts(t *testing.T) {
	f := newFixture(t)
	r := f.signed(http.MethodGet, allTasks, "")
	assert.Equal(t, http.StatusOK, f.send(r).StatusCode)
	f.clock.Advance(16 * time.Minute)
	assert.Equal(t, http.StatusUnauthorized, f.send(r).StatusCode)
}

func TestWithAKSK(t *testing.T) {
	f := newFixture(t, cdntest.WithAKSK("my-ak", "my-sk"))
	assert.Equal(t, "my-ak", f.AK)
	assert.Equal(t, "my-sk", f.SK)
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode)
}

func TestWithSecurityToken(t *testing.T) {
	f := newFixture(t, cdntest.WithSecurityToken("right"))
	for token, want := range map[string]int{"right": http.StatusOK, "wrong": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		f.signer.SecurityToken = token
		a := f.get(allTasks)
		assert.Equal(t, want, a.StatusCode, token)
		assert.NotContains(t, a.body, "right")
	}
}

func TestWithNoAuth(t *testing.T) {
	f := newFixture(t, cdntest.WithNoAuth())
	assert.Equal(t, http.StatusOK, f.send(f.request(http.MethodGet, allTasks, "")).StatusCode)
	assert.Equal(t, http.StatusOK, f.send(f.request(http.MethodPost, tasksPath, `{}`)).StatusCode)
}

// The key is locked by the sixth refused signature in a row, for everybody who uses it.
func TestWithKeyLock(t *testing.T) {
	const locked = "AK access failed to reach the limit,forbidden"
	f := newFixture(t, cdntest.WithKeyLock())
	good, wrong := f.signer, cdn.Signer{AccessKey: f.AK, SecretKey: "wrong"}
	list := func(signer cdn.Signer) response {
		f.signer = signer
		return f.get(tasksPath)
	}
	refuse := func(n int) {
		for range n {
			a := list(wrong)
			assertGateway(t, a, http.StatusUnauthorized, "APIGW.0301", "signature")
			assert.NotContains(t, a.body, locked)
		}
	}
	refuse(5)
	assert.Equal(t, http.StatusOK, list(good).StatusCode, "one accepted signature ends the row")
	refuse(6)
	assertGateway(t, list(good), http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: "+locked)
	assert.NotContains(t, list(cdn.Signer{AccessKey: "unknown", SecretKey: "wrong"}).body, locked, "another key is not locked")
	f.clock.Advance(5*time.Minute - time.Millisecond)
	assert.Equal(t, http.StatusUnauthorized, list(good).StatusCode)
	f.clock.Advance(time.Millisecond)
	refuse(5)
	assert.Equal(t, http.StatusOK, list(good).StatusCode, "it takes six again")
	for range 10 {
		list(cdn.Signer{AccessKey: "unknown", SecretKey: "wrong"})
		assert.Equal(t, http.StatusUnauthorized, f.send(f.request(http.MethodGet, tasksPath, "")).StatusCode)
	}
	assert.Equal(t, http.StatusOK, list(good).StatusCode, "requests that name another key or none do not count")
}

func TestKeysAreNotLockedByDefault(t *testing.T) {
	f := newFixture(t)
	good := f.signer
	f.signer.SecretKey = "wrong"
	for range 10 {
		f.get(tasksPath)
	}
	f.signer = good
	assert.Equal(t, http.StatusOK, f.get(tasksPath).StatusCode)
}

// What the gateway quotes is what the client signed: the hash of it is in the string that was signed.
func TestWithCanonicalEcho(t *testing.T) {
	f := newFixture(t, cdntest.WithCanonicalEcho(), cdntest.WithSecurityToken("the-token"))
	f.signer = cdn.Signer{AccessKey: f.AK, SecretKey: "wrong", SecurityToken: "the-token"}
	r := f.signed(http.MethodPost, tasksPath+"?b=1&a=x%20y", `{}`)
	a := f.send(r)
	sum := sha256.Sum256([]byte(`{}`))
	assertGateway(t, a, http.StatusUnauthorized, "APIGW.0301", ", canonicalRequest:POST|"+tasksPath+"/|a=x%20y&b=1|host:"+r.URL.Host+
		"|x-sdk-date:20260304T050607Z|x-security-token:the-token||host;x-sdk-date;x-security-token|"+hex.EncodeToString(sum[:]))
	assert.Contains(t, a.body, r.Header.Get("Authorization"))
	assert.NotContains(t, a.body, f.SK)
}
