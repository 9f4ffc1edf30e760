package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

var errNoReply = errors.New("no reply")

// link is a device and the neighbour on it: as much of a stack as a ping needs.
type link struct {
	dev   *xen.Frontend
	gwMAC netif.MAC
	large int // received frames with a GSO type
}

// patience is how long what takes milliseconds may take: the machine is emulated, and
// may be so by a processor that does something else.
const patience = time.Minute

func connect(queues int, without xen.Features) (*link, error) {
	if err := devxen.Held(0); err != nil {
		return nil, err
	}
	t, err := devxen.Open()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	d, err := xen.OpenFrontend(context.Background(), xen.FrontendConfig{Transport: t, OwnTransport: true, Queues: queues, Without: without, Recovery: -1, Timeout: patience})
	if err != nil {
		return nil, err
	}
	fmt.Printf("connected in %v: %d queues, %+v\n", time.Since(begin).Round(time.Millisecond), len(d.Queues()), d.Info())
	return &link{dev: d}, nil
}

// receive waits until match accepts a frame. It answers what asks for us meanwhile.
func (l *link) receive(timeout time.Duration, match func([]byte) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var bufs [32]*netif.Buf
	for {
		found, some := false, false
		for _, q := range l.dev.Queues() {
			n, err := q.Read(bufs[:])
			if err != nil {
				return err
			}
			for _, b := range bufs[:n] {
				some = true
				if b.Meta.GSO != netif.GSONone {
					l.large++
				}
				l.answer(b.Data)
				found = match(b.Data) || found
				b.Release()
			}
		}
		if found {
			return nil
		}
		if some {
			continue
		}
		if err := l.waitAny(ctx); err != nil {
			if ctx.Err() != nil {
				return errNoReply
			}
			return err
		}
	}
}

// waitAny waits for the first of the queues.
func (l *link) waitAny(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	qs := l.dev.Queues()
	done := make(chan error, len(qs))
	for _, q := range qs {
		go func() { done <- q.Wait(ctx) }()
	}
	err := <-done
	cancel()
	for range len(qs) - 1 {
		<-done
	}
	return err
}

func (l *link) send(queue int, frames ...netif.Frame) error {
	q := l.dev.Queues()[queue]
	for {
		n, err := q.Write(frames)
		if err != nil {
			return err
		}
		if frames = frames[n:]; len(frames) == 0 {
			return nil
		}
		select {
		case <-q.Writable():
		case <-time.After(patience):
			return fmt.Errorf("the ring was full for %v", patience)
		}
	}
}

func ours() [4]byte    { return [4]byte{10, 9, 0, 2} }
func gateway() [4]byte { return [4]byte{10, 9, 0, 1} }

func arp(op byte, src, dst netif.MAC, from, to [4]byte) []byte {
	f := append(append(append([]byte{}, dst[:]...), src[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, op)
	if op == 1 {
		dst = netif.MAC{}
	}
	f = append(append(f, src[:]...), from[:]...)
	return append(append(f, dst[:]...), to[:]...)
}

// answer replies to the gateway's ARP requests.
func (l *link) answer(f []byte) {
	if len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 1 && [4]byte(f[38:]) == ours() {
		l.send(0, netif.Frame{Fragments: [][]byte{arp(2, l.dev.Info().MAC, netif.MAC(f[22:28]), ours(), [4]byte(f[28:32]))}})
	}
}

func (l *link) resolve() error {
	q := arp(1, l.dev.Info().MAC, netif.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ours(), gateway())
	for range 10 {
		if err := l.send(0, netif.Frame{Fragments: [][]byte{q}}); err != nil {
			return err
		}
		err := l.receive(time.Second, func(f []byte) bool {
			ok := len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 2 && [4]byte(f[28:]) == gateway()
			if ok {
				l.gwMAC = netif.MAC(f[22:28])
			}
			return ok
		})
		if !errors.Is(err, errNoReply) {
			return err
		}
	}
	return fmt.Errorf("ARP: %w", errNoReply)
}

// ipv4 makes a frame of one packet, in fragments of uneven sizes.
func (l *link) ipv4(proto byte, payload []byte) netif.Frame {
	mac := l.dev.Info().MAC
	f := append(append(append([]byte{}, l.gwMAC[:]...), mac[:]...), 8, 0)
	from, to := ours(), gateway()
	h := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0, from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3]}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[10:], checksum.Sum(h, 0).Checksum())
	f = append(f, h...)
	n := len(payload) / 3
	return netif.Frame{Fragments: [][]byte{append(f, payload[:min(8, len(payload))]...), payload[min(8, len(payload)):max(n, min(8, len(payload)))], payload[max(n, min(8, len(payload))):]}}
}

func (l *link) echo(seq uint16, size int) netif.Frame {
	p := make([]byte, 8+size)
	p[0], p[4] = 8, 0x4e
	binary.BigEndian.PutUint16(p[6:], seq)
	for i := range p[8:] {
		p[8+i] = byte(i) + byte(seq)
	}
	binary.BigEndian.PutUint16(p[2:], checksum.Sum(p, 0).Checksum())
	return l.ipv4(1, p)
}

// replied returns the number of an echo reply, if f is one and intact.
func replied(f []byte) (seq uint16, size int, ok bool) {
	if len(f) < 42 || f[12] != 8 || f[13] != 0 || f[14] != 0x45 || f[23] != 1 || f[34] != 0 {
		return 0, 0, false
	}
	total := int(binary.BigEndian.Uint16(f[16:]))
	if total < 28 || 14+total > len(f) {
		return 0, 0, false
	}
	p := f[34 : 14+total]
	seq = binary.BigEndian.Uint16(p[6:])
	for i := range p[8:] {
		if p[8+i] != byte(i)+byte(seq) {
			return 0, 0, false
		}
	}
	return seq, len(p) - 8, true
}
