package servicemodel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const minute = time.Minute

// client sends plain requests.
type client struct {
	t *testing.T
	s *Service
}

func (c client) send(method, query, body string) (*http.Response, string, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "https://cdn.example.com"+Path+"?"+query, strings.NewReader(body))
	require.NoError(c.t, err)
	resp, err := c.s.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp, string(text), resp.Body.Close()
}

func (c client) list(query string) Page {
	c.t.Helper()
	resp, body, err := c.send(http.MethodGet, query, "")
	require.NoError(c.t, err)
	require.Equal(c.t, 200, resp.StatusCode, body)
	var p Page
	require.NoError(c.t, json.Unmarshal([]byte(body), &p))
	return p
}

func ids(p Page) string {
	var ids []string
	for _, r := range p.Data {
		ids = append(ids, r.TaskID)
	}
	return strings.Join(ids, " ")
}

func statuses(p Page) string {
	var all []string
	for _, r := range p.Data {
		all = append(all, r.Status)
	}
	return strings.Join(all, " ")
}

// inBubble runs test in fake time with a service that has these knobs.
func inBubble(t *testing.T, k Knobs, test func(t *testing.T, s *Service, c client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(k)
		test(t, s, client{t, s})
	})
}

// add makes the tasks a, b, c, 1 s apart.
func add(s *Service) {
	for _, id := range []string{"a", "b", "c"} {
		s.Apply(0, Change{ID: id, Status: "waiting"})
		time.Sleep(time.Second)
	}
}

func TestService_without_knobs(t *testing.T) {
	inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
		add(s)
		assert.Equal(t, "c b a", ids(c.list("")))
		assert.Equal(t, "b", ids(c.list("task_id=b&task_name=")))
		assert.Equal(t, "a", ids(c.list("task_name=task+a")))
		assert.Equal(t, Page{3, []Row{}}, c.list("task_id=&offset=3"))
		assert.Equal(t, "b", ids(c.list("offset=1&limit=1")))
		s.Apply(minute, Change{ID: "a", Status: "success"})
		time.Sleep(minute)
		all := c.list("")
		assert.Equal(t, "a c b", ids(all))
		assert.Equal(t, "success waiting waiting", statuses(all))
		assert.Equal(t, time.Now().UnixMilli(), *all.Data[0].UpdateTime)
		assert.NotEmpty(t, all.Data[0].DownloadLink)
		assert.Empty(t, all.Data[1].DownloadLink)
		s.Apply(0, Change{ID: "c", Remove: true})
		assert.Equal(t, "a b", ids(c.list("")))
		for _, bad := range []string{"limit=101", "limit=x", "offset=-1"} {
			resp, body, err := c.send(http.MethodGet, bad, "")
			require.NoError(t, err)
			assert.Equal(t, 400, resp.StatusCode, bad)
			assert.Contains(t, body, "CDN.0001")
		}
		assert.Equal(t, 10, s.Count())
		assert.Equal(t, 9, s.Count(List))
	})
}

func TestCreate(t *testing.T) {
	const body = `{"action":"uv","domain_name":"mine"}`
	tests := []struct {
		name   string
		knobs  Knobs
		status int // 0 if the connection is lost or the status is 502
		made   bool
		text   string
	}{
		{"accepted", Knobs{}, 200, true, ""},
		{"accepted and named", Knobs{NamesTask: true}, 200, true, `{"task_id":`},
		{"refused", Knobs{Refused: 1}, 400, false, "CDN.0001"},
		{"dropped", Knobs{Dropped: 1}, 0, false, ""},
		{"lost", Knobs{Lost: 1}, 0, true, ""},
		{"lost and late", Knobs{Lost: 1, LostLate: minute}, 0, true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, test.knobs, func(t *testing.T, s *Service, c client) {
				resp, text, err := c.send(http.MethodPost, "", body)
				switch {
				case test.status != 0:
					require.NoError(t, err)
					assert.Equal(t, test.status, resp.StatusCode)
					assert.Contains(t, text, test.text)
				case err == nil:
					assert.Equal(t, 502, resp.StatusCode)
				}
				time.Sleep(minute)
				tasks := s.Tasks()
				if !test.made {
					assert.Empty(t, tasks)
					return
				}
				require.Len(t, tasks, 1)
				assert.Equal(t, "mine", tasks[0].Owner)
				assert.Equal(t, "waiting", tasks[0].Status)
				assert.Equal(t, "mine", s.Requests()[0].Owner)
			})
		})
	}
}

