// Package fdqueue makes a netif.Queue of a non-blocking descriptor that carries
// frames: a tap, a packet socket. What differs between them, how a batch of frames
// is read and written, is a [Receiver] and a [Sender]; what they share is here:
// waiting through the runtime's poller, contexts that end a wait, telling when
// there is room again, and closing under all of it.
//
// It is not a driver: it knows no frame format, and opens nothing.
//
// Invariants: no goroutine exists but while a short Write waits for room; nothing
// is allocated per frame, batch or wake-up; a descriptor is never used after it
// was closed.
//
// It has content on Linux only.
package fdqueue
