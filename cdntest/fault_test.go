package cdntest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

func on(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Path == path }
}

func TestFaultReplacesTheAnswer(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name   string
		fault  cdntest.Fault
		status int
		body   string
	}{
		{"status", cdntest.Fault{Status: 503}, 503, ""},
		{"status and body", cdntest.Fault{Status: 502, Body: "<html>bad gateway</html>"}, 502, "<html>bad gateway</html>"},
		{"body", cdntest.Fault{Body: "null"}, 200, "null"},
		{"an empty 200", cdntest.Fault{Status: 200}, 200, ""},
		{"a redirect to nowhere", cdntest.Fault{Status: 304}, 304, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Inject(c.fault)
			a := f.get(allTasks)
			assert.Equal(t, c.status, a.StatusCode)
			assert.Equal(t, c.body, a.body)
			require.NoError(t, a.err)
			assert.JSONEq(t, `{"total":0,"data":[]}`, f.get(allTasks).body, "once only")
		})
	}
}

func TestFaultReplacesTheAnswerToHead(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Status: 500, Body: "body"})
	a := f.call(http.MethodHead, allTasks, "")
	assert.Equal(t, 500, a.StatusCode)
	assert.Empty(t, a.body)
}

func TestFaultSetsHeaders(t *testing.T) {
	f := newFixture(t)
	header := http.Header{"retry-after": {"7"}, "X-Request-Id": {"mine"}, "Date": nil}
	f.Inject(cdntest.Fault{Status: 429, Header: header})
	f.Inject(cdntest.Fault{Header: header})
	header.Set("Retry-After", "too late")

	replaced := f.get(allTasks)
	assert.Equal(t, 429, replaced.StatusCode)
	normal := f.get(allTasks)
	assert.JSONEq(t, `{"total":0,"data":[]}`, normal.body)
	for _, a := range []answer{replaced, normal} {
		assert.Equal(t, "7", a.Header.Get("Retry-After"))
		assert.Equal(t, []string{"mine"}, a.Header.Values("X-Request-Id"))
		assert.NotContains(t, a.Header, "Date")
	}
}

func TestFaultSetsHeadersOfAnAnswerWithoutBody(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Header: http.Header{"X-Extra": {"1"}}})
	a := f.call(http.MethodPost, tasksPath, `{}`)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "1", a.Header.Get("X-Extra"))
	assert.Len(t, f.Tasks(), 1)
}

// A Content-Length that promises more than comes is a header like any other.
func TestFaultWithAWrongLength(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Body: "short", Header: http.Header{"Content-Length": {"100"}}})
	a := f.get(allTasks)
	assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
	assert.Equal(t, "short", a.body)
}

func TestFaultTimes(t *testing.T) {
	for _, c := range []struct{ times, want int }{{0, 1}, {1, 1}, {3, 3}, {-1, 5}} {
		f := newFixture(t)
		f.Inject(cdntest.Fault{Status: 503, Times: c.times})
		met := 0
		for range 5 {
			if f.get(allTasks).StatusCode == 503 {
				met++
			}
		}
		assert.Equal(t, c.want, met, c.times)
	}
}

func TestFaultsInOrder(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Status: 500, Match: on("/a"), Times: 2})
	f.Inject(cdntest.Fault{Status: 501, Match: on("/b")})
	f.Inject(cdntest.Fault{Status: 502, Times: -1})
	f.Inject(cdntest.Fault{Status: 503})
	for _, c := range []struct {
		path   string
		status int
	}{{"/b", 501}, {"/b", 502}, {"/a", 500}, {"/c", 502}, {"/a", 500}, {"/a", 502}} {
		assert.Equal(t, c.status, f.get(c.path).StatusCode, c.path)
	}
	f.ClearFaults()
	assert.Equal(t, http.StatusNotFound, f.get("/a").StatusCode)
}

func TestFaultCountsConcurrentRequests(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Status: 503, Times: 10})
	var wg sync.WaitGroup
	statuses := make(chan int, 40)
	for range cap(statuses) {
		wg.Go(func() {
			if response, err := f.client.Get(f.URL + "/"); err == nil {
				_ = response.Body.Close()
				statuses <- response.StatusCode
			}
		})
	}
	wg.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	assert.Equal(t, map[int]int{503: 10, 404: 30}, count)
}

// Match may look at the server: no lock is held meanwhile.
func TestFaultMatchMayUseTheServer(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Status: 503, Match: func(*http.Request) bool {
		f.ClearFaults()
		return len(f.Requests()) > 0
	}})
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode, "cleared while it matched")
}

