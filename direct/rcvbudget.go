package direct

import (
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// windowBudget keeps what the peers of one queue may have under way together below what
// waits in front of the queue without being lost: a plain tap holds a thousand frames,
// which eight connections with the windows that their buffers allow overrun again and
// again, and all of it is sent a second time. The connections that receive at present
// share the room; each gets at least minShare. One alone is not bounded: its sender finds
// the queue's length by losing little, and is never kept waiting.
//
// Who receives is found out anew in each epoch, so that nobody has to say that it is
// over. It belongs to the goroutine that polls the queue, and there is none for devices
// that don't tell their queue's length, and where frames are larger than the MTU.
type windowBudget struct {
	room    int // bytes of payload
	epoch   clock.Time
	now     int // connections that have received in bulk in this epoch …
	before  int // … and in those before
	started map[uint64]epochStart
}

// epochStart is where a connection was when it was first seen in an epoch.
type epochStart struct {
	next    tcp.Seq
	counted bool
}

const (
	// budgetEpoch is long against a round trip of those that are meant.
	budgetEpoch = 20 * time.Millisecond
	// bulkInEpoch is how many bytes in an epoch make a connection one of those: 1 MB/s.
	bulkInEpoch = 20 << 10
	// minShare is the least share, in segments: with fewer, acknowledgements that are
	// delayed would stop the peer.
	minShare = 4
	// nearRTT is the round-trip time from which on what arrives is spread by the path, and
	// a share would bound the rate: the room that a thousand frames make, every 10 ms, is
	// 0.8 Gbit/s. A round trip to the machine's own kernel takes a part of a millisecond,
	// and some more when the processors are busy.
	nearRTT = 10 * time.Millisecond
	// maxInEpoch bounds the connections that an epoch knows: with more, shares are the
	// least anyhow.
	maxInEpoch = 4096
)

// newWindowBudget returns that of a queue of the device, or nil.
func newWindowBudget(info *netif.Info) *windowBudget {
	if info.QueueLen <= 0 || info.Offloads.Has(netif.RxGSO) {
		return nil
	}
	// A third remains for what is not TCP's data, and for edges that were announced
	// before others came.
	room := info.QueueLen * (info.MTU - ipTCPHeaders) / 3 * 2
	return &windowBudget{room: room, started: make(map[uint64]epochStart)}
}

// visit follows a round in which data arrived for c. c.mu is held.
func (b *windowBudget) visit(now clock.Time, c *TCPConn) {
	if now.Sub(b.epoch) > budgetEpoch {
		// The number falls slowly: one may be silent because we had no processor, or
		// until a timer of the peer's repeats what was lost, and then uses its window.
		b.before = max(b.now, b.before-max(b.before/8, 1), 0)
		b.now, b.epoch = 0, now
		clear(b.started)
	}
	near := c.tc.PathRTT() < nearRTT
	next := c.tc.Arrived()
	switch s, seen := b.started[c.sum]; {
	case !near || seen && s.counted:
	case !seen && len(b.started) < maxInEpoch:
		b.started[c.sum] = epochStart{next: next}
	case seen && next.Sub(s.next) >= bulkInEpoch:
		b.started[c.sum] = epochStart{counted: true}
		b.now++
	}
	share := 0
	if n := max(b.now, b.before); near && n > 1 {
		share = max(b.room/n, minShare*c.tc.MaxSegment())
	}
	if share != c.tc.WindowShare() {
		c.tc.SetWindowShare(share)
	}
}
