package xen

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/transport"
)

// ErrGone is what every call returns once the vif was taken away.
var ErrGone = errors.New("xen: the vif was taken away")

// Defaults and bounds of both ends.
const (
	defaultTimeout  = 10 * time.Second
	defaultRecovery = time.Second
	minMTU          = 68 // RFC 791, section 3.2
	maxMTU          = 65535 - etherLen - vlanLen
	maxQueues       = 64
	// backoff is how long an end that broke the protocol is left alone, doubled each
	// time up to maxBackoff.
	backoff    = time.Second
	maxBackoff = 30 * time.Second
	// batch is how many buffers are taken from a pool at once.
	batch = 32
)

// Stats counts the frames that came to nothing in the driver, and what happened to
// the connection.
type Stats struct {
	// TxDown frames were sent while there was no connection.
	TxDown uint64
	// TxUnsendable frames were too short or too long, or needed what Info does not
	// announce or the far end does not take any more.
	TxUnsendable uint64
	// TxRefused frames were refused by the far end.
	TxRefused uint64
	// RxMalformed frames broke a rule: an id or range that cannot be, an error
	// reported by the far end, metadata that contradict the frame.
	RxMalformed uint64
	// RxOversized frames were larger than the MTU.
	RxOversized uint64
	// Connects counts connections; more than one means that the far end came back.
	Connects uint64
	// Broken counts connections given up because the far end broke the protocol.
	Broken uint64
	// Recovered counts frames or room found by looking, which an event should have
	// told of.
	Recovered uint64
}

type counters struct {
	txDown, txUnsendable, txRefused, rxMalformed, rxOversized, connects, broken, recovered atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		TxDown: c.txDown.Load(), TxUnsendable: c.txUnsendable.Load(), TxRefused: c.txRefused.Load(),
		RxMalformed: c.rxMalformed.Load(), RxOversized: c.rxOversized.Load(),
		Connects: c.connects.Load(), Broken: c.broken.Load(), Recovered: c.recovered.Load(),
	}
}

// core is what the two ends have in common: how they end, and their buffers.
type core struct {
	info  netif.Info
	count counters

	closed  atomic.Bool
	closing chan struct{} // closed when Close begins
	gone    atomic.Pointer[error]
	ended   chan struct{} // closed when the device is closed or gone
	endOnce atomic.Bool
	open    chan struct{} // always closed

	recovery     time.Duration
	small, large *netif.Pool
}

func (c *core) init(recovery time.Duration) {
	c.closing, c.ended, c.open = make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(c.open)
	c.recovery = recovery
	if recovery == 0 {
		c.recovery = defaultRecovery
	}
	c.small = netif.NewPool(pageSize, 512)
	c.large = netif.NewPool(maxPacket+etherLen+vlanLen, 2*batch)
}

// end wakes whoever waits; it is called when the device is closed or gone.
func (c *core) end() {
	if !c.endOnce.Swap(true) {
		close(c.ended)
	}
}

// leave marks the device as gone.
func (c *core) leave(err error) {
	c.gone.CompareAndSwap(nil, &err)
	c.end()
}

// goneErr returns why the device is gone, or nil.
func (c *core) goneErr() error {
	if p := c.gone.Load(); p != nil {
		return *p
	}
	return nil
}

// fits reports whether a received frame may be as long as it is.
func (c *core) fits(b *netif.Buf) bool {
	return b.Meta.GSO != netif.GSONone || len(b.Data) <= c.info.MTU+linkLen(b.Data)
}

// spare is a stock of buffers, kept under the lock of who uses it.
type spare struct {
	bufs [batch]*netif.Buf
	n    int
}

func (s *spare) get(p *netif.Pool) *netif.Buf {
	if s.n == 0 {
		p.GetBatch(s.bufs[:])
		s.n = batch
	}
	s.n--
	b := s.bufs[s.n]
	s.bufs[s.n] = nil
	return b
}

func (s *spare) put(b *netif.Buf) {
	if s.n < batch {
		b.Data, b.Meta = b.Store()[:0], netif.Meta{}
		s.bufs[s.n] = b
		s.n++
		return
	}
	b.Release()
}

