package movinglist

import "math"

// A Pass reads a list once, from an offset downwards. The caller reads pages until it has seen enough or
// Ended is set.
type Pass[T any] struct {
	// Present is the time, in milliseconds. It matters for a first page that is shorter than the limit and as long as
	// the total. That page is the end of the list, unless its first change is younger than Skew: the total may be older
	// than the rows.
	Present int64

	Ended      bool  // whether the last page was the end of the list
	Moved      bool  // whether rows moved between two pages
	Disordered bool  // whether stamps were out of order, or equal where two pages meet
	Shuffled   bool  // whether equal stamps came in another order
	Total      int   // the total of the last page
	End        int   // the position after the last row that was read
	Low        int64 // the stamp of the last row of the last page
	Bound      int64 // rows with lower stamps have not moved during the pass
	Fits       bool  // whether the last page fitted, so that no unread row can stand above it
	Longest    int   // the length of the longest page
	Barren     int   // how many pages in a row had only rows that the pass had read before

	fetch   Fetch[T]
	limit   int
	read    map[string]int64 // the stamps of the rows that were read
	head    int64            // the stamp of the first row
	offset  int              // of the next page
	overlap int              // how many rows of the next page the last one should have shown
	last    Row[T]           // the last row of the last page
	next    string           // the id of the row with which the next page should begin
	pages   int
	step    int // the length of the last step back, in rows; 0 after a page that fits
	backs   int // how many steps back there were
}

// maxBacks is how often a pass steps back. After that it takes pages as they come.
const maxBacks = 8

// NewPass returns a pass that begins at offset and requests pages of at most limit rows.
func NewPass[T any](fetch Fetch[T], offset, limit int) *Pass[T] {
	return &Pass[T]{fetch: fetch, limit: limit, offset: offset, read: make(map[string]int64), Low: NoStamp, Bound: NoStamp, Present: math.MaxInt64}
}

// Next requests one page and returns its rows, of which the pass may have returned some before.
func (p *Pass[T]) Next() ([]Row[T], error) {
	page, err := p.fetch(p.offset)
	if err != nil {
		return nil, err
	}
	if p.pages == 0 {
		p.begin(page)
	} else if page.Total != p.Total {
		p.Moved = true
	}
	p.Total = page.Total
	p.pages++
	expected, anchored := p.fits(page.Rows)
	p.Moved = p.Moved || !expected
	p.Fits = anchored
	fresh := p.note(page.Rows)
	if !anchored && p.backs < maxBacks {
		p.stepBack()
		return page.Rows, nil
	}
	p.step = 0
	p.advance(page.Rows, fresh)
	return page.Rows, nil
}

func (p *Pass[T]) begin(page Page[T]) {
	if len(page.Rows) == 0 {
		return
	}
	p.head = page.Rows[0].Stamp
	p.Bound = page.Rows[len(page.Rows)-1].Stamp
	p.Bound = min(p.Bound, p.Present-Skew)
	if p.head > NoStamp+Skew {
		p.Bound = min(p.Bound, p.head-Skew)
	}
}

// fits reports whether a page begins as expected, and whether no unread row can stand above it.
func (p *Pass[T]) fits(rows []Row[T]) (expected, anchored bool) {
	if p.pages == 1 {
		return true, true
	}
	if p.overlap == 0 {
		return p.goesOn(rows), true
	}
	if len(rows) == 0 {
		return false, false
	}
	first := rows[0]
	if first.ID == p.next {
		return true, true
	}
	if first.Stamp == p.last.Stamp {
		p.Disordered, p.Shuffled = true, true
		return true, true
	}
	return false, p.has(first) || first.Stamp > p.head
}

// goesOn reports whether a page continues where the last one ended, though the two do not overlap. It does not if its
// first row was read before and was pushed down. A row with the stamp of the last row may only be in another order.
func (p *Pass[T]) goesOn(rows []Row[T]) bool {
	if len(rows) == 0 || !p.has(rows[0]) {
		p.Disordered = p.Disordered || len(rows) > 0 && rows[0].Stamp == p.last.Stamp
		return true
	}
	if rows[0].Stamp == p.last.Stamp {
		p.Disordered, p.Shuffled = true, true
		return true
	}
	return false
}

// has reports whether the pass has read the row as it is.
func (p *Pass[T]) has(row Row[T]) bool {
	stamp, ok := p.read[row.ID]
	return ok && stamp == row.Stamp
}

// note remembers the rows. It reports whether the pass had not read them all.
func (p *Pass[T]) note(rows []Row[T]) (fresh bool) {
	for i, row := range rows {
		fresh = fresh || !p.has(row)
		p.read[row.ID] = row.Stamp
		if i > 0 && row.Stamp > rows[i-1].Stamp {
			p.Disordered = true
		}
	}
	if fresh {
		p.Barren = 0
	} else {
		p.Barren++
	}
	p.Longest = max(p.Longest, len(rows))
	return fresh
}

// stepBack sets the offset back, each time twice as far.
func (p *Pass[T]) stepBack() {
	p.backs++
	p.step = max(2*p.step, p.Longest)
	p.offset = max(0, p.offset-p.step)
	if p.offset == 0 {
		p.overlap = 0
	}
}

// advance sets the offset of the next page, or ends the pass.
func (p *Pass[T]) advance(rows []Row[T], fresh bool) {
	p.End = p.offset + len(rows)
	if len(rows) == 0 {
		p.Ended = true
		return
	}
	p.last = rows[len(rows)-1]
	p.Low = p.last.Stamp
	short := len(rows) < p.Longest || p.pages == 1 && len(rows) < p.limit && p.head < p.Present-Skew
	if p.End == p.Total && short || p.End >= p.Total && !fresh {
		p.Ended = true
		return
	}
	p.overlap = overlapOf(rows)
	p.next = rows[len(rows)-max(1, p.overlap)].ID
	if len(rows) > 1 && rows[len(rows)-2].Stamp == p.last.Stamp {
		p.Disordered = true
	}
	if len(rows) == p.overlap || !fresh {
		p.overlap = 0 // no progress: the list ends before its total says
	}
	p.offset = p.End - p.overlap
}

// overlapOf returns how many rows of a page the next page should show again: those with the last stamp,
// which may come in another order there, or one if they are more than half of the page.
func overlapOf[T any](rows []Row[T]) int {
	if len(rows) == 1 {
		return 0
	}
	last := rows[len(rows)-1].Stamp
	n := 0
	for n < len(rows) && rows[len(rows)-1-n].Stamp == last {
		n++
	}
	if n > len(rows)/2 {
		return 1
	}
	return n
}
