package netif

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// CaptureOptions says what Capture writes; the zero value is everything.
type CaptureOptions struct {
	// SnapLen is how many bytes of each frame are kept; 0 is all of them.
	SnapLen int
}

// Captured is a device of which every frame read and written is recorded.
type Captured struct {
	dev    Device
	queues []Queue
	link   Link
	snap   int
	closed atomic.Bool

	mu  sync.Mutex
	w   *bufio.Writer
	err error // the first error of the writer; nothing is recorded after it
}

// Capture puts a recorder in front of dev, which belongs to the result from then
// on: closing that closes dev. It writes pcapng (draft-ietf-opsawg-pcapng) with
// nanoseconds to w, which tshark and Wireshark read: one interface, each frame with
// its direction and in an order in which no answer comes before what it answers.
// Large frames are recorded as they are, with checksums that may be left to the
// device.
//
// Frames are recorded when the device has taken them, and when they are read. What
// is recorded is buffered until Flush or Close. An error of w ends the recording,
// not the traffic, and is returned by Flush and Close; a w that blocks does hold up
// the traffic, so give it a file. w itself is not closed.
func Capture(dev Device, w io.Writer, opts CaptureOptions) (*Captured, error) {
	if opts.SnapLen < 0 {
		return nil, fmt.Errorf("netif: capture of %d bytes of each frame: use 0 for all of them", opts.SnapLen)
	}
	info := dev.Info()
	c := &Captured{dev: dev, link: info.Link, snap: opts.SnapLen, w: bufio.NewWriterSize(w, 1<<16)}
	if c.snap == 0 {
		c.snap = 1 << 18 // what Wireshark takes for the most
	}
	_, c.err = c.w.Write(captureHeader(info, c.snap))
	if err := c.Flush(); err != nil {
		return nil, err
	}
	for _, q := range dev.Queues() {
		c.queues = append(c.queues, &capturedQueue{q, c})
	}
	return c, nil
}

// Info implements Device; it is that of the device beneath.
func (c *Captured) Info() Info { return c.dev.Info() }

// Queues implements Device.
func (c *Captured) Queues() []Queue { return c.queues }

// Flush writes out what is buffered, and returns the first error of the recording.
func (c *Captured) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = c.w.Flush()
	}
	if c.err != nil {
		return fmt.Errorf("netif: capture: %w", c.err)
	}
	return nil
}

// Close implements Device. It closes the device beneath, flushes, and returns the
// errors of both.
func (c *Captured) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	err := c.dev.Close()
	if flush := c.Flush(); flush != nil {
		return errors.Join(err, flush)
	}
	return err
}

type capturedQueue struct {
	Queue
	c *Captured
}

// Read implements Queue.
func (q *capturedQueue) Read(bufs []*Buf) (int, error) {
	n, err := q.Queue.Read(bufs)
	if n > 0 {
		q.c.mu.Lock()
		now := time.Now().UnixNano()
		for _, b := range bufs[:n] {
			one := [1][]byte{b.Data}
			q.c.record(one[:], len(b.Data), now, directionIn)
		}
		q.c.mu.Unlock()
	}
	return n, err
}

// Write implements Queue. The lock is held while the device takes the frames, so
// that whatever is read in answer is recorded after them.
func (q *capturedQueue) Write(frames []Frame) (int, error) {
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	now := time.Now().UnixNano()
	n, err := q.Queue.Write(frames)
	for i := range frames[:n] {
		q.c.record(frames[i].Fragments, frames[i].Len(), now, directionOut)
	}
	return n, err
}

// What pcapng is made of: block types, option codes and the values used of them.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	byteOrderMagic = 0x1a2b3c4d

	optEnd         = 0
	optUserAppl    = 4 // of a section
	optIfName      = 2 // of an interface
	optIfMAC       = 6
	optIfTSResol   = 9
	optPacketFlags = 2 // of a packet

	directionIn, directionOut = 1, 2 // the direction in a packet's flags

	linkTypeEthernet = 1
	linkTypeRaw      = 101 // IPv4 or IPv6, by the first nibble

	packetHeaderLen  = 28
	packetTrailerLen = 16 // flags, end of options, length again
)

// captureHeader returns the section header and the description of the interface.
func captureHeader(info Info, snap int) []byte {
	le := binary.LittleEndian
	section := le.AppendUint32(nil, byteOrderMagic)
	section = le.AppendUint16(section, 1)
	section = le.AppendUint16(section, 0)
	section = le.AppendUint64(section, 1<<64-1) // length not known
	section = appendOption(section, optUserAppl, []byte("netduet"))
	section = appendOption(section, optEnd, nil)

	linkType := uint16(linkTypeEthernet)
	if info.Link == LinkIP {
		linkType = linkTypeRaw
	}
	iface := le.AppendUint16(nil, linkType)
	iface = le.AppendUint16(iface, 0)
	iface = le.AppendUint32(iface, uint32(snap))
	iface = appendOption(iface, optIfName, []byte(info.Name))
	if info.Link == LinkEthernet {
		iface = appendOption(iface, optIfMAC, info.MAC[:])
	}
	iface = appendOption(iface, optIfTSResol, []byte{9}) // 10^-9 s
	iface = appendOption(iface, optEnd, nil)

	return appendBlock(appendBlock(nil, blockSection, section), blockInterface, iface)
}

// appendOption appends an option, padded to 32 bits.
func appendOption(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), 1<<15)]
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	return append(b, make([]byte, padding(len(value)))...)
}

// appendBlock appends a block with its length in front and behind.
func appendBlock(b []byte, kind uint32, body []byte) []byte {
	n := uint32(len(body) + 12)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, n)
}

// padding is how many bytes n lacks to a multiple of 4.
func padding(n int) int { return -n & 3 }

// record writes one enhanced packet block. The caller holds the lock.
func (c *Captured) record(parts [][]byte, size int, nanos int64, direction uint32) {
	if c.err != nil {
		return
	}
	kept := min(size, c.snap)
	pad := padding(kept)
	total := uint32(packetHeaderLen + kept + pad + packetTrailerLen)
	le := binary.LittleEndian
	b := c.w.AvailableBuffer()
	b = le.AppendUint32(b, blockPacket)
	b = le.AppendUint32(b, total)
	b = le.AppendUint32(b, 0) // the only interface
	b = le.AppendUint32(b, uint32(uint64(nanos)>>32))
	b = le.AppendUint32(b, uint32(nanos))
	b = le.AppendUint32(b, uint32(kept))
	b = le.AppendUint32(b, uint32(size))
	c.put(b)
	for _, p := range parts {
		p = p[:min(len(p), kept)]
		kept -= len(p)
		c.put(p)
	}
	b = c.w.AvailableBuffer()
	for range pad {
		b = append(b, 0)
	}
	b = le.AppendUint16(b, optPacketFlags)
	b = le.AppendUint16(b, 4)
	b = le.AppendUint32(b, direction)
	b = le.AppendUint32(b, optEnd)
	b = le.AppendUint32(b, total)
	c.put(b)
}

func (c *Captured) put(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}
