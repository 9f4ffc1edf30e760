package tcp

// Reply is a segment without data that is sent for no connection's sake, or on
// behalf of one of the small records.
type Reply struct {
	Seq, Ack     Seq
	Flags        Flags
	Window       uint16
	HasTS        bool
	TSVal, TSEcr uint32
}

// ResetFor returns the reset that answers a segment which reached no connection
// (RFC 9293, section 3.10.7.1). It is not ok for a segment that is itself a reset.
func ResetFor(seg *Segment) (r Reply, ok bool) {
	if seg.Flags.Has(RST) {
		return Reply{}, false
	}
	if seg.Flags.Has(ACK) {
		return Reply{Seq: seg.Ack, Flags: RST}, true
	}
	return Reply{Ack: seg.End(), Flags: RST | ACK}, true
}

// Append writes the segment's header, with a checksum of zero, behind b. At most
// 32 bytes are written.
func (r *Reply) Append(b []byte, srcPort, dstPort uint16) []byte {
	h := header{srcPort: srcPort, dstPort: dstPort, seq: r.Seq, ack: r.Ack, flags: r.Flags, window: r.Window}
	if r.HasTS {
		h.options.HasTS, h.options.TSVal, h.options.TSEcr = true, r.TSVal, r.TSEcr
	}
	return h.append(b)
}
