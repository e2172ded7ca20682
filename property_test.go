package cdn

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/require"
)

// The properties in property_*_test.go draw all knobs of internal/servicemodel together, from a seed, and check what
// the package promises. CDN_SEEDS is the number of seeds of each property, 60 by default. CDN_SEED is the first one:
// CDN_SEED=4711 CDN_SEEDS=1 repeats one. The jitter of the client's pauses has no seed, so a rare failure may need
// several tries.

// defaultSeeds keeps `go test ./...` short.
const defaultSeeds = 60

// property is one seed of one property.
type property struct {
	t       *testing.T
	seed    uint64
	draw    *rand.Rand
	knobs   servicemodel.Knobs
	service *servicemodel.Service
	client  *CdnClient
	failed  *atomic.Int32 // of all seeds
}

// checkProperty runs check for each seed in a bubble of its own.
func checkProperty(t *testing.T, check func(p *property)) {
	t.Helper()
	first, seeds := setting(t, "CDN_SEED", 0), setting(t, "CDN_SEEDS", defaultSeeds)
	shards := uint64(runtime.GOMAXPROCS(0))
	var failed atomic.Int32
	for shard := range shards {
		t.Run(fmt.Sprintf("shard %d", shard), func(t *testing.T) {
			t.Parallel()
			for seed := first + shard; seed < first+seeds && failed.Load() < 20; seed += shards {
				t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						check(&property{
							t: t, seed: seed, failed: &failed,
							draw:  rand.New(rand.NewPCG(seed, 0x70726f70)),
							knobs: servicemodel.Draw(seed),
						})
					})
				})
			}
		})
	}
}

func setting(t *testing.T, name string, unset uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return unset
	}
	n, err := strconv.ParseUint(text, 10, 63)
	require.NoError(t, err, name)
	return n
}

// begin starts the service with the knobs as they are now, with up to tasks tasks, 20 pages at most.
func (p *property) begin(tasks, limit int, opts ...Option) {
	for _, most := range []int{limit, p.knobs.PageCap} {
		if most > 0 {
			tasks = min(tasks, 20*most)
		}
	}
	p.service = servicemodel.New(p.knobs)
	p.service.Fill(p.draw.IntN(tasks + 1))
	p.client = newTestClient(p.t, p.service, opts...)
	time.Sleep(time.Duration(p.draw.IntN(10_000)) * time.Millisecond)
}

// check reports a failure of this seed unless ok. The first one is enough.
func (p *property) check(ok bool, format string, args ...any) {
	p.t.Helper()
	if !ok && !p.t.Failed() {
		p.failed.Add(1)
		p.t.Errorf("seed %d: %s\n\tknobs: %v", p.seed, fmt.Sprintf(format, args...), p.knobs)
	}
}
