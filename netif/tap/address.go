//go:build linux || darwin || windows

package tap

import (
	"fmt"
	"net"

	"github.com/netduet/netduet/netif"
)

// settleMAC returns our address: the one wanted, or one derived from the machine
// and the interface.
func settleMAC(want netif.MAC, name string, kernel netif.MAC) (netif.MAC, error) {
	if want == (netif.MAC{}) {
		return deriveMAC(machineID(), name, kernel), nil
	}
	if want == kernel {
		return want, fmt.Errorf("tap: %v is the kernel's own address on %s: the two ends of a tap need two addresses", net.HardwareAddr(want[:]), name)
	}
	return want, nil
}
