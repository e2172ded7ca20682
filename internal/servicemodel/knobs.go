package servicemodel

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"
)

// Order says how the service sorts a list.
type Order int

// The orders of a list.
const (
	ByStamp  Order = iota // by update_time, as the tasks show it
	ByChange              // by the moment of the change, whatever the stamps say
)

// Ties says how the service sorts tasks with equal stamps.
type Ties int

// The orders of equal stamps.
const (
	TiesNewestFirst Ties = iota
	TiesOldestFirst
	TiesShuffled // another order in each response
)

// Resolution says how exact stamps are.
type Resolution int

// The resolutions of stamps.
const (
	Milliseconds Resolution = iota
	Seconds
	Equal // every stamp is the moment at which the service began
)

// Replica says how far reads are behind. Each response comes from a replica of its own, from none to all
// of that behind.
type Replica struct {
	Changes int           // the most changes that a read may miss
	Delay   time.Duration // the greatest age of what a read shows
}

// Knobs are the ways in which a service differs from an ideal one. The zero value is the ideal service:
// one clock, exact totals, current reads, pages of 100, and no change that a test does not make.
// Chances are from 0 to 1.
type Knobs struct {
	Seed uint64

	// The clocks.
	Nodes   int           // nodes with a clock of their own; each change is stamped by one of them
	Skew    time.Duration // clocks are at most this far from the true time, to either side
	Future  float64       // the chance that a stamp is FutureBy ahead
	Stamps  Resolution
	Silent  float64 // the chance that a change of status keeps update_time
	NoStamp bool    // a new task has no update_time before its first change

	// The reads.
	Order    Order
	Ties     Ties
	ListLag  time.Duration // the longest time after which a new task shows in lists
	List     Replica
	Lookup   Replica
	PageCap  int           // the most tasks of a page; 0 is 100
	TotalLag time.Duration // the age of the totals
	TotalOff int           // what is added to each total

	// What others do to the account's tasks.
	Every     time.Duration // the mean time between two changes by others; 0 is never
	Changes   int           // how many changes others make at most; 0 is no limit
	Creates   int           // the weights of what they do
	Flips     int
	Removals  int
	Retention int // the most tasks that the service keeps; 0 is no limit
	// WorkMin and WorkMax bound the time from the creation of a task by a request to its final status.
	// A task never ends if both are 0.
	WorkMin, WorkMax time.Duration
	Fails            float64 // the chance that a task ends in fail

	// The failures.
	ListFails   float64       // of unfiltered lists
	LookupFails float64       // of lists with a task_id
	FailsFor    time.Duration // how long reads fail from the beginning; 0 is for ever
	FailsEvery  time.Duration // reads work and fail in turn for this long each; 0 is no turns
	EmptyRow    bool          // one row of each unfiltered list has no id
	Lost        float64       // the chance that a create is accepted and its response is lost
	LostLate    time.Duration // how much later than its request a lost create may take effect
	Dropped     float64       // the chance that a create is lost before the service accepts it
	Refused     float64       // the chance that a create is refused with a clear error
	NamesTask   bool          // the response to a create names the task
	Latency     time.Duration // the longest time that a request takes before it is served, and after it
	Quota       Quota
}

// FutureBy is how far a stamp in the future is ahead.
const FutureBy = 48 * time.Hour

// Draw returns knobs for seed, all drawn together. Each knob is at its ideal value about half the time,
// so that single faults and combinations are both frequent. Latency is always there, Quota stays off.
func Draw(seed uint64) Knobs {
	d := drawer{rand.New(rand.NewPCG(seed, 0x6b6e6f6273))}
	k := Knobs{Seed: seed, Nodes: 1}
	d.clocks(&k)
	d.reads(&k)
	d.changes(&k)
	d.failures(&k)
	return k
}

type drawer struct{ *rand.Rand }

// maybe reports true with a chance of one in n.
func (d drawer) maybe(n int) bool { return d.IntN(n) == 0 }

// upTo returns a duration of whole milliseconds from 1 ms to longest.
func (d drawer) upTo(longest time.Duration) time.Duration {
	return time.Duration(1+d.Int64N(longest.Milliseconds())) * time.Millisecond
}

func (d drawer) clocks(k *Knobs) {
	if d.maybe(2) {
		k.Nodes, k.Skew = 2+d.IntN(3), d.upTo(5*time.Second)
	}
	if d.maybe(4) {
		k.Future = 0.02 + 0.2*d.Float64()
	}
	k.Stamps = []Resolution{Milliseconds, Milliseconds, Milliseconds, Seconds, Seconds, Equal}[d.IntN(6)]
	if d.maybe(2) {
		k.Silent = d.Float64()
	}
	k.NoStamp = d.maybe(4)
}

func (d drawer) reads(k *Knobs) {
	k.Order = Order(d.IntN(2))
	k.Ties = Ties(d.IntN(3))
	if d.maybe(2) {
		k.ListLag = d.upTo(3 * time.Second)
	}
	for _, replica := range []*Replica{&k.List, &k.Lookup} {
		if d.maybe(3) {
			replica.Changes = 1 + d.IntN(3)
		}
		if d.maybe(3) {
			replica.Delay = d.upTo(3 * time.Second)
		}
	}
	if d.maybe(3) {
		k.PageCap = []int{1, 2, 3, 5, 10, 20, 50}[d.IntN(7)]
	}
	if d.maybe(4) {
		k.TotalLag = d.upTo(5 * time.Second)
	}
	if d.maybe(6) {
		k.TotalOff = d.IntN(7) - 3
	}
}

func (d drawer) changes(k *Knobs) {
	if d.maybe(4) {
		return
	}
	k.Every = d.upTo([]time.Duration{200 * time.Millisecond, 2 * time.Second, 20 * time.Second}[d.IntN(3)])
	k.Changes = []int{5, 50, 500}[d.IntN(3)]
	k.Creates, k.Flips, k.Removals = d.IntN(4), 1+d.IntN(6), d.IntN(4)
	k.WorkMin = d.upTo(time.Minute)
	k.WorkMax = k.WorkMin + d.upTo(2*time.Minute)
	if d.maybe(3) {
		k.Fails = d.Float64()
	}
	if d.maybe(6) {
		k.Retention = 20 + d.IntN(200)
	}
}

func (d drawer) failures(k *Knobs) {
	if d.maybe(4) {
		k.ListFails = 0.3 * d.Float64()
	}
	if d.maybe(4) {
		k.LookupFails = 0.3 * d.Float64()
	}
	if d.maybe(4) {
		k.Lost = 0.3 * d.Float64()
		k.LostLate = d.upTo(2 * time.Second)
	}
	if d.maybe(4) {
		k.Dropped = 0.2 * d.Float64()
	}
	if d.maybe(4) {
		k.Refused = 0.2 * d.Float64()
	}
	k.NamesTask = d.maybe(6)
	// No request is free, or a reader that never pauses would see no time pass.
	k.Latency = d.upTo([]time.Duration{20 * time.Millisecond, 800 * time.Millisecond}[d.IntN(2)])
}

// String returns the knobs that are not at their ideal value, for the message of a failed test.
func (k Knobs) String() string {
	var parts []string
	for field, value := range reflect.ValueOf(k).Fields() {
		if !value.IsZero() {
			parts = append(parts, fmt.Sprintf("%s:%+v", field.Name, value))
		}
	}
	return strings.Join(parts, " ")
}
