package gvisor

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// gVisor forgets a handshake that is under way when its listener closes, and when
// the peer's last ACK has just been taken for that listener's queue, the ACK with
// it: the peer then holds a connection that nobody here knows, and waits until its
// keep-alive asks. Kernels reset it. So whoever was in the middle of a handshake is
// asked: a SYN for an established connection makes the peer send a challenge ACK
// (RFC 5961, section 4.2), and the ACK is answered by a reset, as every segment for
// no connection is.

// halfOpen returns the handshakes under way with a listener. The listener is locked
// meanwhile, so that no new one begins: a whole round trip would have to pass
// between here and its closing for one to be missed.
func (s *Stack) halfOpen(l *TCPListener) []stack.TransportEndpointID {
	var list []stack.TransportEndpointID
	listener := l.ep.(*tcp.Endpoint)
	listener.LockUser()
	defer listener.UnlockUser()
	for _, ep := range s.endpoints() {
		if stateOf(ep) == tcp.StateSynRecv && ep.ID.LocalPort == l.addr.Port() {
			list = append(list, ep.ID)
		}
	}
	return list
}

// ask sends a SYN from the local to the remote address of id. Like every segment it
// may be lost, and then the keep-alive remains.
func (s *Stack) ask(id stack.TransportEndpointID) {
	r, err := s.net.FindRoute(0, id.LocalAddress, id.RemoteAddress, ipv4.ProtocolNumber, false)
	if err != nil {
		return
	}
	defer r.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(r.MaxHeaderLength()) + header.TCPMinimumSize,
	})
	defer pkt.DecRef()
	h := header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize))
	pkt.TransportProtocolNumber = tcp.ProtocolNumber
	h.Encode(&header.TCPFields{
		SrcPort: id.LocalPort, DstPort: id.RemotePort,
		SeqNum:     uint32(s.random.uint64()),
		DataOffset: header.TCPMinimumSize,
		Flags:      header.TCPFlagSyn,
	})
	h.SetChecksum(^h.CalculateChecksum(r.PseudoHeaderChecksum(tcp.ProtocolNumber, header.TCPMinimumSize)))
	r.WritePacket(stack.NetworkHeaderParams{Protocol: tcp.ProtocolNumber, TTL: ttl, DF: true}, pkt)
}
