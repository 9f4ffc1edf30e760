// Package devices turns a device string, as flags and the environment carry it,
// into an open device:
//
//	tap:tap0                          the tap of that name, joined or made
//	tap:tap%d                         a new tap that the kernel numbers
//	tap:tap0?driver=water             by songgao/water instead of the native driver
//	tap:tap0?queues=2&persist=1
//	tap:tap0?offload=0                complete frames within the MTU only
//	fd:3                              an inherited descriptor of a tap
//	fd:3,4                            two queues of one tap
//	xen:0                             vif 0 of this Xen domain; xen:0?queues=2
//
// A tap has offloads (checksums left undone and frames of 64 KiB, both ways) if the
// kernel gives them, or the inherited descriptor has the virtio header: offload=0
// does without, offload=1 refuses to. For tap: vnet=0 means offload=0, and vnet=1
// keeps the header in either case.
//
// Every scheme also takes pcap=FILE, which records all frames of the device in a
// pcapng file, or in the inherited descriptor N when FILE is "fd:N".
//
// It links every driver that this platform has, so only package stack and programs
// import it; package direct takes a netif.Device and links none. What a platform
// does not have is an unknown scheme there. parse.go knows the syntax and no
// driver; open_*.go knows the schemes of a platform.
package devices

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/netduet/netduet/netif"
)

// Options is what applies to any device and has no place in the string. Zero
// values leave the choice to the driver.
type Options struct {
	// MAC is our hardware address.
	MAC netif.MAC
	// MTU is the largest IP packet in bytes.
	MTU int
	// Addrs are the IP addresses that the device will be used with, all of them. A
	// driver that shares an interface with others leaves packets to other addresses
	// to them.
	Addrs []netip.Addr
}

// opener opens a device whose parameters were understood.
type opener func(context.Context) (netif.Device, error)

// scheme opens the devices of one kind. It takes the parameters it knows out of s;
// Open refuses what is left over.
type scheme struct {
	name string
	// example is a string of the scheme, for messages.
	example string
	prepare func(s *spec, o Options) opener
}

// Open opens the device that the string describes. The context bounds the opening
// only. Nothing stays open when it fails; errors say in one line what to do.
func Open(ctx context.Context, device string, o Options) (netif.Device, error) {
	s, err := parse(device)
	if err != nil {
		return nil, err
	}
	known := schemes()
	for _, k := range known {
		if k.name != s.scheme {
			continue
		}
		pcap := s.text("pcap")
		open := k.prepare(s, o)
		if err := s.rest(); err != nil {
			return nil, err
		}
		return capture(ctx, pcap, open)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("device %q: no driver is built in on this platform: give the stack an open device instead", device)
	}
	var list []string
	for _, k := range known {
		list = append(list, k.example)
	}
	return nil, fmt.Errorf("device %q: unknown scheme %q: this platform has %s", device, s.scheme, enumerate(list))
}

// enumerate joins a list as a sentence does.
func enumerate(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " and " + list[last]
}
