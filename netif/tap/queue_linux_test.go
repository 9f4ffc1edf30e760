package tap

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/netif"
)

// pairQueue returns a queue over one end of a socket pair that keeps the borders
// of messages, as a tap does, and blocks when its small buffer is full, as a tap
// hardly ever can be made to.
func pairQueue(t *testing.T, hdr int, order binary.ByteOrder) (d *Device, q *fdqueue.Queue, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<14)
	d = newDevice(netif.Info{Name: "pair", MTU: 1500})
	if hdr > 0 {
		d.info.Offloads = netif.TxChecksum | netif.TxTSO4 | netif.RxGSO
	}
	q = newQueue(d, fds[0], hdr, order, fdqueue.NewPools(hdr, hdr+etherLen+vlanLen+1500, 1, hdr > 0))
	d.queues = []netif.Queue{q}
	d.shutdown = q.Close
	t.Cleanup(func() { d.Close(); unix.Close(fds[1]) })
	return d, q, fds[1]
}

func TestShortWrite(t *testing.T) {
	_, q, far := pairQueue(t, 0, binary.NativeEndian)
	frames := make([]netif.Frame, 100)
	for i := range frames {
		b := make([]byte, 1000)
		b[0] = byte(i)
		frames[i].Fragments = [][]byte{b[:14], b[14:]}
	}
	sent, short := 0, 0
	got := 0
	buf := make([]byte, 2048)
	for sent < len(frames) {
		n, err := q.Write(frames[sent:])
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		if sent == len(frames) {
			break
		}
		short++
		room := q.Writable()
		select {
		case <-room:
			t.Fatal("Writable is closed while the socket is full")
		default:
		}
		for { // make room, in order and without a gap
			n, err := unix.Read(far, buf)
			if err == unix.EAGAIN {
				break
			}
			if err != nil || n != 1000 || buf[0] != byte(got) {
				t.Fatalf("frame %d: %d bytes, first %d, %v", got, n, buf[0], err)
			}
			got++
		}
		<-room
	}
	if short == 0 {
		t.Fatal("no Write was short: the test shows nothing")
	}
	select {
	case <-q.Writable():
	default:
		t.Fatal("Writable is open with room to spare")
	}
}

// Close wakes whoever waits for room.
func TestCloseWhileFull(t *testing.T) {
	d, q, _ := pairQueue(t, 0, binary.NativeEndian)
	f := []netif.Frame{{Fragments: [][]byte{make([]byte, 1000)}}}
	for {
		n, err := q.Write(f)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	room := q.Writable()
	d.Close()
	<-room
}

func TestVNetRoundTrip(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, hdr := range []int{10, 12} {
			d, q, far := pairQueue(t, hdr, order)
			want := netif.Meta{
				Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16,
				GSO: netif.GSOTCP4, ECN: true, HeaderLen: 54, SegmentSize: 1448,
			}
			f := netif.Frame{Fragments: [][]byte{make([]byte, 60), make([]byte, 700), make([]byte, 7)}, Meta: want}
			if n, err := q.Write([]netif.Frame{f}); n != 1 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			buf := make([]byte, 4096)
			n, err := unix.Read(far, buf)
			if err != nil || n != hdr+767 {
				t.Fatalf("read %d, %v", n, err)
			}
			if buf[0] != 1 || buf[1] != 0x81 || order.Uint16(buf[2:]) != 54 || order.Uint16(buf[4:]) != 1448 ||
				order.Uint16(buf[6:]) != 34 || order.Uint16(buf[8:]) != 16 || (hdr > 10 && order.Uint16(buf[10:]) != 0) {
				t.Fatalf("header % x", buf[:hdr])
			}
			unix.Write(far, buf[:n])         // back to where it came from
			unix.Write(far, make([]byte, 9)) // shorter than a header
			buf[1] = 9                       // no such segmentation
			unix.Write(far, buf[:n])
			clear(buf[:hdr])
			buf[0] = 2 // the checksum was verified
			unix.Write(far, buf[:n])
			var bufs [4]*netif.Buf
			if got, err := q.Read(bufs[:]); got != 2 || err != nil {
				t.Fatalf("Read = %d, %v", got, err)
			}
			if b := bufs[0]; b.Meta != want || len(b.Data) != 767 {
				t.Fatalf("got %d bytes, %+v", len(b.Data), b.Meta)
			}
			if b := bufs[1]; b.Meta != (netif.Meta{Flags: netif.ChecksumValid}) {
				t.Fatalf("got %+v", b.Meta)
			}
			if s := d.Stats(); s.RxMalformed != 2 {
				t.Fatalf("stats %+v", s)
			}
		}
	}
}

func TestDeriveMAC(t *testing.T) {
	a := deriveMAC("machine", "tap0", netif.MAC{})
	if a != deriveMAC("machine", "tap0", netif.MAC{}) {
		t.Error("not the same twice")
	}
	if a == deriveMAC("machine", "tap1", netif.MAC{}) || a == deriveMAC("other", "tap0", netif.MAC{}) {
		t.Error("the same for another")
	}
	if a[0]&3 != 2 {
		t.Errorf("%x is not a locally administered station", a)
	}
	if deriveMAC("machine", "tap0", a) == a {
		t.Error("the kernel's own")
	}
}
