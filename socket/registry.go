package socket

import (
	"runtime"
	"sync"
	"weak"
)

// registry remembers what is open without keeping it alive: a weak pointer each,
// removed when the object is collected. Objects that the application closed
// itself stay until then, which costs an entry and no descriptor.
type registry struct {
	mu     sync.Mutex
	closed bool
	next   uint64
	// closers end what they point at if it still exists.
	closers map[uint64]func()
}

// track adds v, to be ended by end when the registry closes. When it is closed
// already, track ends v at once and returns false.
func track[T any](r *registry, v *T, end func(*T)) bool {
	w := weak.Make(v)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		end(v)
		return false
	}
	r.next++
	id := r.next
	if r.closers == nil {
		r.closers = make(map[uint64]func())
	}
	r.closers[id] = func() {
		if v := w.Value(); v != nil {
			end(v)
		}
	}
	r.mu.Unlock()
	runtime.AddCleanup(v, r.forget, id)
	return true
}

func (r *registry) forget(id uint64) {
	r.mu.Lock()
	delete(r.closers, id)
	r.mu.Unlock()
}

func (r *registry) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// close ends everything once; it returns false if that has been done.
func (r *registry) close() bool {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return false
	}
	r.closed = true
	closers := r.closers
	r.closers = nil
	r.mu.Unlock()
	for _, end := range closers {
		end()
	}
	return true
}
