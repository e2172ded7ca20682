package cdn

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gateway is a service that accepts one access key only.
type gateway struct {
	*httptest.Server
	accepts string
	ahead   time.Duration // how far its clock is ahead of the local one
	mu      sync.Mutex
	keys    []string // of the requests, in their order
}

func newGateway(t *testing.T, accepts string) *gateway {
	t.Helper()
	g := &gateway{accepts: accepts}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Access=")
	key, _, _ := strings.Cut(rest, ",")
	g.mu.Lock()
	g.keys = append(g.keys, key)
	g.mu.Unlock()
	now := time.Now().Add(g.ahead)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	signed, err := time.Parse(signingTime, r.Header.Get("X-Sdk-Date"))
	if err != nil || now.Sub(signed).Abs() > 15*time.Minute || key != g.accepts {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`))
		return
	}
	_, _ = w.Write([]byte(`{"total":0,"data":[]}`))
}

func (g *gateway) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.keys...)
}

func TestRefreshing(t *testing.T) {
	day := time.Now().Add(24 * time.Hour)
	old, replaced := replying(metadataJSON("AKOLD", day)), replying(metadataJSON("AKNEW", day))
	tests := map[string]struct {
		metadata http.HandlerFunc
		opts     []Option
		ahead    time.Duration
		want     []string
		err      error
	}{
		"new keys":              {metadata: inTurn(old, replaced), want: []string{"AKOLD", "AKNEW"}},
		"the same keys":         {metadata: old, want: []string{"AKOLD"}, err: ErrUnauthorized},
		"other keys, refused":   {metadata: inTurn(old, replying(metadataJSON("AKOTHER", day)), replaced), want: []string{"AKOLD", "AKOTHER"}, err: ErrUnauthorized},
		"no keys any more":      {metadata: inTurn(old, replyingStatus(404, "")), want: []string{"AKOLD"}, err: ErrUnauthorized},
		"permanent keys":        {opts: []Option{WithAKSK("AKOLD", secretKey)}, want: []string{"AKOLD"}, err: ErrUnauthorized},
		"wrong clock":           {metadata: replaced, ahead: 2 * time.Hour, want: []string{"AKNEW", "AKNEW"}},
		"wrong clock, old keys": {metadata: inTurn(old, replaced), ahead: 2 * time.Hour, want: []string{"AKOLD", "AKNEW", "AKNEW"}},
		"expired in the past":   {metadata: inTurn(replying(metadataJSON("AKOLD", day.Add(-48*time.Hour))), replaced), want: []string{"AKOLD", "AKNEW"}},
		"expired by true time":  {metadata: inTurn(replying(metadataJSON("AKOLD", time.Now().Add(time.Hour))), replaced), ahead: 2 * time.Hour, want: []string{"AKOLD", "AKNEW", "AKNEW"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			emptyEnvironment(t)
			i := newInstance(t)
			i.metadata = test.metadata
			g := newGateway(t, "AKNEW")
			g.ahead = test.ahead
			opts := append(test.opts, WithEndpoint(g.URL), WithHTTPClient(g.Client()), quickRetries)
			client, err := NewCdnClient(opts...)
			require.NoError(t, err)
			_, err = client.ListExportTasks(t.Context(), nil)
			if test.err == nil {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, test.err)
			}
			assert.Equal(t, test.want, g.seen())
		})
	}
}

func TestRefreshing_create_is_sent_again(t *testing.T) {
	emptyEnvironment(t)
	day := time.Now().Add(24 * time.Hour)
	i := newInstance(t)
	i.metadata = inTurn(replying(metadataJSON("AKOLD", day)), replying(metadataJSON("AKNEW", day)))
	g := newGateway(t, "AKNEW")
	client, err := NewCdnClient(WithEndpoint(g.URL), WithHTTPClient(g.Client()))
	require.NoError(t, err)
	_, err = client.CreateExportTask(t.Context(), &CreateExportTaskRequest{Action: ActionUV})
	require.NoError(t, err)
	assert.Equal(t, []string{"AKOLD", "AKNEW"}, g.seen())
}

func TestRefreshing_one_fetch_for_all_refused_calls(t *testing.T) {
	emptyEnvironment(t)
	day := time.Now().Add(24 * time.Hour)
	i := newInstance(t)
	i.metadata = inTurn(replying(metadataJSON("AKOLD", day)), replying(metadataJSON("AKNEW", day)))
	g := newGateway(t, "AKNEW")
	client, err := NewCdnClient(WithEndpoint(g.URL), WithHTTPClient(g.Client()))
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			_, err := client.ListExportTasks(t.Context(), nil)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.Len(t, i.seen(), 4, "a token and the keys, twice")
}
