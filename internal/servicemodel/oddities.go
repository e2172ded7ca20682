package servicemodel

import (
	"slices"
	"time"
)

// Oddity changes the response p to the list or look-up r. all is the whole list as a read shows it now.
type Oddity func(r Request, all []Row, p *Page)

// Odd has f change each list and look-up from now on. nil ends that. f must not call the service.
func (s *Service) Odd(f Oddity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd = f
}

// Oddities returns the ways in which a service may break the rules of a list, by what such a service does.
func Oddities() map[string]Oddity {
	began, responses := time.Now(), 0
	return map[string]Oddity{
		"ignores the offset":                 ofLists(func(r Request, all []Row, p *Page) { p.Data = cut(all, 0, r.Limit) }),
		"takes the offset for a page number": ofLists(func(r Request, all []Row, p *Page) { p.Data = cut(all, r.Offset*r.Limit, r.Limit) }),
		"ignores the limit":                  ofLists(func(r Request, all []Row, p *Page) { p.Data = cut(all, r.Offset, len(all)) }),
		"always returns the whole list":      ofLists(func(_ Request, all []Row, p *Page) { p.Data = all }),
		"sorts the oldest first": ofLists(func(r Request, all []Row, p *Page) {
			slices.Reverse(all)
			p.Data = cut(all, r.Offset, r.Limit)
		}),
		"repeats each row": ofLists(func(_ Request, _ []Row, p *Page) {
			var twice []Row
			for _, row := range p.Data {
				twice = append(twice, row, row)
			}
			p.Data = twice
		}),
		"drops the last row of a page": ofLists(func(_ Request, _ []Row, p *Page) { p.Data = p.Data[:max(0, len(p.Data)-1)] }),
		"gives two rows one id": ofLists(func(_ Request, _ []Row, p *Page) {
			if len(p.Data) > 1 {
				p.Data[1].TaskID = p.Data[0].TaskID
			}
		}),

		"counts the page only":              ofLists(func(_ Request, _ []Row, p *Page) { p.Total = len(p.Data) }),
		"counts what is left":               ofLists(func(r Request, all []Row, p *Page) { p.Total = max(0, len(all)-r.Offset) }),
		"says that there are none":          ofLists(func(_ Request, _ []Row, p *Page) { p.Total = 0 }),
		"says that there are 1,000,000,000": ofLists(func(_ Request, _ []Row, p *Page) { p.Total = 1_000_000_000 }),
		"says that there are -1":            ofLists(func(_ Request, _ []Row, p *Page) { p.Total = -1 }),

		"ignores the filter":    ofLookUps(func(r Request, all []Row, p *Page) { *p = Page{len(all), cut(all, 0, r.Limit)} }),
		"looks up another task": ofLookUps(func(_ Request, all []Row, p *Page) { *p = Page{1, cut(all, 0, 1)} }),
		"looks up several tasks": ofLookUps(func(r Request, all []Row, p *Page) {
			p.Data = append(slices.DeleteFunc(cut(all, 0, 3), func(row Row) bool { return row.TaskID == r.ID }), p.Data...)
			p.Total = len(p.Data)
		}),
		"counts a task that it does not show": ofLookUps(func(_ Request, _ []Row, p *Page) { *p = Page{1, []Row{}} }),
		"is empty for a minute": func(_ Request, _ []Row, p *Page) {
			if time.Since(began)/time.Minute%5 == 4 {
				*p = Page{0, []Row{}}
			}
		},

		"has a time of change of 0 for a waiting task": func(_ Request, _ []Row, p *Page) {
			for i, row := range p.Data {
				if row.Status == "waiting" {
					p.Data[i].UpdateTime = new(int64)
				}
			}
		},
		"has times of 0":        times(func(int64) int64 { return 0 }),
		"has negative times":    times(func(int64) int64 { return -5 }),
		"has times beyond 2100": times(func(int64) int64 { return 9_000_000_000_000_000 }),
		"has times in seconds":  times(func(ms int64) int64 { return ms / 1000 }),
		"is 8 hours behind in each second response": func(r Request, all []Row, p *Page) {
			if responses++; responses%2 == 0 {
				times(func(ms int64) int64 { return ms - (8 * time.Hour).Milliseconds() })(r, all, p)
			}
		},
	}
}

func ofLists(f Oddity) Oddity { return of(List, f) }

func ofLookUps(f Oddity) Oddity { return of(Lookup, f) }

func of(kind Kind, f Oddity) Oddity {
	return func(r Request, all []Row, p *Page) {
		if r.Kind == kind {
			f(r, all, p)
		}
	}
}

// times returns the oddity of a service whose times are f of the true ones.
func times(f func(ms int64) int64) Oddity {
	return func(_ Request, _ []Row, p *Page) {
		for i, row := range p.Data {
			for _, ms := range []**int64{&row.CreateTime, &row.UpdateTime} {
				if *ms != nil {
					*ms = new(f(**ms))
				}
			}
			p.Data[i] = row
		}
	}
}

// cut returns up to n rows from offset on.
func cut(rows []Row, offset, n int) []Row {
	offset = min(offset, len(rows))
	return slices.Clone(rows[offset:min(offset+n, len(rows))])
}
