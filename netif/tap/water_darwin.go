package tap

import "github.com/songgao/water"

// waterParams chooses the kernel extension: the system's own utun has no Ethernet.
func waterParams(name string) (water.PlatformSpecificParams, string) {
	if name == "" {
		name = "tap0"
	}
	return water.PlatformSpecificParams{Name: name, Driver: water.MacOSDriverTunTapOSX},
		"macOS needs a tap kernel extension, such as tuntaposx"
}