func TestCreate_task_is_worked_on(t *testing.T) {
	inBubble(t, Knobs{WorkMin: minute, WorkMax: minute}, func(t *testing.T, s *Service, c client) {
		_, _, err := c.send(http.MethodPost, "", `{}`)
		require.NoError(t, err)
		for _, status := range []string{"waiting", "processing", "processing", "success"} {
			assert.Equal(t, status, statuses(c.list("")))
			time.Sleep(20 * time.Second)
		}
	})
}

func TestStamps(t *testing.T) {
	times := func(p Page) (ms []int64) {
		for _, r := range p.Data {
			ms = append(ms, *r.UpdateTime-*p.Data[len(p.Data)-1].UpdateTime)
		}
		return ms
	}
	tests := []struct {
		name  string
		knobs Knobs
		order string
		check func(t *testing.T, s *Service, p Page)
	}{
		{"milliseconds", Knobs{}, "c b a", func(t *testing.T, _ *Service, p Page) {
			assert.Equal(t, []int64{2000, 1000, 0}, times(p))
		}},
		{"equal, oldest first", Knobs{Stamps: Equal, Ties: TiesOldestFirst}, "a b c", func(t *testing.T, _ *Service, p Page) {
			assert.Equal(t, []int64{0, 0, 0}, times(p))
		}},
		{"absent", Knobs{NoStamp: true}, "c b a", func(t *testing.T, _ *Service, p Page) {
			assert.Nil(t, p.Data[0].UpdateTime)
			assert.NotNil(t, p.Data[0].CreateTime)
		}},
		{"future", Knobs{Future: 1}, "c b a", func(t *testing.T, _ *Service, p Page) {
			assert.Greater(t, *p.Data[2].UpdateTime, time.Now().Add(FutureBy-minute).UnixMilli())
		}},
		{"nodes, by change", Knobs{Seed: 3, Nodes: 3, Skew: 5 * time.Second, Order: ByChange}, "c b a", func(t *testing.T, s *Service, p Page) {
			assert.Len(t, s.skews, 3)
			assert.NotEqual(t, []int64{2000, 1000, 0}, times(p))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, test.knobs, func(t *testing.T, s *Service, c client) {
				add(s)
				p := c.list("")
				assert.Equal(t, test.order, ids(p))
				test.check(t, s, p)
			})
		})
	}
	t.Run("whole seconds", func(t *testing.T) {
		inBubble(t, Knobs{Stamps: Seconds}, func(t *testing.T, s *Service, c client) {
			time.Sleep(300 * time.Millisecond)
			add(s)
			for _, r := range c.list("").Data {
				assert.Zero(t, *r.UpdateTime%1000)
			}
		})
	})
	t.Run("silent", func(t *testing.T) {
		inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
			add(s)
			before := *c.list("").Data[2].UpdateTime
			s.Apply(0, Change{ID: "a", Status: "success", Silent: true})
			p := c.list("")
			assert.Equal(t, "c b a", ids(p))
			assert.Equal(t, "success", p.Data[2].Status)
			assert.Equal(t, before, *p.Data[2].UpdateTime)
			versions := s.Versions()["a"]
			require.Len(t, versions, 2)
			assert.True(t, versions[1].Silent)
		})
	})
	t.Run("shuffled ties", func(t *testing.T) {
		inBubble(t, Knobs{Stamps: Equal, Ties: TiesShuffled}, func(t *testing.T, s *Service, c client) {
			s.Fill(50)
			assert.NotEqual(t, ids(c.list("limit=100")), ids(c.list("limit=100")))
			assert.Len(t, c.list("limit=100").Data, 50)
		})
	})
}

