// Package xen carries frames between Xen domains: Frontend is the end that a guest
// has, Backend the one of the domain that serves it (xen/io/netif.h). Both are
// netif.Devices.
//
// A Frontend speaks to Linux's netback as well as to Backend. A Backend makes a
// switch, router or firewall in Go that other domains plug into; it is also what
// the Frontend is tested against. Neither knows Linux: what they need of the
// hypervisor is package transport, in which there are devxen for Linux's /dev/xen
// and memory for tests.
//
// # How frames travel
//
// A Frontend grants pages once, when it connects, and copies frames into and out of
// them: the other end can change what we granted at any time, so nothing is looked
// at there, and nothing is granted that ever held anything else. What a Frontend
// transmits from is granted for reading only. A Backend has nothing granted; it
// copies by grant copies, which stay within a page and fail one by one.
//
// A frame takes as many slots as pages, at most 18, and all of them at once or none.
// Unfinished checksums and TCP segments larger than the MTU go as they are where the
// far end takes them; where it does not (that can change when a back end restarts),
// they are completed and cut here.
//
// # Multicast
//
// A Backend offers multicast control: a guest that requests it sees no frame to a
// group but those that it added, 64 at most. A Frontend never requests it. A
// netif.Device is not told which groups its user listens to, and a guest that asked
// without adding the solicited-node groups of its addresses (RFC 4861, section 7.2.2)
// would not be found by its IPv6 neighbours. It sees every group, as on a wire, and
// the stack drops what it has no use for.
//
// # Connection
//
// One goroutine for each device follows the xenbus states. A Frontend survives its
// back end: when that closes, crashes and is restarted, or changes after a
// migration, the link is down meanwhile (frames written are dropped, as on a wire)
// and the Frontend connects again by itself. What it had received is still read.
// When the vif is taken away the device is gone, and every call says so.
//
// # The other end
//
// Whatever comes from the other domain is checked: counts, ids, offsets, lengths and
// flags. One that breaks the ring's protocol is disconnected, and connected to again
// after a while; it can stall us, but not make us read outside a page, lose a page or
// send what is not ours to send.
//
// Locks: each direction of each queue has one; they are leaves, and no event is sent
// and no channel closed under them, since the other end's handler may run inside.
package xen
