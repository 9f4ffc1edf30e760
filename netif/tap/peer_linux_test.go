package tap_test

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// peer is the far end of a tap's wire: a packet socket on the kernel's side,
// dressed as a device. What the stack writes to the tap it reads, and the other
// way round.
type peer struct {
	info   netif.Info
	file   *os.File
	conn   syscall.RawConn
	index  int
	pool   *netif.Pool
	held   *netif.Buf
	hdr    int // bytes of virtio header in front of frames
	closed atomic.Bool
	free   chan struct{}
}

func newPeer(t testing.TB, name string) *peer { t.Helper(); return newPeerOf(t, name, false) }

// newPeerOf attaches to the interface, which it sets up. With vnet it is told of
// checksums left undone and of large segments, which it otherwise gets unmarked.
func newPeerOf(t testing.TB, name string, vnet bool) *peer {
	t.Helper()
	if err := netns.LinkUp(name); err != nil {
		t.Fatal(err)
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	var be [2]byte
	binary.BigEndian.PutUint16(be[:], unix.ETH_P_ALL)
	proto := binary.NativeEndian.Uint16(be[:])
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<20)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		t.Fatal(err)
	}
	hdr, offloads := 0, netif.Offloads(0)
	if vnet {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			t.Fatal(err)
		}
		hdr = vnethdr.Len
		offloads = netif.TxChecksum | netif.TxTSO4 | netif.TxTSO6 | netif.RxChecksum | netif.RxGSO
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	p := &peer{
		info:  netif.Info{Name: name + "-peer", MAC: netif.MAC(ifi.HardwareAddr), MTU: ifi.MTU, Offloads: offloads},
		hdr:   hdr,
		file:  os.NewFile(uintptr(fd), "packet"),
		index: ifi.Index,
		pool:  netif.NewPool(1<<16+64, 64),
		free:  make(chan struct{}),
	}
	close(p.free)
	p.conn, _ = p.file.SyscallConn()
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *peer) Info() netif.Info          { return p.info }
func (p *peer) Queues() []netif.Queue     { return []netif.Queue{p} }
func (p *peer) Writable() <-chan struct{} { return p.free }

func (p *peer) Close() error {
	if p.closed.Swap(true) {
		return net.ErrClosed
	}
	return p.file.Close()
}

func (p *peer) readOne(fd uintptr) bool {
	b := p.pool.Get()
	n, err := unix.Read(int(fd), b.Store())
	if err != nil {
		b.Release()
		return false
	}
	b.Data = b.Store()[p.hdr:n]
	if p.hdr > 0 {
		b.Meta, _ = vnethdr.Decode(b.Store()[:p.hdr], binary.NativeEndian, n-p.hdr)
	}
	p.held = b
	return true
}

func (p *peer) Read(bufs []*netif.Buf) (n int, err error) {
	for n < len(bufs) {
		if p.held == nil {
			if err := p.conn.Control(func(fd uintptr) { p.readOne(fd) }); err != nil && n == 0 {
				return 0, net.ErrClosed
			}
		}
		if p.held == nil {
			break
		}
		bufs[n], p.held = p.held, nil
		n++
	}
	return n, nil
}

func (p *peer) Wait(ctx context.Context) error {
	if p.held != nil {
		return nil
	}
	p.file.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { p.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := p.conn.Read(p.readOne); err != nil {
		if p.closed.Load() {
			return net.ErrClosed
		}
		return ctx.Err()
	}
	return nil
}

func (p *peer) Write(frames []netif.Frame) (n int, err error) {
	cerr := p.conn.Control(func(fd uintptr) {
		for n < len(frames) {
			b := make([]byte, p.hdr)
			if p.hdr > 0 {
				vnethdr.Encode(b, binary.NativeEndian, &frames[n].Meta)
			}
			for _, f := range frames[n].Fragments {
				b = append(b, f...)
			}
			to := unix.SockaddrLinklayer{Ifindex: p.index} // Sendto writes into it
			if err := unix.Sendto(int(fd), b, 0, &to); err == unix.EAGAIN || err == unix.ENOBUFS {
				return
			}
			n++
		}
	})
	if cerr != nil {
		return n, net.ErrClosed
	}
	return n, nil
}

// frame builds an Ethernet frame of the experimental type 0x88b5 (IEEE 802), in
// which the kernel has no part.
func frame(dst, src netif.MAC, payload string) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	b = append(b, 0x88, 0xb5)
	return append(b, payload...)
}

// one wraps whole frames.
func one(bs ...[]byte) []netif.Frame {
	var fs []netif.Frame
	for _, b := range bs {
		fs = append(fs, netif.Frame{Fragments: [][]byte{b}})
	}
	return fs
}

// recv waits for the next frame of the experimental type, skipping what else the
// kernel says.
func recv(t *testing.T, q netif.Queue) *netif.Buf {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var bufs [1]*netif.Buf
	for {
		n, err := q.Read(bufs[:])
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		if n == 1 {
			if b := bufs[0]; len(b.Data) >= 14 && b.Data[12] == 0x88 && b.Data[13] == 0xb5 {
				return b
			}
			bufs[0].Release()
			continue
		}
		if err := q.Wait(ctx); err != nil {
			t.Fatalf("Wait: %v", err)
		}
	}
}