// distinct sends n lists and returns the different texts that show makes of them, sorted.
func distinct(c client, n int, show func(Page) string) []string {
	seen := map[string]bool{}
	for range n {
		seen[show(c.list("limit=100"))] = true
	}
	var all []string
	for text := range seen {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func TestReads(t *testing.T) {
	total := func(p Page) string { return fmt.Sprint(p.Total) }
	tests := []struct {
		name  string
		knobs Knobs
		show  func(Page) string
		want  []string // right after the third task was created
		later []string // a minute later
	}{
		{"current", Knobs{}, ids, []string{"c b a"}, []string{"c b a"}},
		{"a change behind", Knobs{List: Replica{Changes: 1}}, ids, []string{"b a", "c b a"}, []string{"b a", "c b a"}},
		{"up to 2 s behind", Knobs{List: Replica{Delay: 1500 * time.Millisecond}}, ids, []string{"a", "b a", "c b a"}, []string{"c b a"}},
		{"look-ups behind, lists current", Knobs{Lookup: Replica{Changes: 2}}, ids, []string{"c b a"}, []string{"c b a"}},
		{"list lag", Knobs{ListLag: 10 * time.Second, Seed: 1}, ids, []string{""}, []string{"c b a"}},
		{"page cap", Knobs{PageCap: 2}, ids, []string{"c b"}, []string{"c b"}},
		{"totals lag", Knobs{TotalLag: 500 * time.Millisecond}, total, []string{"2"}, []string{"3"}},
		{"totals off", Knobs{TotalOff: -5}, total, []string{"0"}, []string{"0"}},
		{"retention", Knobs{Retention: 2}, ids, []string{"c b a"}, []string{"c b a"}}, // only creates count
		{"a row without an id", Knobs{EmptyRow: true}, ids, []string{"c b a "}, []string{"c b a "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, test.knobs, func(t *testing.T, s *Service, c client) {
				s.Apply(0, Change{ID: "a", Status: "waiting"})
				s.Apply(time.Second, Change{ID: "b", Status: "waiting"})
				s.Apply(2*time.Second, Change{ID: "c", Status: "waiting"})
				time.Sleep(2 * time.Second)
				assert.Equal(t, test.want, distinct(c, 60, test.show))
				time.Sleep(minute)
				assert.Equal(t, test.later, distinct(c, 60, test.show))
			})
		})
	}
}

func TestReads_lookups_behind(t *testing.T) {
	inBubble(t, Knobs{Lookup: Replica{Delay: 2 * time.Second}}, func(t *testing.T, s *Service, c client) {
		s.Apply(0, Change{ID: "a", Status: "waiting"})
		time.Sleep(10 * time.Second)
		s.Apply(0, Change{ID: "a", Status: "success"})
		old, current := 0, 0
		for range 60 {
			if c.list("task_id=a").Data[0].Status == "waiting" {
				old++
			} else {
				current++
			}
		}
		assert.Positive(t, old)
		assert.Positive(t, current)
		assert.Equal(t, "success", c.list("").Data[0].Status)
		v := s.Versions()["a"][1]
		assert.Equal(t, v.At, v.ListedAt)
		assert.Equal(t, v.At.Add(2*time.Second), v.LookedUpAt)
	})
}

func TestReads_replica_by_changes_misses_the_last(t *testing.T) {
	inBubble(t, Knobs{List: Replica{Changes: 1}}, func(t *testing.T, s *Service, _ client) {
		s.Apply(0, Change{ID: "a", Status: "waiting"})
		assert.True(t, s.Versions()["a"][0].ListedAt.IsZero())
		time.Sleep(minute)
		s.Apply(0, Change{ID: "b", Status: "waiting"})
		assert.Equal(t, time.Now(), s.Versions()["a"][0].ListedAt)
	})
}

func TestRetention_drops_the_oldest(t *testing.T) {
	inBubble(t, Knobs{Retention: 2}, func(t *testing.T, s *Service, c client) {
		add(s)
		_, _, err := c.send(http.MethodPost, "", `{"domain_name":"mine"}`)
		require.NoError(t, err)
		assert.Len(t, s.Tasks(), 2)
		_, ok := s.Task("b")
		assert.False(t, ok)
		_, ok = s.Task("c")
		assert.True(t, ok)
	})
}

func TestFailures(t *testing.T) {
	works := func(c client, query string) bool {
		resp, body, err := c.send(http.MethodGet, query, "")
		return err == nil && resp.StatusCode == 200 && !strings.HasPrefix(body, "<")
	}
	for name, test := range map[string]struct {
		knobs          Knobs
		lists, lookups bool
	}{
		"lists":    {Knobs{ListFails: 1, FailsFor: minute}, false, true},
		"look-ups": {Knobs{LookupFails: 1, FailsFor: minute}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, test.knobs, func(t *testing.T, s *Service, c client) {
				for range 20 {
					assert.Equal(t, test.lists, works(c, ""))
					assert.Equal(t, test.lookups, works(c, "task_id=a"))
				}
				assert.True(t, slices.ContainsFunc(s.Requests(), func(r Request) bool { return r.Failed }))
				time.Sleep(minute)
				assert.True(t, works(c, ""))
				assert.True(t, works(c, "task_id=a"))
			})
		})
	}
	t.Run("in turns", func(t *testing.T) {
		inBubble(t, Knobs{ListFails: 1, FailsEvery: 3 * time.Second}, func(t *testing.T, _ *Service, c client) {
			for second := range 12 {
				assert.Equal(t, second%6 < 3, works(c, ""), second)
				time.Sleep(time.Second)
			}
		})
	})
}

