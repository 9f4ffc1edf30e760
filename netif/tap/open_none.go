//go:build !linux && !darwin && !windows

package tap

import (
	"errors"
	"runtime"
)

// open has no driver here: neither /dev/net/tun nor a port of water.
func open(*Config) (*Device, error) {
	return nil, errors.New("tap: there is no tap driver for " + runtime.GOOS + ": Linux, macOS and Windows have one")
}
