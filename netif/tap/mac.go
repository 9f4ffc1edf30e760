package tap

import (
	"crypto/sha256"

	"github.com/netduet/netduet/netif"
)

// deriveMAC returns our address on the interface called name: a hash of the
// machine's identity and the name, so that it is the same after a restart and
// neighbours need not learn a new one. The identity is only used inside a hash, as
// machine-id(5) asks. kernel is the address of the kernel's end, which ours must
// differ from.
func deriveMAC(machine, name string, kernel netif.MAC) netif.MAC {
	sum := sha256.Sum256([]byte("netduet tap address\x00" + machine + "\x00" + name))
	var mac netif.MAC
	copy(mac[:], sum[:])
	mac[0] = mac[0]&^1 | 2 // one station's, locally administered (IEEE 802, section 8.2)
	if mac == kernel {
		mac[5] ^= 1
	}
	return mac
}