func TestFaultDropsTheConnection(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{DropConnection: true, Status: 200, Body: "never sent"})
	_, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`))
	require.Error(t, err)
	assert.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), err)
	assert.Empty(t, f.Tasks(), "the request had no effect")
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode)
}

func TestFaultTruncates(t *testing.T) {
	f := newFixture(t)
	whole := f.get(allTasks).body
	length := int64(len(whole))
	link := f.AddTask(cdn.ExportTask{}, []byte("0123456789")).DownloadLink

	for _, c := range []struct {
		name  string
		fault cdntest.Fault
		path  string
		want  string
		cut   bool
	}{
		{"a replacement", cdntest.Fault{TruncateAfter: 3, Body: "abcdef"}, "/", "abc", true},
		{"its last byte", cdntest.Fault{TruncateAfter: 5, Body: "abcdef"}, "/", "abcde", true},
		{"nothing of it", cdntest.Fault{TruncateAfter: 6, Body: "abcdef"}, "/", "abcdef", false},
		{"zero", cdntest.Fault{TruncateAfter: 0, Body: "abcdef"}, "/", "abcdef", false},
		{"less than zero", cdntest.Fault{TruncateAfter: -1, Body: "abcdef"}, "/", "abcdef", false},
		{"a file", cdntest.Fault{TruncateAfter: 4}, link, "0123", true},
		{"a file, not", cdntest.Fault{TruncateAfter: 10}, link, "0123456789", false},
		{"a file after a delay", cdntest.Fault{TruncateAfter: 4, Delay: time.Nanosecond}, link, "0123", true},
		{"a handled request", cdntest.Fault{TruncateAfter: 4, Handled: true}, link, "0123", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Inject(c.fault)
			a := f.send(f.request(http.MethodGet, c.path, ""))
			assert.Equal(t, c.want, a.body)
			if !c.cut {
				require.NoError(t, a.err)
				return
			}
			require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
			assert.Greater(t, a.ContentLength, int64(len(c.want)), "the whole was announced")
		})
	}

	f.RemoveTask(f.Tasks()[0].TaskID)
	f.Inject(cdntest.Fault{TruncateAfter: length - 1})
	a := f.get(allTasks)
	assert.Equal(t, whole[:length-1], a.body)
	assert.Equal(t, length, a.ContentLength)
}

// A large file is written in pieces; the cut lies in one of them.
func TestFaultTruncatesALargeFile(t *testing.T) {
	const cut = 1<<20 + 1
	f := newFixture(t)
	link := f.AddTask(cdn.ExportTask{}, make([]byte, 4<<20)).DownloadLink
	f.Inject(cdntest.Fault{TruncateAfter: cut})
	a := f.send(f.request(http.MethodGet, link, ""))
	assert.Len(t, a.body, cut)
	require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
}

func TestFaultResetsInTheBody(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Body: "0123456789", TruncateAfter: 4, DropConnection: true})
	a, err := f.try(f.request(http.MethodGet, "/", ""))
	require.NoError(t, err, "the answer has begun")
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.LessOrEqual(t, len(a.body), 4)
	assert.ErrorIs(t, a.err, syscall.ECONNRESET)
}

func TestFaultAfterTheRequestTookEffect(t *testing.T) {
	for name, fault := range map[string]cdntest.Fault{
		"reset":     {Handled: true, DropConnection: true},
		"502":       {Handled: true, Status: 502},
		"truncated": {Handled: true, Body: "0123456789", TruncateAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.Inject(fault)
			a, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`))
			if err == nil {
				assert.True(t, a.StatusCode == 502 || a.err != nil)
			}
			assert.Len(t, f.Tasks(), 1)
		})
	}
}

func TestFaultHandledKeepsTheAnswer(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Handled: true})
	assertRefused(t, f.get(tasksPath+"?limit=101"), "limit")
	f.Inject(cdntest.Fault{Handled: true})
	assertGateway(t, f.get("/nowhere"), http.StatusNotFound, "APIGW.0101", "")
}

func TestFaultDelays(t *testing.T) {
	const delay = 5 * time.Millisecond
	f := newFixture(t)
	f.Inject(cdntest.Fault{Delay: delay})
	start := time.Now()
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode)
	assert.GreaterOrEqual(t, time.Since(start), delay)
}

// matched makes a fault for creates and a channel that is closed once one has met it.
func matched(fault cdntest.Fault) (cdntest.Fault, <-chan struct{}) {
	met := make(chan struct{})
	fault.Match = func(r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		close(met)
		return true
	}
	return fault, met
}

func TestFaultDelayEndsWithTheClient(t *testing.T) {
	for _, handled := range []bool{false, true} {
		f := newFixture(t)
		fault, met := matched(cdntest.Fault{Delay: time.Hour, Handled: handled})
		f.Inject(fault)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-met
			cancel()
		}()
		_, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`).WithContext(ctx))
		require.ErrorIs(t, err, context.Canceled)
		f.Close()
		want := 0
		if handled {
			want = 1
		}
		assert.Len(t, f.Tasks(), want, "what did not wait for its turn did not have it")
	}
}

func TestFaultDelayEndsWithTheServer(t *testing.T) {
	f := newFixture(t)
	fault, met := matched(cdntest.Fault{Delay: time.Hour})
	f.Inject(fault)
	go func() {
		<-met
		f.Close()
	}()
	_, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`))
	require.Error(t, err, "there is no answer, not even an empty one")
}

func TestFaultStatusOutOfRange(t *testing.T) {
	f := newFixture(t)
	for _, status := range []int{-1, 1, 100, 199, 600} {
		assert.Panics(t, func() { f.Inject(cdntest.Fault{Status: status}) }, status)
	}
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode)
}