func (s *spare) release() {
	for ; s.n > 0; s.n-- {
		s.bufs[s.n-1].Release()
		s.bufs[s.n-1] = nil
	}
}

// FrontendConfig says which vif to drive and how.
type FrontendConfig struct {
	// Transport is the way to the hypervisor.
	Transport transport.Transport
	// OwnTransport says that Close closes it, and so does a failed OpenFrontend.
	OwnTransport bool
	// Index is the number of the vif in this domain: device/vif/N.
	Index int
	// Queues is the most queues to use. The back end may have fewer; 0 means as many
	// as it has, and no more than CPUs.
	Queues int
	// MAC is our address and MTU the largest IP packet; zero means what the xenstore
	// says.
	MAC netif.MAC
	MTU int
	// Without are features not to be used.
	Without Features
	// Pages is how many pages to grant for each direction of each queue, 64 to 256; 0
	// means 256, or as many as the transport grants.
	Pages int
	// Timeout bounds each step of connecting, and of closing; 10 s if zero.
	Timeout time.Duration
	// Recovery is after how long a wait looks whether an event was lost: 0 means
	// every second, and a negative value never. Events are not lost by Xen; a far end
	// with a bug, or a machine that was suspended, may lose one.
	Recovery time.Duration
}

func (c *FrontendConfig) validate() error {
	switch {
	case c.Transport == nil:
		return errors.New("xen: FrontendConfig.Transport is missing")
	case c.Index < 0 || c.Index > 65535:
		return fmt.Errorf("xen: vif %d: must be 0 to 65535", c.Index)
	case c.Queues < 0 || c.Queues > maxQueues:
		return fmt.Errorf("xen: %d queues: must be 1 to %d, or 0 for what the back end has", c.Queues, maxQueues)
	case c.Pages != 0 && (c.Pages < minPages || c.Pages > maxPages):
		return fmt.Errorf("xen: %d pages a direction: must be %d to %d, or 0", c.Pages, minPages, maxPages)
	}
	return validate(c.MAC, c.MTU, c.Timeout)
}

func validate(mac netif.MAC, mtu int, timeout time.Duration) error {
	switch {
	case mac[0]&1 != 0:
		return fmt.Errorf("xen: %v is a multicast address: a device's own has an even first byte", mac)
	case mtu != 0 && (mtu < minMTU || mtu > maxMTU):
		return fmt.Errorf("xen: an MTU of %d is outside %d to %d", mtu, minMTU, maxMTU)
	case timeout < 0:
		return fmt.Errorf("xen: a timeout of %v", timeout)
	}
	return nil
}

// BackendConfig says which vif to serve and how.
type BackendConfig struct {
	// Transport is the way to the hypervisor.
	Transport transport.Transport
	// OwnTransport says that Close closes it, and so does a failed OpenBackend.
	OwnTransport bool
	// Domain and Index name the guest and its vif.
	Domain transport.Domain
	Index  int
	// MAC is our address, fe:ff:ff:ff:ff:ff if zero as with Linux's; MTU is the
	// largest IP packet, and zero means what the xenstore says.
	MAC netif.MAC
	MTU int
	// Queues is the most queues that the guest may use; 1 if zero. The device has as
	// many whatever the guest uses.
	Queues int
	// Without are features not to be offered or used.
	Without Features
	// Timeout bounds how long Close waits for the guest; 10 s if zero.
	Timeout time.Duration
	// Recovery is as in FrontendConfig.
	Recovery time.Duration
}

func (c *BackendConfig) validate() error {
	switch {
	case c.Transport == nil:
		return errors.New("xen: BackendConfig.Transport is missing")
	case c.Index < 0 || c.Index > 65535:
		return fmt.Errorf("xen: vif %d: must be 0 to 65535", c.Index)
	case c.Queues < 0 || c.Queues > maxQueues:
		return fmt.Errorf("xen: %d queues: must be 1 to %d, or 0 for 1", c.Queues, maxQueues)
	}
	return validate(c.MAC, c.MTU, c.Timeout)
}
