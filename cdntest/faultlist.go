package cdntest

import (
	"net/http"
	"slices"
	"sync"
)

// faultList holds the injected faults in order.
type faultList struct {
	mu     sync.Mutex
	faults []*injected
}

// injected is a fault and the number of requests that will still meet it. A negative number means all.
type injected struct {
	Fault
	left int
}

func (l *faultList) add(f Fault) {
	left := f.Times
	if left == 0 {
		left = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, &injected{f, left})
}

func (l *faultList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		f.left = 0 // a request may be reading a copy of the list
	}
	l.faults = nil
}

// take returns the fault for r and counts it. It calls Match without the lock, so Match can call the server.
func (l *faultList) take(r *http.Request) (Fault, bool) {
	for _, f := range l.copy() {
		if f.Match != nil && !f.Match(r) {
			continue
		}
		if l.use(f) {
			return f.Fault, true
		}
	}
	return Fault{}, false
}

func (l *faultList) copy() []*injected {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.faults)
}

// use counts one request. It reports false if others have used the fault up.
func (l *faultList) use(f *injected) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.left == 0 {
		return false
	}
	if f.left > 0 {
		f.left--
	}
	if f.left == 0 {
		l.faults = slices.DeleteFunc(l.faults, func(other *injected) bool { return other == f })
	}
	return true
}
