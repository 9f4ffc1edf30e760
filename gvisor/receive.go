package gvisor

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"

	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
)

// rxBatch is how many frames one Read takes at most.
const rxBatch = 64

// queue is one queue of a device: a goroutine that receives, and a backlog of what
// could not be sent at once.
type queue struct {
	port  *port
	index int
	q     netif.Queue

	// Of the receiver.
	bufs [rxBatch]*netif.Buf
	gros []*gro.GRO // one for each link, by its number

	dropped atomic.Uint64

	mu      sync.Mutex
	backlog []*stack.PacketBuffer // with link headers; ours
	links   []*link               // of the packets in backlog
	resting bool                  // a goroutine waits for room
	closed  bool
}

// addLink readies the receiver for one more interface.
func (q *queue) addLink(l *link) {
	g := new(gro.GRO)
	// Frames that the device has coalesced gain nothing by it.
	g.Init(!q.port.info.Offloads.Has(netif.RxGSO))
	g.Dispatcher = l
	q.gros = append(q.gros, g)
}

// receive runs until the device is closed or the stack ends.
func (q *queue) receive(ctx context.Context) {
	for {
		n, err := q.q.Read(q.bufs[:])
		for i, b := range q.bufs[:n] {
			q.frame(b)
			b.Release()
			q.bufs[i] = nil
		}
		for _, g := range q.gros {
			g.Flush()
		}
		if err == nil && n == 0 {
			err = q.q.Wait(ctx)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
				q.port.st.log.Error("device failed: nothing is received on this queue any more",
					"device", q.port.info.Name, "queue", q.index, "error", err)
			}
			return
		}
	}
}

// frame takes the link header off a frame and hands gVisor a copy of the packet.
func (q *queue) frame(b *netif.Buf) {
	packet, index, typ := q.sort(b.Data)
	if packet == nil {
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		Payload: buffer.MakeWithView(buffer.NewViewWithData(packet)),
	})
	pkt.NetworkProtocolNumber = typ
	pkt.RXChecksumValidated = typ == ipv4.ProtocolNumber && trusted(packet, b.Meta.Flags)
	q.gros[index].Enqueue(pkt)
	pkt.DecRef()
}

// sort returns the packet in a frame, its protocol and the number of the link that
// it is for; packet is nil when it is for none.
func (q *queue) sort(frame []byte) (packet []byte, index int, typ tcpip.NetworkProtocolNumber) {
	if q.port.info.Link != netif.LinkEthernet {
		if len(frame) == 0 || header.IPVersion(frame) != header.IPv4Version {
			return nil, 0, 0
		}
		return frame, 0, ipv4.ProtocolNumber
	}
	h, packet, err := ethernet.Parse(frame)
	if err != nil {
		return nil, 0, 0
	}
	var vlan uint16
	if h.Type == ethernet.TypeVLAN {
		var tag ethernet.Tag
		if tag, packet, err = ethernet.ParseTag(packet); err != nil {
			return nil, 0, 0
		}
		vlan, h.Type = tag.ID, tag.Type
	}
	index, l := q.port.byVLAN(vlan)
	if l == nil || h.Dst != l.mac && !h.Dst.IsMulticast() || len(packet) == 0 {
		return nil, 0, 0
	}
	return packet, index, tcpip.NetworkProtocolNumber(h.Type)
}

// trusted reports whether the checksums of an IPv4 packet need not be looked at any
// more. The device vouches for the transport's; that of the IP header, which gVisor
// takes the same flag for, is verified here.
func trusted(packet []byte, flags netif.MetaFlags) bool {
	if flags&(netif.NeedsChecksum|netif.ChecksumValid) == 0 {
		return false
	}
	h := header.IPv4(packet)
	return len(packet) >= header.IPv4MinimumSize && h.IsValid(len(packet)) && h.IsChecksumValid()
}