func TestOthers_change_the_list(t *testing.T) {
	run := func(seed uint64) string {
		var text string
		inBubble(t, Knobs{Seed: seed, Every: time.Second, Creates: 3, Flips: 3, Removals: 1, WorkMin: time.Second, WorkMax: minute},
			func(t *testing.T, s *Service, c client) {
				s.Fill(20)
				s.Apply(0, Change{ID: "scripted", Status: "waiting"})
				time.Sleep(5 * minute)
				text = ids(c.list("limit=100"))
				scripted, ok := s.Task("scripted")
				require.True(t, ok)
				assert.Equal(t, "waiting", scripted.Status)
				s.Quiet()
				time.Sleep(2 * minute)
				changes := len(s.Versions())
				time.Sleep(time.Hour)
				assert.Len(t, s.Versions(), changes)
			})
		return text
	}
	assert.Equal(t, run(1), run(1), "the same seed")
	assert.NotEqual(t, run(1), run(2), "another seed")
}

func TestQuota(t *testing.T) {
	for _, hint := range Hints() {
		t.Run(hint.String(), func(t *testing.T) {
			limiter := &pacetest.Limiter{Kind: pacetest.Sliding, N: 2, Per: minute}
			inBubble(t, Knobs{Quota: Quota{limiter, hint}}, func(t *testing.T, _ *Service, c client) {
				c.list("")
				c.list("")
				time.Sleep(10 * time.Second)
				resp, body, err := c.send(http.MethodGet, "", "")
				require.NoError(t, err)
				assert.Equal(t, 429, resp.StatusCode)
				assert.Equal(t, hint == HintText, strings.Contains(body, "limit:2,time:1 minute"), body)
				assert.Equal(t, hint == HintRetryAfter, resp.Header.Get("Retry-After") == "50")
				time.Sleep(50 * time.Second)
				c.list("")
			})
		})
	}
	assert.Equal(t, "30 second", period(30*time.Second))
}

func TestLatency_ends_with_the_context(t *testing.T) {
	inBubble(t, Knobs{Latency: minute}, func(t *testing.T, s *Service, _ client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		for range 10 {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://cdn.example.com"+Path, nil)
			require.NoError(t, err)
			_, err = s.RoundTrip(req)
			require.Error(t, err)
		}
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestBefore_sees_each_request(t *testing.T) {
	inBubble(t, Knobs{}, func(t *testing.T, s *Service, c client) {
		s.Before(func(r Request) { s.Apply(0, Change{ID: fmt.Sprintf("offset-%d", r.Offset), Status: "waiting"}) })
		assert.Equal(t, "offset-0", ids(c.list("")))
		assert.Equal(t, "offset-0", ids(c.list("offset=1")))
	})
}

func TestDraw_uses_every_knob(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(400) {
		k := Draw(seed)
		assert.Equal(t, k, Draw(seed))
		for part := range strings.FieldsSeq(k.String()) {
			name, _, _ := strings.Cut(part, ":")
			seen[name]++
		}
	}
	for _, name := range []string{
		"Nodes", "Skew", "Future", "Stamps", "Silent", "NoStamp", "Order", "Ties", "ListLag", "List", "Lookup",
		"PageCap", "TotalLag", "TotalOff", "Every", "Changes", "Creates", "Flips", "Removals", "WorkMin", "Fails", "Retention",
		"ListFails", "LookupFails", "Lost", "LostLate", "Dropped", "Refused", "NamesTask", "Latency",
	} {
		assert.Greater(t, seen[name], 20, name)
	}
}

func TestService_unknown_path(t *testing.T) {
	inBubble(t, Knobs{}, func(t *testing.T, s *Service, _ client) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://cdn.example.com/v1/other", nil)
		require.NoError(t, err)
		resp, err := s.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, 404, resp.StatusCode)
	})
}
