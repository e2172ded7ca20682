package cdntest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
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

func TestFaultReplacesTheResponse(t *testing.T) {
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

func TestFaultReplacesTheResponseToHead(t *testing.T) {
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
	for _, a := range []response{replaced, normal} {
		assert.Equal(t, "7", a.Header.Get("Retry-After"))
		assert.Equal(t, []string{"mine"}, a.Header.Values("X-Request-Id"))
		assert.NotContains(t, a.Header, "Date")
	}
}

func TestFaultSetsHeadersOfAResponseWithoutBody(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Header: http.Header{"X-Extra": {"1"}}})
	a := f.call(http.MethodPost, tasksPath, `{}`)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "1", a.Header.Get("X-Extra"))
	assert.Len(t, f.Tasks(), 1)
}

func TestFaultRewritesTheBody(t *testing.T) {
	double := func(body []byte) []byte { return append(body, body...) }
	for _, c := range []struct {
		name   string
		fault  cdntest.Fault
		status int
		want   string
	}{
		{"the normal body", cdntest.Fault{Rewrite: double}, 200, "{\"total\":0,\"data\":[]}\n{\"total\":0,\"data\":[]}\n"},
		{"handled first", cdntest.Fault{Rewrite: double, Handled: true, Delay: time.Millisecond}, 200, "{\"total\":0,\"data\":[]}\n{\"total\":0,\"data\":[]}\n"},
		{"then cut", cdntest.Fault{Rewrite: double, TruncateAfter: 30}, 200, "{\"total\":0,\"data\":[]}\n{\"total\""},
		{"to nothing", cdntest.Fault{Rewrite: func([]byte) []byte { return nil }}, 200, ""},
		{"not if there is a Body", cdntest.Fault{Rewrite: double, Body: "x"}, 200, "x"},
		{"not if there is a Status", cdntest.Fault{Rewrite: double, Status: 503}, 503, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.Inject(c.fault)
			a := f.get(allTasks)
			assert.Equal(t, c.status, a.StatusCode)
			assert.Equal(t, c.want, a.body)
			assert.Equal(t, c.fault.TruncateAfter > 0, a.err != nil, a.err)
			assert.NotEmpty(t, a.Header.Get("X-Request-Id"))
		})
	}
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

// Match can use the server: no lock is held meanwhile.
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
	require.NoError(t, err, "the response has begun")
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
	require.Error(t, err, "there is no response, not even an empty one")
}

func TestFaultSendsInformationalResponses(t *testing.T) {
	for _, fault := range []cdntest.Fault{
		{Informational: []int{100, 102, 103}},
		{Informational: []int{100, 102, 103}, Handled: true},
		{Informational: []int{100, 102, 103}, Status: 200, Body: `{"total":0,"data":[]}`},
	} {
		f := newFixture(t)
		f.Inject(fault)
		fault.Informational[0] = 199 // too late
		var seen []int
		r := f.signed(http.MethodGet, tasksPath, "")
		a := f.send(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
				seen = append(seen, status)
				return nil
			},
		})))
		assert.Equal(t, []int{100, 102, 103}, seen)
		assert.Equal(t, http.StatusOK, a.StatusCode)
		assert.JSONEq(t, `{"total":0,"data":[]}`, a.body)
	}
}

func TestFaultBreaksOffAfterAnInformationalResponse(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Handled: true, Informational: []int{103}, DropConnection: true})
	_, err := f.try(f.signed(http.MethodPost, tasksPath, `{}`))
	require.Error(t, err)
	assert.Len(t, f.Tasks(), 1)
}

func TestFaultTrickles(t *testing.T) {
	const pause = time.Millisecond
	f := newFixture(t)
	f.Inject(cdntest.Fault{Body: "0123456789", Trickle: pause})
	f.Inject(cdntest.Fault{Body: "0123456789", Trickle: pause, TruncateAfter: 4})
	start := time.Now()
	assert.Equal(t, "0123456789", f.send(f.request(http.MethodGet, "/", "")).body)
	assert.GreaterOrEqual(t, time.Since(start), 10*pause)
	cut := f.send(f.request(http.MethodGet, "/", ""))
	assert.Equal(t, "0123", cut.body)
	assert.ErrorIs(t, cut.err, io.ErrUnexpectedEOF)
}

func TestFaultTrickleEndsWithTheServer(t *testing.T) {
	f := newFixture(t)
	f.Inject(cdntest.Fault{Body: "0123456789", Trickle: time.Hour})
	response, err := f.client.Do(f.request(http.MethodGet, "/", ""))
	require.NoError(t, err, "the header does not wait")
	f.Close()
	body, err := io.ReadAll(response.Body)
	require.Error(t, err)
	assert.Empty(t, body)
	require.NoError(t, response.Body.Close())
}

