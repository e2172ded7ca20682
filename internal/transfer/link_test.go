package transfer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func traceOf(req *http.Request) *httptrace.ClientTrace {
	return httptrace.ContextClientTrace(req.Context())
}

func parse(t *testing.T, link string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(link)
	require.NoError(t, err)
	return parsed
}

func TestLinkFault(t *testing.T) {
	tests := []struct {
		link string
		// Whether it is allowed if the endpoint is another machine, is this one, or with InsecureHTTP.
		wantRemote, wantLocal, wantIn bool
	}{
		{link: "https://store.example/f", wantRemote: true, wantLocal: true, wantIn: true},
		{link: "http://store.example/f", wantIn: true},
		{link: "ftp://store.example/f"},
		{link: "file://localhost/etc/passwd"},
		{link: "/f"},
		{link: "https:///f"},
		{link: "https://:443/f"},
		{link: "http://127.0.0.1/f", wantLocal: true},
		{link: "https://127.0.0.1/f", wantLocal: true},
		{link: "http://localhost:80/f", wantLocal: true},
		{link: "http://LOCALHOST./f", wantLocal: true},
		{link: "http://store.localhost/f", wantLocal: true},
		{link: "http://[::1]/f", wantLocal: true},
		{link: "http://[::ffff:127.0.0.1]/f", wantLocal: true},
		{link: "http://0.0.0.0/f", wantLocal: true},
		{link: "http://[::ffff:0.0.0.0]/f", wantLocal: true},
		{link: "https://[::]/f", wantLocal: true},
		{link: "https://localhost.example/f", wantRemote: true, wantLocal: true, wantIn: true},
		{link: "https://notlocalhost/f", wantRemote: true, wantLocal: true, wantIn: true},
		{link: "https://10.0.0.1/f", wantRemote: true, wantLocal: true, wantIn: true},
	}
	for _, test := range tests {
		t.Run(test.link, func(t *testing.T) {
			link := parse(t, test.link+"?Signature=s3cret")
			for _, config := range []struct {
				Config
				want bool
			}{
				{Config{}, test.wantRemote}, {Config{Loopback: true}, test.wantLocal}, {Config{InsecureHTTP: true}, test.wantIn},
			} {
				fault := config.LinkFault(link)
				assert.Equal(t, config.want, fault == "", "%+v: %s", config.Config, fault)
				assert.NotContains(t, fault, "s3cret")
			}
		})
	}
}

func TestIsExpired(t *testing.T) {
	now := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	tests := []struct {
		query string
		want  bool
	}{
		{"", false},
		{"Expires=" + strconv.FormatInt(now.Unix()+1, 10), false},
		{"Expires=" + strconv.FormatInt(now.Unix(), 10), true},
		{"Expires=soon", false},
		{"X-Amz-Date=20261126T005000Z&X-Amz-Expires=601", false},
		{"X-Amz-Date=20261126T005000Z&X-Amz-Expires=600", true},
		{"X-Amz-Date=20261126T005000Z", false},
		{"X-Amz-Date=yesterday&X-Amz-Expires=1", false},
		{"X-Amz-Expires=1", false},
		{"X-Amz-Date=20261126T005000Z&X-Amz-Expires=99999999999", false},
		{"Policy=eyJleHBpcmF0aW9uIjoiMjAwMC0wMS0wMSJ9&Signature=s3cret", false},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, isExpired(parse(t, "https://store.example/f?"+test.query), now), test.query)
	}
}

