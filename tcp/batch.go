package tcp

// BatchSegments is how many segments one Output gives at most.
const BatchSegments = 32

// MaxHeadroom is the most room a Batch can leave in front of a TCP header.
const MaxHeadroom = 68

// maxParts is how many parts of the send buffer one segment of up to 64 KiB spans.
const maxParts = 65536/ChunkSize + 1

// OutSegment is one segment to send, or with a SegmentSize several in one.
type OutSegment struct {
	// Packet is the headroom followed by the TCP header; the driver fills the
	// headroom, right-aligned, with the IP and link headers. The checksum field is
	// zero.
	Packet []byte
	// Payload is borrowed from the send buffer until Sent.
	Payload [][]byte
	// PayloadLen is the sum of Payload's lengths.
	PayloadLen int
	// SegmentSize is not zero if PayloadLen exceeds it: the device is to cut the
	// payload into segments of this size.
	SegmentSize int
	// ECN is the codepoint for the IP header (RFC 3168, section 5).
	ECN uint8
}

// Batch is a place for the segments of one Output. It belongs to the transmitter
// and may be used for any number of connections, one after the other. It is large:
// pool it.
type Batch struct {
	// Segments is what the last Output gave.
	Segments []OutSegment

	headroom int
	store    [BatchSegments]OutSegment
	headers  [BatchSegments][MaxHeadroom + MaxHeaderLen]byte
	parts    [BatchSegments][maxParts][]byte
}

// NewBatch returns a batch that leaves headroom bytes, at most MaxHeadroom, in
// front of every TCP header.
func NewBatch(headroom int) *Batch {
	return &Batch{headroom: min(max(headroom, 0), MaxHeadroom)}
}

// Reset forgets the segments, and with them the memory that they point to.
func (b *Batch) Reset() { b.reset() }

func (b *Batch) reset() {
	for i := range b.Segments {
		clear(b.Segments[i].Payload) // keep no chunk alive
	}
	b.Segments = b.store[:0]
}

// Full reports whether the last Output ended because there was no room for more; if
// not, the next one has nothing until something happens.
func (b *Batch) Full() bool { return b.full() }

func (b *Batch) full() bool { return len(b.Segments) == BatchSegments }

// add begins a segment with header h.
func (b *Batch) add(h *header) *OutSegment {
	i := len(b.Segments)
	b.Segments = b.store[:i+1]
	s := &b.store[i]
	s.Packet = h.append(b.headers[i][:b.headroom])
	s.Payload, s.PayloadLen, s.SegmentSize, s.ECN = b.parts[i][:0], 0, 0, ECNNotECT
	return s
}
