package tap

import "github.com/songgao/water"

// waterParams names the adapter; an empty name takes the first one.
func waterParams(name string) (water.PlatformSpecificParams, string) {
	return water.PlatformSpecificParams{ComponentID: "tap0901", InterfaceName: name},
		"Windows needs OpenVPN's tap driver, and the name is the adapter's in the control panel"
}