// Each row has the responses of a store, and the links of a source, whose last link is returned again and again.
func TestLinks(t *testing.T) {
	expired := "?Expires=1"
	tests := []struct {
		name      string
		first     string // Config.Link
		links     []string
		responses []*http.Response
		want      []string // the paths of the requests
		err       bool
	}{
		{"of the source", "", []string{"/1"}, []*http.Response{respond(200, body)}, []string{"/1"}, false},
		{"given", "/0", nil, []*http.Response{respond(200, body)}, []string{"/0"}, false},
		{"given, expired", "/0" + expired, []string{"/1"}, []*http.Response{respond(200, body)}, []string{"/1"}, false},
		{"given, refused", "/0", []string{"/1"}, []*http.Response{respond(403, ""), respond(200, body)}, []string{"/0", "/1"}, false},
		{"refused", "", []string{"/1", "/2"}, []*http.Response{respond(403, ""), respond(200, body)}, []string{"/1", "/2"}, false},
		{"refused twice", "", []string{"/1", "/2"}, []*http.Response{respond(403, ""), respond(401, "")}, []string{"/1", "/2"}, true},
		{"gone", "", []string{"/1", "/2"}, []*http.Response{respond(410, ""), respond(200, body)}, []string{"/1", "/2"}, false},
		{"signed with keys that have expired", "", []string{"/1", "/2"}, []*http.Response{respond(400, "<Error><Code>ExpiredToken</Code></Error>"), respond(200, body)}, []string{"/1", "/2"}, false},
		{"not found", "", []string{"/1"}, []*http.Response{respond(404, "")}, []string{"/1"}, true},
		{"refused, busy, refused", "", []string{"/1", "/2"}, []*http.Response{respond(403, ""), respond(503, ""), respond(403, "")}, []string{"/1", "/2", "/2"}, true},
		{"refused again after progress", "", []string{"/1", "/2", "/3"}, []*http.Response{
			respond(403, ""), cut(200, 10, body[:4], "ETag", strong), respond(403, ""), partOf(4),
		}, []string{"/1", "/2", "/2", "/3"}, false},
		{"a store that says SlowDown with 403", "", []string{"/1"}, []*http.Response{
			respond(403, "<Error><Code>SlowDown</Code></Error>"), respond(403, "<Error><Code>ServiceUnavailable</Code></Error>"), respond(200, body),
		}, []string{"/1", "/1", "/1"}, false},
		{"expired meanwhile", "", []string{"/1" + expired, "/2"}, []*http.Response{cut(200, 10, body[:4], "ETag", strong), partOf(4)}, []string{"/1", "/2"}, false},
		{"expired meanwhile, and refused", "", []string{"/1" + expired, "/2", "/3"}, []*http.Response{respond(503, ""), respond(403, ""), respond(200, body)}, []string{"/1", "/2", "/3"}, false},
		{"always expired by a wrong clock", "", []string{"/1" + expired}, []*http.Response{respond(503, ""), respond(200, body)}, []string{"/1", "/1"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, requests := script(t, test.responses...)
			config := configOf(store)
			if test.first != "" {
				config.Link = parse(t, "https://store.example"+test.first)
			}
			fetched := 0
			_, err := Copy(t.Context(), config, func(context.Context) (*url.URL, error) {
				link := test.links[min(fetched, len(test.links)-1)]
				fetched++
				return url.Parse("https://store.example" + link)
			}, &memory{})
			assert.Equal(t, test.err, err != nil, "%v", err)
			var paths []string
			for _, req := range *requests {
				paths = append(paths, req.URL.Path)
			}
			assert.Equal(t, test.want, paths)
			if len(test.links) > 1 {
				assert.Equal(t, len(test.links), fetched)
			}
		})
	}
}

func TestLinks_not_allowed(t *testing.T) {
	for _, link := range []string{"http://store.example/f?Signature=s3cret", "https:///f?Signature=s3cret"} {
		store, requests := script(t)
		config := configOf(store)
		_, err := Copy(t.Context(), config, sourceOf(link), &memory{})
		require.ErrorIs(t, err, ErrMalformed)
		require.ErrorAs(t, err, new(*Error))
		config.Link = parse(t, link)
		_, err = Copy(t.Context(), config, sourceOf(storeLink), &memory{})
		require.ErrorIs(t, err, ErrMalformed)
		assert.NotContains(t, err.Error(), "s3cret")
		assert.Empty(t, *requests)
	}
}

func TestRedirects(t *testing.T) {
	for redirects, ok := range map[int]bool{1: true, 3: true, 4: false} {
		server, config := newServer(t, false, func(w http.ResponseWriter, r *http.Request) {
			assert.Empty(t, r.Header.Get("Referer"), "the link is a secret")
			hop, _ := strconv.Atoi(r.URL.Query().Get("hop"))
			if hop < redirects {
				http.Redirect(w, r, fmt.Sprintf("/?hop=%d&Signature=s3cret", hop+1), http.StatusFound)
				return
			}
			_, _ = w.Write([]byte(body))
		})
		_, err := Copy(t.Context(), config, sourceOf(server.URL+"/?Signature=s3cret"), &memory{})
		assert.Equal(t, ok, err == nil, "%d redirects: %v", redirects, err)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			require.ErrorContains(t, err, "more than 3 redirects")
			assert.NotContains(t, err.Error(), "s3cret")
		}
	}
}

