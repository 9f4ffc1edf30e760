package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"time"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
)

// smoke connects, exchanges frames of all sizes, and closes.
func smoke(args []string) error {
	var queues int
	var plain bool
	flags("smoke", args, func(f *flag.FlagSet) {
		f.IntVar(&queues, "queues", 2, "most queues to use")
		f.BoolVar(&plain, "plain", false, "without any feature")
	})
	var without xen.Features
	if plain {
		without = ^xen.Features(0)
	}
	l, err := connect(queues, without)
	if err != nil {
		return err
	}
	defer l.dev.Close()
	if err := l.resolve(); err != nil {
		return err
	}
	if err := l.pings(100); err != nil {
		return err
	}
	if err := l.sizes(); err != nil {
		return err
	}
	for q := range l.dev.Queues() {
		if err := l.burst(q, 1000); err != nil {
			return err
		}
	}
	if err := l.flood(1000); err != nil {
		return err
	}
	if l.dev.Info().Offloads.Has(netif.TxChecksum) {
		if err := l.blank(); err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := l.dev.Close(); err != nil {
		return err
	}
	fmt.Printf("closed in %v: %+v\n", time.Since(begin).Round(time.Millisecond), l.dev.Stats())
	if s := l.dev.Stats(); s.TxRefused+s.RxMalformed+s.Broken > 0 || s.Connects != 1 {
		return fmt.Errorf("the counters are not those of a smooth run")
	}
	return nil
}

func (l *link) pings(n int) error {
	var least, sum time.Duration
	for i := range n {
		begin := time.Now()
		if err := l.send(i%len(l.dev.Queues()), l.echo(uint16(i), 56)); err != nil {
			return err
		}
		if err := l.receive(patience, func(f []byte) bool {
			seq, size, ok := replied(f)
			return ok && seq == uint16(i) && size == 56
		}); err != nil {
			return fmt.Errorf("ping %d: %w", i, err)
		}
		d := time.Since(begin)
		sum += d
		if i == 0 || d < least {
			least = d
		}
	}
	fmt.Printf("%d pings: least %v, mean %v\n", n, least.Round(time.Microsecond), (sum / time.Duration(n)).Round(time.Microsecond))
	return nil
}

// sizes pings with payloads up to the MTU's.
func (l *link) sizes() error {
	for i, size := range []int{0, 1, 17, 18, 19, 255, 256, 511, 1000, 1471, 1472} {
		if err := l.send(0, l.echo(uint16(500+i), size)); err != nil {
			return err
		}
		if err := l.receive(patience, func(f []byte) bool {
			seq, n, ok := replied(f)
			return ok && seq == uint16(500+i) && n == size
		}); err != nil {
			return fmt.Errorf("a ping of %d bytes: %w", size, err)
		}
	}
	return nil
}

// burst sends more frames than the ring holds, at once. netback counts them.
func (l *link) burst(queue, n int) error {
	u := make([]byte, 8+1400)
	binary.BigEndian.PutUint16(u, 4000)
	binary.BigEndian.PutUint16(u[2:], 9)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	var frames []netif.Frame
	for range n {
		frames = append(frames, l.ipv4(17, u))
	}
	before, counts := counter("vif0.0", "rx_packets")
	begin := time.Now()
	if err := l.send(queue, frames...); err != nil {
		return err
	}
	if !counts {
		return nil // it is another domain's to count
	}
	got := 0
	for deadline := time.Now().Add(patience); got < n && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		now, _ := counter("vif0.0", "rx_packets")
		got = now - before
	}
	fmt.Printf("burst on queue %d: %d of %d arrived in %v\n", queue, got, n, time.Since(begin).Round(time.Millisecond))
	if got < n {
		return errors.New("frames of a burst were lost")
	}
	return nil
}

// flood keeps some pings under way; more than dom0's ICMP socket holds it drops.
func (l *link) flood(n int) error {
	const window = 16
	begin := time.Now()
	sent, got := 0, 0
	for got < n {
		for ; sent < n && sent < got+window; sent++ {
			if err := l.send(sent%len(l.dev.Queues()), l.echo(uint16(1000+sent), 1400)); err != nil {
				return err
			}
		}
		if err := l.receive(patience, func(f []byte) bool {
			seq, _, ok := replied(f)
			if ok = ok && seq >= 1000; ok {
				got++
			}
			return ok
		}); err != nil {
			return fmt.Errorf("%d of %d pings, %d at a time: %w", got, n, window, err)
		}
	}
	fmt.Printf("%d pings of 1400 bytes, %d at a time, in %v\n", n, window, time.Since(begin).Round(time.Millisecond))
	return nil
}

// blank sends a datagram whose checksum is left to the far end, to a port where
// nobody listens: the refusal shows that it was accepted.
func (l *link) blank() error {
	u := make([]byte, 8+100)
	binary.BigEndian.PutUint16(u, 4000)
	binary.BigEndian.PutUint16(u[2:], 4001)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	sum := checksum.PseudoHeader(netip.AddrFrom4(ours()), netip.AddrFrom4(gateway()), 17, len(u))
	binary.BigEndian.PutUint16(u[6:], sum.Fold())
	f := l.ipv4(17, u)
	f.Meta = netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 6}
	for range 5 {
		if err := l.send(0, f); err != nil {
			return err
		}
		err := l.receive(2*time.Second, func(f []byte) bool {
			return len(f) >= 42 && f[12] == 8 && f[13] == 0 && f[23] == 1 && f[34] == 3 && f[35] == 3
		})
		if err == nil {
			fmt.Println("an unfinished checksum was completed")
		}
		if !errors.Is(err, errNoReply) {
			return err
		}
	}
	return errors.New("a datagram with an unfinished checksum was not accepted")
}

// crash connects and ends the process as it is.
func crash([]string) error {
	l, err := connect(2, 0)
	if err != nil {
		return err
	}
	return l.resolve()
}
