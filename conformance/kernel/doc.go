// Package kernel plays .pkt scripts against the Linux kernel: a tun device is the
// wire, the kernel's own sockets are the stack, and time is real. What a script of
// ours expects is thereby proven on Linux first.
//
// Each script has a network namespace of its own, made by the thread that plays it
// and gone when that ends: no sysctl, connection in TIME-WAIT or cached metric is
// handed on, and scripts may be played side by side. The namespace begins with
// Linux's documented defaults, whatever the machine's administrator has changed, and
// the device carries large segments as an Ethernet card with segmentation offload
// does.
//
// Making a namespace takes CAP_SYS_ADMIN: an ordinary user's process starts itself
// again in a user namespace first (package netns).
//
// It runs on Linux on amd64 and arm64; elsewhere [Play] returns [ErrUnavailable].
package kernel

import "errors"

// ErrUnavailable says that this machine cannot play scripts against its kernel.
var ErrUnavailable = errors.New("the kernel player needs Linux on amd64 or arm64, /dev/net/tun, and the right to make a network namespace")
