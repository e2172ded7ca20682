package cdn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
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
// lists and lost creates. Each key has one task in the end, and each process gets that one.
func TestExport_once_per_key(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 15
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { exportOncePerKey(t, seed) })
		})
	}
}

func exportOncePerKey(t *testing.T, seed uint64) {
	knobs := servicemodel.Draw(seed)
	// Others create nothing, and nothing is removed: that makes exports ambiguous, and other tests are for it.
	knobs.Every, knobs.Retention, knobs.EmptyRow = 0, 0, false
	knobs.List.Changes, knobs.Lookup.Changes = 0, 0
	knobs.WorkMin, knobs.WorkMax, knobs.Fails = time.Second, 20*time.Second, 0
	knobs.ListLag = min(knobs.ListLag, 2*time.Second) // with LostLate and List.Delay below the option
	knobs.List.Delay = min(knobs.List.Delay, time.Second)
	knobs.TotalOff = max(0, knobs.TotalOff) // with too small a total, no reading is known to be whole
	fill := int(seed % 7 * 40)
	if knobs.Ties == servicemodel.TiesShuffled || knobs.Stamps == servicemodel.Equal {
		// Pages that are shuffled again for each request have no whole.
		knobs.PageCap, fill = 0, min(fill, 80)
	}
	if knobs.PageCap > 0 {
		knobs.TotalLag = 0 // a total of 0 would end the list after the first short page
	}
	if knobs.Order == servicemodel.ByChange {
		knobs.Future = 0 // an old task with such a stamp is as a new one, wherever it is
	}
	t.Log(knobs)
	service := servicemodel.New(knobs)
	service.Fill(fill)
	journal := newMemoryJournal()
	chance := rand.New(rand.NewPCG(seed, 3))
	keys := []string{"one", "two", "three", "four"}
	tasks := make([]map[string]string, 3)
	var group sync.WaitGroup
	for i := range tasks {
		tasks[i] = make(map[string]string)
		own := rand.New(rand.NewPCG(chance.Uint64(), 4))
		group.Go(func() { exportAll(t, journal, service, own, keys, tasks[i]) })
	}
	group.Wait()
	owners := make(map[string]string)
	for _, task := range service.Tasks() {
		if task.Owner != "" {
			require.Empty(t, owners[task.Owner], "a second task of key %s", task.Owner)
			owners[task.Owner] = task.ID
		}
	}
	for _, got := range tasks {
		require.Equal(t, owners, got)
	}
}

// exportAll exports all keys, in processes that die after some steps until one gets through.
func exportAll(t *testing.T, journal *memoryJournal, service http.RoundTripper, chance *rand.Rand, keys []string, tasks map[string]string) {
	var last error
	for kills := chance.IntN(10); len(tasks) < len(keys); kills-- {
		p := &process{journal: journal, service: service}
		if kills > 0 {
			p.killAt = 1 + chance.IntN(60)
		}
		client := p.newClient(t)
		for attempt := 0; len(tasks) < len(keys) && !p.dead(); attempt++ {
			if attempt > 200 {
				t.Errorf("no end: %v, %v", slices.Collect(maps.Keys(tasks)), last)
				return
			}
			key := keys[chance.IntN(len(keys))]
			got, err := client.journal.export(context.Background(), requestOf(key), key)
			last = err
			switch {
			case p.dead():
			case err == nil:
				tasks[key] = got.task.TaskID
			case errors.Is(err, ErrAmbiguousExport), errors.Is(err, ErrInvalidParameter):
				t.Errorf("key %s: %v", key, err)
				return
			}
		}
		client.CloseIdleConnections()
	}
}
