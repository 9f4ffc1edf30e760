// Package direct plays .pkt scripts against our own stack (the module's package
// direct) in virtual time. Its device is an IP-level wire that keeps what the stack
// sends and hands over what the script injects; large segments pass whole, as they do
// over an Ethernet card with segmentation offload and over the kernel player's device.
//
// # Time
//
// Nothing sleeps. The stack is polled by hand (Config.Manual) and asks for the time
// from a clock that only the player moves: to the next timer of the stack, or to the
// next event of the script, whichever is earlier. When both are due at one instant the
// script's event comes first, as it does in a kernel, whose timers expire at the next
// tick or later. Each packet of the remote host takes a microsecond, so that no round
// trip is zero. A run is therefore the same on every machine and as fast as the stack
// computes, and one that hangs is over after a bounded number of steps.
//
// # System calls
//
// The stack's sockets never block. A call that a script lets block, or that blocks by
// mistake, runs as a coroutine: while it would block it is suspended, and it tries
// again after each step of the stack. One thing runs at a time, always, and no lock or
// channel of the host decides an order.
package direct
