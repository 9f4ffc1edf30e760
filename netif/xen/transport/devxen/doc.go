// Package devxen is transport.Transport over what Linux offers programs in a Xen
// domain: /dev/xen/xenbus (the xenstore), evtchn (event channels), gntalloc (pages
// to grant) and, for back ends only, gntdev (pages granted to us). It needs neither
// cgo nor Xen's libraries, and no domain but its own.
//
// The devices belong to root (mode 0600); who gives others access to them gives them
// the domain's. The kernel cleans up after a process that ends, however it ends.
//
// Each event channel has a descriptor and, once it has a handler, a goroutine that
// sleeps in the runtime's poller. Reading a port masks it; it is written back, which
// unmasks it, before the handler looks at the rings, so that an event that comes
// meanwhile makes another one.
package devxen
