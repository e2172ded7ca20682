// Package movinglist reads a list page by page while it changes.
//
// The list is sorted by time of change, newest first, and is read by offset. So offsets move under the
// reader: a row that is new or changes goes to the head and pushes the others down, a removed row pulls
// them up. Nothing is promised about the stamps either: they may be equal, out of order or in the future,
// and two requests may be served by replicas that disagree.
//
// # Why All misses nothing
//
// A [Pass] reads the list downwards in pages that overlap. A page fits if it begins with the row that ended
// the page before. A page that begins with a row of the pass shows that rows came in above it: nothing was
// skipped. A page that begins with an unknown row shows that rows above it were removed, and the pass steps
// back. So on a list in the order of its stamps a pass reads every row that stays as it is meanwhile.
//
// A row that changes during a pass is at the head afterwards. So after a pass in which something moved,
// [All] reads the head again, down to 10 s before the stamps that the pass began with. It repeats that
// until nothing moves; a head of one page is one moment of the list.
//
// Stamps that are equal or out of order break this argument, and so does a stale read. Therefore All counts
// too: it ends only if it has read as many ids as the list has rows. The count is a proof unless an id was
// counted whose row is gone. A row may be gone if the total fell, or is below the first total plus the rows
// that were created since. Then only ids count that are read after that. On an ordered list this happens
// three times at most, because there the first argument holds by itself.
//
// What remains: a row can be missed if stamps are equal over more than half a page, or a read is stale, and
// between the same two requests one row is removed and another is created with a stamp that is too low.
//
// # Why a reading of the head misses nothing
//
// A reading ends at a page whose lower half is old news: rows that the reader knows, with the same content.
// What is new or has changed stands above what has not, if its stamp is right; the patrol of the caller,
// which reads the whole list bit by bit, finds it if its stamp is wrong. An unknown row is new if its stamp
// is above the lowest stamp of the first reading, because that reading has read all there was above it.
// The first reading therefore goes on until 10 s below its head and below the present, since the clocks
// of a service's nodes differ by seconds. A first reading that reaches the end knows every row.
package movinglist

import "math"

// NoStamp is the stamp of a row that has none. It is older than all others.
const NoStamp = math.MinInt64

// A Row is one row of a page. Its ID is kept for as long as the list is read, so it should not share the
// memory of the page.
type Row[T any] struct {
	ID      string
	Stamp   int64 // the time of the last change, in milliseconds, or NoStamp
	Created int64 // the time of creation, in milliseconds, or NoStamp
	Value   T
}

// A Page is one response: the rows from an offset on, and how many rows the whole list has.
type Page[T any] struct {
	Rows  []Row[T]
	Total int
}

// Fetch requests the page at an offset. All pages have the same limit; the service may cap them.
type Fetch[T any] func(offset int) (Page[T], error)

// Skew is how far the clocks of a service's nodes may differ, in milliseconds.
const Skew = 10_000
