//go:build !linux

package packet

import (
	"errors"
	"runtime"
)

// open has no driver here: packet sockets are Linux's.
func open(*Config) (*Device, error) {
	return nil, errors.New("packet: there are no packet sockets on " + runtime.GOOS + ": only Linux has them")
}
