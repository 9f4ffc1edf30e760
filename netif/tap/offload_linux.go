package tap

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// What TUNSETOFFLOAD takes (linux/if_tun.h): what the kernel may leave undone in
// frames that it hands over. UDP segmentation came with Linux 6.2, both versions
// at once, and one alone is refused.
const (
	tunTCP = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	tunAll = tunTCP | unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// settleOffloads tells the kernel what it may leave to us and returns what to
// announce. The setting belongs to the interface and outlives whoever made it, so
// it is made either way: without that, a plain user of a persistent tap would get
// the large frames of the user before.
func settleOffloads(fd int, k *kernelTap, want Offload) (netif.Offloads, error) {
	if k.hdr == 0 || want == OffloadOff {
		if k.hdr == 0 && want == OffloadOn {
			return 0, fmt.Errorf("tap: %s was opened without the virtio header that offloads need: open it with IFF_VNET_HDR, or do without them", k.name)
		}
		if err := setOffloads(fd, 0); err != nil {
			return 0, fmt.Errorf("tap: switching the offloads of %s off: %w", k.name, err)
		}
		return 0, nil
	}
	// That the kernel takes large frames of us needs the header and no setting: it is
	// about the other direction. But it has UDP's in neither or in both.
	const tcp = netif.TxChecksum | netif.TxTSO4 | netif.TxTSO6 | netif.RxChecksum | netif.RxGSO
	err := setOffloads(fd, tunAll)
	if err == nil {
		return tcp | netif.TxUSO, nil
	}
	if errors.Is(err, unix.EINVAL) {
		err = setOffloads(fd, tunTCP)
	}
	if err != nil {
		return 0, fmt.Errorf("tap: switching the offloads of %s on: %w", k.name, err)
	}
	return tcp, nil
}

func setOffloads(fd, flags int) error {
	for {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, flags); err != unix.EINTR {
			return err
		}
	}
}

// hasHeader reports whether this kernel's taps can have the virtio header.
func hasHeader() bool {
	fd, err := openTun()
	if err != nil {
		return true // who opens next says what is wrong
	}
	defer unix.Close(fd)
	features, err := unix.IoctlGetInt(fd, unix.TUNGETFEATURES)
	return err == nil && features&unix.IFF_VNET_HDR != 0
}
