package xen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/transport"
)

// state is a xenbus state (xen/io/xenbus.h).
type state int

const (
	stateUnknown      state = 0
	stateInitialising state = 1
	stateInitWait     state = 2
	stateInitialised  state = 3
	stateConnected    state = 4
	stateClosing      state = 5
	stateClosed       state = 6
)

func (s state) String() string {
	names := [...]string{"unknown", "Initialising", "InitWait", "Initialised", "Connected", "Closing", "Closed"}
	if s < 0 || int(s) >= len(names) {
		return strconv.Itoa(int(s))
	}
	return names[s]
}

// stateAt reads the state in a directory; what is not there or no number is
// unknown.
func stateAt(v transport.View, dir string) state {
	n, err := transport.ReadUint(v, dir+"/state", 8)
	if err != nil {
		return stateUnknown
	}
	return state(n)
}

func setState(v transport.View, dir string, s state) error {
	return v.Write(dir+"/state", strconv.Itoa(int(s)))
}

// exists reports whether a directory is there; an error of another kind than "not
// there" counts as there, since it says nothing.
func exists(v transport.View, dir string) bool {
	_, err := v.Read(dir)
	return !errors.Is(err, transport.ErrNotExist)
}

// Features is a set of what the two ends of a vif can agree on.
type Features uint16

const (
	// FeatureSG: frames of several slots, which large MTUs and segmentation need.
	FeatureSG Features = 1 << iota
	// FeatureTSO4, FeatureTSO6: TCP segments larger than the MTU.
	FeatureTSO4
	FeatureTSO6
	// FeatureChecksum4, FeatureChecksum6: unfinished checksums in IPv4, IPv6.
	FeatureChecksum4
	FeatureChecksum6
	// FeatureSplitEvents: an event channel for each direction.
	FeatureSplitEvents
	// FeatureQueues: more than one queue.
	FeatureQueues
)

// capsOf reads what the other end takes from its directory, less what we do not
// want to use.
func capsOf(v transport.View, dir string, without Features) caps {
	has := func(f Features, key string) bool { return without&f == 0 && transport.ReadFlag(v, dir+"/"+key) }
	c := caps{
		sg:        has(FeatureSG, "feature-sg"),
		checksum6: has(FeatureChecksum6, "feature-ipv6-csum-offload"),
		checksum4: without&FeatureChecksum4 == 0 && !transport.ReadFlag(v, dir+"/feature-no-csum-offload"),
	}
	c.tcp4 = c.sg && has(FeatureTSO4, "feature-gso-tcpv4")
	c.tcp6 = c.sg && has(FeatureTSO6, "feature-gso-tcpv6")
	return c
}

// featureKeys are the keys that say what we take, with their values; empty ones
// are removed.
func featureKeys(without Features) [][2]string {
	flag := func(on bool) string {
		if on {
			return "1"
		}
		return ""
	}
	sg := without&FeatureSG == 0
	return [][2]string{
		{"feature-sg", flag(sg)},
		{"feature-gso-tcpv4", flag(sg && without&(FeatureTSO4|FeatureChecksum4) == 0)},
		{"feature-gso-tcpv6", flag(sg && without&(FeatureTSO6|FeatureChecksum6) == 0)},
		{"feature-ipv6-csum-offload", flag(without&FeatureChecksum6 == 0)},
		{"feature-no-csum-offload", flag(without&FeatureChecksum4 != 0)},
	}
}

// receives is what our end must expect of received frames.
func receives(without Features) (o netif.Offloads) {
	if without&FeatureChecksum4 == 0 || without&FeatureChecksum6 == 0 {
		o |= netif.RxChecksum
	}
	if without&FeatureSG == 0 && (without&(FeatureTSO4|FeatureChecksum4) == 0 || without&(FeatureTSO6|FeatureChecksum6) == 0) {
		o |= netif.RxGSO
	}
	return o
}

// sends is what is worth handing to a device whose far end takes c.
func sends(c caps) (o netif.Offloads) {
	if c.checksum4 || c.checksum6 {
		o |= netif.TxChecksum
	}
	if c.tcp4 && c.checksum4 {
		o |= netif.TxTSO4
	}
	if c.tcp6 && c.checksum6 {
		o |= netif.TxTSO6
	}
	return o
}