// A redirect leads only to an allowed link, and not out of https.
func TestRedirects_not_allowed(t *testing.T) {
	tests := []struct {
		name, link, location string
		config               Config
		text                 string
	}{
		{"without encryption", "https://store.example/", "http://store.example/?Signature=s3cret", Config{InsecureHTTP: true}, "redirected out of https, to http://store.example/?redacted"},
		{"to this machine", "https://store.example/", "https://127.0.0.1/?Signature=s3cret", Config{}, "redirected: the download link https://127.0.0.1/?redacted leads to this machine, and the endpoint is another"},
		{"to this machine, from it", "https://127.0.0.1/", "http://127.0.0.1/?Signature=s3cret", Config{Loopback: true}, "redirected out of https"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, requests := script(t, respond(302, "", "Location", test.location))
			config := configOf(store)
			config.Loopback, config.InsecureHTTP = test.config.Loopback, test.config.InsecureHTTP
			_, err := Copy(t.Context(), config, sourceOf(test.link), &memory{})
			require.ErrorIs(t, err, ErrMalformed)
			require.ErrorContains(t, err, test.text)
			assert.NotContains(t, err.Error(), "s3cret")
			assert.Len(t, *requests, 1)
		})
	}
}

// A resumed request keeps its headers through a redirect.
func TestRedirects_keep_the_range(t *testing.T) {
	redirect := func() *http.Response { return respond(302, "", "Location", "https://other.example/f") }
	store, requests := script(t, redirect(), cut(200, 10, body[:4], "ETag", strong), redirect(), partOf(4))
	var sink memory
	_, err := Copy(t.Context(), configOf(store), sourceOf(storeLink), &sink)
	require.NoError(t, err)
	assert.Equal(t, body, sink.String())
	assert.Equal(t, []string{"bytes=4-", strong}, []string{(*requests)[3].Header.Get("Range"), (*requests)[3].Header.Get("If-Match")})
}

// net/http repeats a request by itself if an idle connection breaks. Each repetition is an attempt.
func TestWire_repeated_request_is_an_attempt(t *testing.T) {
	requests := 0
	server, config := newServer(t, false, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		switch requests {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			_, _ = w.Write([]byte(body))
		}
	})
	d := &download{Config: config, source: sourceOf(server.URL), sink: &memory{}}
	d.client = http.Client{Transport: config.Client.Transport}
	d.forget()
	require.NoError(t, d.run(t.Context()))
	assert.Equal(t, 3, requests)
	assert.Equal(t, 3, d.attempts)
}

func TestWire_connections(t *testing.T) {
	ended := 0
	w := &wire{end: func(err error) { ended++; assert.Equal(t, errRepeated, err) }}
	connect := func(req *http.Request) { traceOf(req).GetConn("store.example:443") }
	req := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(w.trace(t.Context()))
	for range maxConnections {
		connect(req)
	}
	assert.Zero(t, ended)
	connect(req)
	assert.Equal(t, 1, ended)
	w.redirected()
	connect(req)
	assert.Equal(t, 1, ended, "a redirect resets the count")
	traceOf(req).WroteHeaders()
	connect(req)
	assert.Equal(t, 2, ended, "it is being repeated")
	w.redirected()
	connect(req)
	assert.Equal(t, 2, ended)
}

// The timeout of the user's client bounds an attempt and is transient.
func TestSilence_client_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, requests := slowStore(func(req *http.Request, _ int) *http.Response { return slow(req, 1, 1, time.Hour) })
		config := configOf(store)
		config.Client.Timeout = 5 * time.Second
		var err error
		duration := took(func() { _, err = Copy(t.Context(), config, sourceOf(storeLink), &memory{}) })
		require.Error(t, err)
		assert.Equal(t, 4, *requests)
		assert.InDelta(t, 20*time.Second, duration, float64(time.Second))
	})
}
