package cdn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/retry"

	"github.com/stretchr/testify/assert"
)

// unsteadyService is a service with a page cap. It may be slow before and after it serves a request, and fail some
// requests with 503.
type unsteadyService struct {
	*fakeService
	pageCap int
	slow    bool
	busy    bool

	mu   sync.Mutex
	draw *rand.Rand
}

func (s *unsteadyService) below(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draw.IntN(n)
}

func (s *unsteadyService) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.busy && s.below(5) == 0 {
		return reply(503, ""), nil
	}
	query := req.URL.Query()
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > s.pageCap {
		query.Set("limit", strconv.Itoa(s.pageCap))
		req = req.Clone(req.Context())
		req.URL.RawQuery = query.Encode()
	}
	s.pause(req.Context())
	resp, err := s.fakeService.RoundTrip(req)
	s.pause(req.Context())
	return resp, err
}

func (s *unsteadyService) pause(ctx context.Context) {
	if s.slow {
		retry.Sleep(ctx, time.Duration(s.below(1500))*time.Millisecond)
	}
}

// movingList changes the tasks of a service at random and keeps their statuses.
type movingList struct {
	service *unsteadyService
	draw    *rand.Rand
	status  []ExportTaskStatus // of each task that was created; empty if it was removed
}

func idOf(i int) string { return fmt.Sprintf("task-%d", i) }

// move creates, changes or removes a task.
func (l *movingList) move() {
	time.Sleep(time.Millisecond)
	var present []int
	for i, status := range l.status {
		if status != "" {
			present = append(present, i)
		}
	}
	if len(present) == 0 || l.draw.IntN(10) < 4 {
		l.status = append(l.status, "waiting")
		l.service.set(idOf(len(l.status)-1), "waiting")
		return
	}
	i := present[l.draw.IntN(len(present))]
	l.status[i] = []ExportTaskStatus{"processing", ExportTaskSuccess, ExportTaskSuccess, "", ""}[l.draw.IntN(5)]
	l.service.set(idOf(i), l.status[i])
}

// A watch yields the last status of each task that changed since its call. A wait ends if its task is finished or was
// removed.
func TestPoller_random_changes_miss_nothing(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			service := &unsteadyService{
				fakeService: &fakeService{}, draw: rand.New(rand.NewPCG(seed, 2)),
				pageCap: []int{2, 3, 5, 100}[draw.IntN(4)], slow: draw.IntN(2) == 0, busy: draw.IntN(3) == 0,
			}
			list := &movingList{service: service, draw: draw}
			for range draw.IntN(20) {
				list.move()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := newTestClient(t, service)

			type watch struct {
				*collectWatch
				before []ExportTaskStatus
			}
			var watches []watch
			waits := make(map[int][]<-chan waitResult)
			for range 10 + draw.IntN(60) {
				switch kind := draw.IntN(8); {
				case kind == 0 && len(watches) < 3:
					before := append([]ExportTaskStatus(nil), list.status...)
					var late time.Duration // how long after the call the range begins
					if draw.IntN(2) == 0 {
						late = time.Duration(draw.IntN(60)) * time.Second
					}
					watches = append(watches, watch{watchingLater(ctx, client, late), before})
				case kind < 3 && len(list.status) > 0:
					i := draw.IntN(len(list.status))
					waits[i] = append(waits[i], waiting(ctx, client, idOf(i)))
				case kind < 6:
					list.move()
				default:
					time.Sleep(time.Duration(draw.IntN(8000)) * time.Millisecond)
				}
			}
			time.Sleep(30 * time.Minute)

			for _, w := range watches {
				if err := w.ended(); err != nil {
					assert.True(t, service.busy, "seed %d: %v", seed, err)
					continue
				}
				yielded := make(map[string]string)
				for change := range strings.FieldsSeq(w.take()) {
					id, status, _ := strings.Cut(change, ":")
					yielded[id] = status
				}
				for i, status := range list.status {
					if status != "" && (i >= len(w.before) || w.before[i] != status) {
						assert.Equal(t, string(status), yielded[idOf(i)], "seed %d: %s", seed, idOf(i))
					}
				}
			}
			for i, all := range waits {
				for _, done := range all {
					select {
					case result := <-done:
						assert.True(t, result.err == nil || errors.Is(result.err, ErrTaskNotFound), "seed %d: %s: %v", seed, idOf(i), result.err)
					default:
						assert.False(t, list.status[i] == "" || list.status[i].Done(), "seed %d: the wait for %s, which is %q, hangs", seed, idOf(i), list.status[i])
					}
				}
			}
		})
	}
}
