package cdntest_test

import (
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
