package direct

import (
	"net/netip"
	"slices"
	"syscall"
)

// binding is an address that a Socket holds between Bind and Listen or Connect.
type binding struct {
	addr  netip.AddrPort
	reuse bool // SO_REUSEADDR or SO_REUSEPORT: shared with those who have it, too
	owner *Socket
}

// bind reserves an address for a socket; port 0 is replaced. The socket's lock is
// held.
func (l *listeners) bind(k *Socket, a netip.AddrPort, first uint32) (netip.AddrPort, syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reuse := k.opt.reuseAddr || k.opt.reusePort
	free := func(a netip.AddrPort) bool {
		if a.Addr().IsUnspecified() {
			return l.ports[a.Port()] == 0 && (reuse || l.dialedPorts[a.Port()] == 0) && !l.held(a, k, reuse)
		}
		return !l.listened(a) && (reuse || l.dialed[a] == 0) && !l.held(a, k, reuse)
	}
	if a.Port() == 0 {
		for i := range ephemeralCount {
			if b := netip.AddrPortFrom(a.Addr(), ephemeral(first, i)); free(b) {
				a = b
				break
			}
		}
	}
	if a.Port() == 0 || !free(a) {
		return a, syscall.EADDRINUSE
	}
	l.bound[a.Port()] = append(l.bound[a.Port()], binding{a, reuse, k})
	return a, 0
}

// unbind gives k's address up, if it holds one.
func (l *listeners) unbind(k *Socket, port uint16) {
	list := l.bound[port]
	if i := slices.IndexFunc(list, func(b binding) bool { return k != nil && b.owner == k }); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(l.bound, port)
	} else {
		l.bound[port] = list
	}
}

// held reports whether another socket than k holds a or an address that includes
// it, and does not share it.
func (l *listeners) held(a netip.AddrPort, k *Socket, reuse bool) bool {
	for _, b := range l.bound[a.Port()] {
		overlap := b.addr.Addr() == a.Addr() || b.addr.Addr().IsUnspecified() || a.Addr().IsUnspecified()
		if overlap && (k == nil || b.owner != k) && !(reuse && b.reuse) {
			return true
		}
	}
	return false
}
