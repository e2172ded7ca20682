package cdn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/require"
)

// memoryJournal is a journal that processes share.
type memoryJournal struct {
	turn chan struct{}

	mu      sync.Mutex
	records map[string][]byte
}

func newMemoryJournal() *memoryJournal {
	return &memoryJournal{turn: make(chan struct{}, 1), records: make(map[string][]byte)}
}

func (m *memoryJournal) Lock(ctx context.Context) (func(), error) {
	select {
	case m.turn <- struct{}{}:
		return sync.OnceFunc(func() { <-m.turn }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memoryJournal) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[key], nil
}

func (m *memoryJournal) Store(_ context.Context, key string, record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[key] = slices.Clone(record)
	return nil
}

// process is a program that can be killed at each step. Once it is dead, nothing that it does has an effect, and the
// lock that it held is free.
type process struct {
	journal *memoryJournal
	service http.RoundTripper

	mu     sync.Mutex
	steps  int
	killAt int // the step at which it dies; 0 for never
	unlock func()
}

var errKilled = errors.New("the process is dead")

// step counts a step, and returns errKilled if the process is dead by then.
func (p *process) step() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps++
	if p.killAt == 0 || p.steps < p.killAt {
		return nil
	}
	if p.unlock != nil {
		p.unlock()
		p.unlock = nil
	}
	return errKilled
}

// dieAfter has the process die at the n-th step from now.
func (p *process) dieAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killAt = p.steps + n
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killAt > 0 && p.steps >= p.killAt
}

func (p *process) Lock(ctx context.Context) (func(), error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	unlock, err := p.journal.Lock(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.unlock = unlock
	p.mu.Unlock()
	if err := p.step(); err != nil {
		return nil, err
	}
	return func() {
		if p.step() != nil {
			return
		}
		p.mu.Lock()
		p.unlock = nil
		p.mu.Unlock()
		unlock()
	}, nil
}

func (p *process) Load(ctx context.Context, key string) ([]byte, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	return p.journal.Load(ctx, key)
}

func (p *process) Store(ctx context.Context, key string, record []byte) error {
	if err := p.step(); err != nil {
		return err
	}
	if err := p.journal.Store(ctx, key, record); err != nil {
		return err
	}
	return p.step()
}

func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	resp, err := p.service.RoundTrip(req)
	if dead := p.step(); dead != nil {
		return nil, dead
	}
	return resp, err
}

func (p *process) newClient(t *testing.T, opts ...Option) *CdnClient {
	t.Helper()
	client, err := NewCdnClient(append([]Option{
		WithAKSK("ak", "sk"), WithEndpoint("https://cdn.example.com"), WithHTTPClient(&http.Client{Transport: p}), WithJournal(p),
		WithListLag(6 * time.Second),
	}, opts...)...)
	require.NoError(t, err)
	return client
}

func requestOf(key string) *CreateExportTaskRequest {
	return &CreateExportTaskRequest{Action: ActionReportsDetail, DomainNames: []string{key}, StatType: StatTypeFlux}
}

// TestExport_once_per_key exports keys from several processes that die at random, on services with odd clocks, late
// lists and lost creates. No key has two tasks, and no process gets another key's task. An operator settles keys that
// are ambiguous, and may die as well. CDN_SEED and CDN_SEEDS are those of the properties, with 20 seeds by default.
//
// Left out is what the documentation of WithListLag and WithJournal leaves out: others who create tasks, and lists
// that are later than the lag.
func TestExport_once_per_key(t *testing.T) {
	first, seeds := setting(t, "CDN_SEED", 0), setting(t, "CDN_SEEDS", 20)
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { exportOncePerKey(t, seed) })
		})
	}
}