// A body that ends with the connection: a cut shows as its end.
func TestFaultWithABodyThatEndsWithTheConnection(t *testing.T) {
	identity := http.Header{"Content-Length": nil, "Transfer-Encoding": {"identity"}}
	for _, c := range []struct {
		fault cdntest.Fault
		want  string
	}{
		{cdntest.Fault{Body: "0123456789", Header: identity}, "0123456789"},
		{cdntest.Fault{Body: "0123456789", Header: identity, TruncateAfter: 4}, "0123"},
	} {
		f := newFixture(t)
		f.Inject(c.fault)
		a := f.send(f.request(http.MethodGet, "/", ""))
		require.NoError(t, a.err)
		assert.Equal(t, c.want, a.body)
		assert.EqualValues(t, -1, a.ContentLength)
		assert.Empty(t, a.TransferEncoding)
	}
}

func TestFaultCode(t *testing.T) {
	for _, c := range []struct {
		status int
		codes  []string
	}{
		{200, []string{"CDN.0005", "CDN.0105", "CDN.0108", "CDN.0114", "CDN.0115", "CDN.0116", "CDN.0201", "CDN.0202", "CDN.0203"}},
		{400, []string{"CDN.0001", "CDN.0170", "CDN.0171", "CDN.00010182"}},
		{401, []string{"CDN.0002", "APIGW.0301", "APIGW.0303", "APIGW.0305", "APIGW.0307"}},
		{403, []string{"CDN.0004", "CDN.0020", "CDN.0021", "APIGW.0302", "APIGW.0304", "APIGW.0306", "APIGW.0310", "APIGW.0401",
			"APIGW.0402", "APIGW.0404", "APIGW.0801", "APIGW.0802", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"}},
		{404, []string{"CDN.0003", "APIGW.0101", "APIGW.0103", "NoSuchKey"}},
		{412, []string{"PreconditionFailed"}},
		{416, []string{"InvalidRange"}},
		{429, []string{"APIGW.0308", "APIG.0308", "APIC.0308"}},
		{500, []string{"CDN.0000", "APIGW.0601", "InternalError"}},
		{502, []string{"APIGW.0201", "APIGW.0610"}},
		{503, []string{"APIGW.0613", "SlowDown", "ServiceUnavailable"}},
	} {
		for _, code := range c.codes {
			t.Run(code, func(t *testing.T) {
				f := newFixture(t)
				f.Inject(cdntest.FaultCode(code))
				switch owner, _, dotted := strings.Cut(code, "."); {
				case !dotted:
					link := f.AddTask(cdn.ExportTask{}, []byte("content")).DownloadLink
					assertStore(t, f.download(http.MethodGet, link), c.status, code)
				case owner == "CDN":
					assertCDN(t, f.get(tasksPath), c.status, code, "")
				default:
					assertGateway(t, f.get(tasksPath), c.status, code, "")
				}
			})
		}
	}
	for _, code := range []string{"", "CDN.9999", "APIGW.9999", "OTHER.0001", "Unknown", "CDN"} {
		assert.PanicsWithValue(t, fmt.Sprintf("cdntest: FaultCode: no error of the service has the code %q", code),
			func() { cdntest.FaultCode(code) })
	}
}

func TestFaultCodeCombines(t *testing.T) {
	f := newFixture(t)
	fault := cdntest.FaultCode("APIGW.0201")
	fault.Status, fault.Handled, fault.Match = http.StatusGatewayTimeout, true, cdntest.IsCreate
	f.Inject(fault)
	assertGateway(t, f.call(http.MethodPost, tasksPath, `{}`), http.StatusGatewayTimeout, "APIGW.0201", "")
	assert.Len(t, f.Tasks(), 1)

	fault = cdntest.FaultCode("APIGW.0308")
	fault.Header = http.Header{"Retry-After": {"60"}}
	f.Inject(fault)
	throttled := f.get(tasksPath)
	assertGateway(t, throttled, http.StatusTooManyRequests, "APIGW.0308", "limit:20,time:1 minute")
	assert.Equal(t, "60", throttled.Header.Get("Retry-After"))

	fault = cdntest.FaultCode("CDN.0005")
	fault.Body = "another"
	f.Inject(fault)
	assert.Equal(t, "another", f.get(tasksPath).body)
}

func TestFaultStatusOutOfRange(t *testing.T) {
	f := newFixture(t)
	for _, status := range []int{-1, 1, 100, 199, 600} {
		assert.Panics(t, func() { f.Inject(cdntest.Fault{Status: status}) }, status)
	}
	for _, status := range []int{-1, 99, 101, 200} {
		assert.Panics(t, func() { f.Inject(cdntest.Fault{Informational: []int{100, status}}) }, status)
	}
	assert.Equal(t, http.StatusOK, f.get(allTasks).StatusCode)
}
