//go:build !linux

package devxen

import (
	"errors"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Open fails: this platform has no /dev/xen.
func Open() (transport.Transport, error) {
	return nil, errors.New("xen: /dev/xen is Linux's: on another system hand over a transport of its own")
}

// Held reports whether the kernel drives a vif; here it does not.
func Held(int) error { return nil }