func exportOncePerKey(t *testing.T, seed uint64) {
	knobs := servicemodel.Draw(seed)
	knobs.Creates, knobs.Retention, knobs.EmptyRow = 0, 0, false
	knobs.List.Changes, knobs.Lookup.Changes = 0, 0
	knobs.WorkMin, knobs.WorkMax, knobs.Fails = time.Second, 20*time.Second, 0
	knobs.ListLag = min(knobs.ListLag, 2*time.Second) // with LostLate and List.Delay below the option
	knobs.List.Delay = min(knobs.List.Delay, time.Second)
	t.Log(knobs)
	// A list that proves nothing is read again each minute. An hour of that shows what there is to see.
	limit := time.Hour
	if isCountable(knobs) {
		limit = 24 * time.Hour
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := &onceService{Service: servicemodel.New(knobs), journal: newMemoryJournal(), operator: make(chan struct{}, 1)}
	s.Fill(int(seed % 7 * 40))
	chance := rand.New(rand.NewPCG(seed, 3))
	tasks := make([]map[string]string, 3)
	var group sync.WaitGroup
	for i := range tasks {
		tasks[i] = make(map[string]string)
		own := rand.New(rand.NewPCG(chance.Uint64(), 4))
		group.Go(func() { s.exportAll(ctx, t, own, tasks[i]) })
	}
	group.Wait()
	owners := make(map[string]string)
	for _, key := range onceKeys {
		created := s.CreatedBy(key)
		require.LessOrEqual(t, len(created), 1, "key %s has two tasks", key)
		if len(created) == 1 {
			owners[key] = created[0]
		}
	}
	for _, got := range tasks {
		for key, task := range got {
			require.Equal(t, owners[key], task, "key %s has another's task", key)
		}
		if isCountable(knobs) {
			require.Len(t, got, len(onceKeys), "nothing is in its way, but a key has no task")
		}
	}
}

// isCountable reports whether the pages and totals of a list prove that a reading is whole.
func isCountable(k servicemodel.Knobs) bool {
	isShuffled := k.Stamps == servicemodel.Equal || k.Ties == servicemodel.TiesShuffled
	return k.TotalOff == 0 && k.TotalLag == 0 && k.PageCap == 0 && !isShuffled
}

var onceKeys = []string{"one", "two", "three", "four"}

// onceService is a service, and the journal of its account.
type onceService struct {
	*servicemodel.Service
	journal  *memoryJournal
	operator chan struct{} // a semaphore
}

// exportAll exports all keys, in processes that die after some steps until one gets through or ctx ends.
func (s *onceService) exportAll(ctx context.Context, t *testing.T, chance *rand.Rand, tasks map[string]string) {
	for kills := chance.IntN(10); kills >= 0 && len(tasks) < len(onceKeys) && ctx.Err() == nil; kills-- {
		p := &process{journal: s.journal, service: s}
		if kills > 0 {
			p.killAt = 1 + chance.IntN(60)
		}
		client := p.newClient(t)
		for attempt := 0; attempt < 60 && len(tasks) < len(onceKeys) && !p.dead() && ctx.Err() == nil; attempt++ {
			key := onceKeys[chance.IntN(len(onceKeys))]
			got, err := s.export(ctx, client, key)
			switch {
			case p.dead():
			case err == nil:
				tasks[key] = got.task.TaskID
			case errors.Is(err, ErrAmbiguousExport):
				s.settle(client, key)
			case errors.Is(err, ErrInvalidParameter):
				t.Errorf("key %s: %v", key, err)
				return
			}
		}
		client.CloseIdleConnections()
	}
}

func (s *onceService) export(ctx context.Context, client *CdnClient, key string) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return client.journal.export(ctx, requestOf(key), key)
}

// settle does what an operator does who knows which task is the key's, one operator at a time. An operator frees a key
// only when no request of it can arrive any more.
func (s *onceService) settle(client *CdnClient, key string) {
	s.operator <- struct{}{}
	defer func() { <-s.operator }()
	stored, _ := s.journal.Load(context.Background(), keyPrefix+key)
	if record, err := decodeKeyRecord(stored); err != nil || record.State != stateAmbiguous {
		return
	}
	created := s.CreatedBy(key)
	if len(created) == 0 {
		time.Sleep(20 * time.Minute)
		created = s.CreatedBy(key)
	}
	_ = client.SettleExport(context.Background(), key, strings.Join(created, " "))
}