// put writes keys below dir; those without a value are removed.
func put(v transport.View, dir string, keys [][2]string) error {
	for _, k := range keys {
		var err error
		if k[1] == "" {
			err = v.Remove(dir + "/" + k[0])
		} else {
			err = v.Write(dir+"/"+k[0], k[1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Vif says what a toolstack writes for a new vif.
type Vif struct {
	// Frontend and Backend are the two domains; they may be the same.
	Frontend, Backend transport.Domain
	// Index is the number of the vif in its guest.
	Index int
	// MAC is the guest's address.
	MAC netif.MAC
	// MTU is the largest IP packet; 1500 if zero.
	MTU int
	// Bridge names the bridge for the back end's hotplug script, if it has one.
	Bridge string
}

// FrontendPath returns the directory of the guest's end in the xenstore.
func (c Vif) FrontendPath() string {
	return fmt.Sprintf("/local/domain/%d/device/vif/%d", c.Frontend, c.Index)
}

// BackendPath returns the directory of the other end.
func (c Vif) BackendPath() string {
	return fmt.Sprintf("/local/domain/%d/backend/vif/%d/%d", c.Backend, c.Frontend, c.Index)
}

// Plug writes what makes both ends find a new vif, as a toolstack does, in one
// transaction: a back end looks as soon as it sees the first key. The store must
// be domain 0's.
func (c Vif) Plug(s transport.Store) error {
	mtu := c.MTU
	if mtu == 0 {
		mtu = 1500
	}
	front, back := c.FrontendPath(), c.BackendPath()
	mac := net.HardwareAddr(c.MAC[:]).String()
	handle := strconv.Itoa(c.Index)
	return transport.Update(s, func(v transport.View) error {
		if err := v.Remove(front); err != nil {
			return err
		}
		if err := v.Remove(back); err != nil {
			return err
		}
		if err := put(v, front, [][2]string{
			{"backend", back}, {"backend-id", strconv.Itoa(int(c.Backend))}, {"handle", handle},
			{"mac", mac}, {"mtu", strconv.Itoa(mtu)}, {"state", "1"},
		}); err != nil {
			return err
		}
		return put(v, back, [][2]string{
			{"frontend", front}, {"frontend-id", strconv.Itoa(int(c.Frontend))}, {"handle", handle},
			{"mac", mac}, {"mtu", strconv.Itoa(mtu)}, {"online", "1"}, {"type", "vif"}, {"script", "none"},
			{"bridge", c.Bridge}, {"state", "1"},
		})
	})
}

// Unplug takes a vif away at once, as a toolstack does when it is forced to.
func (c Vif) Unplug(s transport.Store) error {
	return transport.Update(s, func(v transport.View) error {
		if err := v.Remove(c.FrontendPath()); err != nil {
			return err
		}
		return v.Remove(c.BackendPath())
	})
}

// monitor waits for changes in the xenstore.
type monitor struct {
	store   transport.Store
	watches []transport.Watch
	kick    chan struct{} // what else may end a wait
	stop    <-chan struct{}
}

func (m *monitor) watch(paths ...string) error {
	for _, p := range paths {
		w, err := m.store.Watch(p)
		if err != nil {
			return fmt.Errorf("xenstore: cannot watch %s: %w", p, err)
		}
		m.watches = append(m.watches, w)
	}
	return nil
}

// clear ends all watches but the first keep.
func (m *monitor) clear(keep int) {
	for len(m.watches) > keep {
		last := len(m.watches) - 1
		m.watches[last].Close()
		m.watches = m.watches[:last]
	}
}

// errTimeout is what until returns when its time is over.
var errTimeout = errors.New("timed out")

// until waits until done reports true, looking again after each change. A timeout
// of 0 is none. It ends early with ctx, and with net.ErrClosed when the device is
// closed.
func (m *monitor) until(ctx context.Context, timeout time.Duration, done func() bool) error {
	var over <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		over = t.C
	}
	for {
		if done() {
			return nil
		}
		// At most two watches are open at once: our directory and the other end's.
		var a, b <-chan struct{}
		if len(m.watches) > 0 {
			a = m.watches[0].C()
		}
		if len(m.watches) > 1 {
			b = m.watches[1].C()
		}
		select {
		case <-a:
		case <-b:
		case <-m.kick:
		case <-m.stop:
			return net.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			if done() {
				return nil
			}
			return errTimeout
		}
	}
}
