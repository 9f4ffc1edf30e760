package netif_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

func impaired(t testing.TB, cfg netif.Impairment, wire netif.WireConfig) (*netif.Impaired, *netif.Port) {
	t.Helper()
	a, b := newWire(t, wire)
	d, err := netif.Impair(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d, b
}

// numbered returns a frame of size bytes that carries i behind the headers.
func numbered(i, size int) []byte {
	f := udpFrame(1, 2, 1, 2, size-42)
	binary.BigEndian.PutUint32(f[42:], uint32(i))
	return f
}

func number(f *netif.Buf) int { return int(binary.BigEndian.Uint32(f.Data[42:])) }

// collect reads all that has arrived at p and calls f for each frame.
func collect(t testing.TB, p netif.Device, f func(*netif.Buf)) {
	t.Helper()
	bufs := make([]*netif.Buf, 100)
	for _, q := range p.Queues() {
		for {
			n, err := q.Read(bufs)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			for _, b := range bufs[:n] {
				f(b)
				b.Release()
			}
		}
	}
}

func write(t testing.TB, d netif.Device, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if n, err := d.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{f}}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestImpairDelayAndRateAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1000 bytes take 8 ms at 1 Mbit/s; the queue holds three frames.
		d, b := impaired(t, netif.Impairment{Delay: 100 * time.Millisecond, Rate: 1e6, QueuePackets: 3}, netif.WireConfig{})
		start := time.Now()
		for i := range 5 {
			write(t, d, numbered(i, 1000))
		}
		for i := range 3 {
			if err := b.Queues()[0].Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			collect(t, b, func(f *netif.Buf) {
				if want := 100*time.Millisecond + time.Duration(i+1)*8*time.Millisecond; number(f) != i || time.Since(start) != want {
					t.Errorf("frame %d after %v, want %d after %v", number(f), time.Since(start), i, want)
				}
			})
		}
		if s := d.Stats(); s.QueueFull != 2 || s.Written != 5 || s.Delivered != 3 {
			t.Errorf("%+v", s)
		}
		write(t, d, numbered(9, 1000))
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if s := d.Stats(); s.Abandoned != 1 {
			t.Errorf("%+v", s)
		}
		if err := d.Close(); err != net.ErrClosed {
			t.Error(err)
		}
		// The bubble ends only if no goroutine is left.
	})
}

func TestImpairQueueBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{Rate: 1e9, QueueBytes: 2500}, netif.WireConfig{})
		defer d.Close()
		for i := range 10 {
			write(t, d, numbered(i, 1000))
		}
		time.Sleep(time.Second)
		n := 0
		collect(t, b, func(f *netif.Buf) { n++ })
		if n != 2 || d.Stats().QueueFull != 8 {
			t.Errorf("%d arrived, %+v", n, d.Stats())
		}
	})
}

func TestImpairFrequencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 50000
		const seed = 7
		d, b := impaired(t, netif.Impairment{
			Seed: seed, Loss: 0.1, Duplicate: 0.05, Reorder: 0.02, ReorderDelay: time.Millisecond,
			Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond,
		}, netif.WireConfig{})
		defer d.Close()
		last, late, got := -1, 0, 0
		for i := range total {
			write(t, d, numbered(i, 60))
			time.Sleep(50 * time.Microsecond)
			collect(t, b, func(f *netif.Buf) {
				got++
				if n := number(f); n < last {
					late++
				} else {
					last = n
				}
			})
		}
		time.Sleep(time.Second)
		collect(t, b, func(*netif.Buf) { got++ })
		s := d.Stats()
		near := func(what string, got uint64, p float64) {
			t.Helper()
			want, sigma := p*total, math.Sqrt(p*(1-p)*total)
			if math.Abs(float64(got)-want) > 5*sigma {
				t.Errorf("seed %d: %s %d times, want %.0f±%.0f", seed, what, got, want, 5*sigma)
			}
		}
		near("lost", s.Lost, 0.1)
		near("duplicated", s.Duplicated, 0.9*0.05)
		near("reordered", s.Reordered, 0.9*0.02)
		if uint64(got) != total-s.Lost+s.Duplicated || uint64(got) != s.Delivered {
			t.Errorf("%d arrived: %+v", got, s)
		}
		// Reordering overtakes by 1 ms, which is many frames; jitter alone never does.
		if late == 0 || late > int(s.Reordered)+int(s.Duplicated) {
			t.Errorf("%d frames were late: %+v", late, s)
		}
	})
}

func TestImpairJitterKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{Jitter: time.Second}, netif.WireConfig{})
		defer d.Close()
		for i := range 500 {
			write(t, d, numbered(i, 60))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		next := 0
		collect(t, b, func(f *netif.Buf) {
			if number(f) != next {
				t.Fatalf("frame %d where %d should be", number(f), next)
			}
			next++
		})
		if next != 500 {
			t.Errorf("%d arrived", next)
		}
	})
}

func TestImpairBurstLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{Seed: 3, Burst: netif.GilbertElliott{ToBad: 0.01, ToGood: 0.25, LossBad: 1}}, netif.WireConfig{})
		defer d.Close()
		const total = 40000
		bursts, lost, last := 0, 0, -1
		for i := range total {
			write(t, d, numbered(i, 60))
			if i%500 == 499 || i == total-1 {
				synctest.Wait()
				collect(t, b, func(f *netif.Buf) {
					if gap := number(f) - last - 1; gap > 0 {
						bursts++
						lost += gap
					}
					last = number(f)
				})
			}
		}
		// A burst lasts 4 frames on average and comes after 100 good ones.
		if mean := float64(lost) / float64(bursts); mean < 3.4 || mean > 4.6 || bursts < 300 || bursts > 470 {
			t.Errorf("%d bursts of %.2f frames", bursts, mean)
		}
	})
}

func TestImpairIsDeterministic(t *testing.T) {
	run := func(t *testing.T, seed uint64, batch int) []string {
		var got []string
		synctest.Test(t, func(t *testing.T) {
			d, b := impaired(t, netif.Impairment{Seed: seed, Loss: 0.2, Corrupt: 0.2, CorruptMode: netif.CorruptAny,
				Duplicate: 0.1, Reorder: 0.1, ReorderDelay: time.Second, Jitter: time.Millisecond}, netif.WireConfig{})
			defer d.Close()
			frames := make([]netif.Frame, 300)
			for i := range frames {
				frames[i].Fragments = [][]byte{numbered(i, 100)}
			}
			for len(frames) > 0 {
				n, err := d.Queues()[0].Write(frames[:min(batch, len(frames))])
				if err != nil {
					t.Fatal(err)
				}
				frames = frames[n:]
			}
			time.Sleep(time.Minute)
			collect(t, b, func(f *netif.Buf) { got = append(got, string(f.Data)) })
		})
		return got
	}
	a, b, c := run(t, 1, 1), run(t, 1, 64), run(t, 2, 1)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed gave different results")
	}
	if fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("different seeds gave the same result")
	}
}

// intact reports whether a receiver that checks everything would take the frame,
// an IPv4 packet of TCP, UDP or ICMP, for good.
func intact(f []byte) bool {
	if len(f) < 34 || f[12] != 8 || f[13] != 0 || f[14]>>4 != 4 {
		return false
	}
	ip := f[14:]
	h, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if h < 20 || total < h || total > len(ip) || checksum.Sum(ip[:h], 0).Fold() != checksum.Valid {
		return false
	}
	src, dst := netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	seg := ip[h:total]
	switch ip[9] {
	case 1:
		return checksum.Sum(seg, 0).Fold() == checksum.Valid
	case 17:
		if len(seg) < 8 {
			return false
		}
		n := int(binary.BigEndian.Uint16(seg[4:]))
		if n < 8 || n > len(seg) {
			return false
		}
		if seg = seg[:n]; seg[6] == 0 && seg[7] == 0 {
			return true
		}
	}
	return checksum.Sum(seg, checksum.PseudoHeader(src, dst, ip[9], len(seg))).Fold() == checksum.Valid
}

// packet is a valid IPv4 packet with n bytes behind the transport header.
func packet(proto byte, n int, udpSum bool) []byte {
	header := map[byte]int{1: 8, 6: 20, 17: 8}[proto]
	f := udpFrame(1, 2, 1000, 2000, header-8+n)
	f[23] = proto
	ip, seg := f[14:34], f[34:]
	at := map[byte]int{1: 2, 6: 16, 17: 6}[proto]
	switch proto {
	case 1:
		seg[2], seg[3] = 0, 0
		binary.BigEndian.PutUint16(seg[at:], checksum.Sum(seg, 0).Checksum())
	case 6:
		seg[12] = 5 << 4
		fallthrough
	case 17:
		seg[at], seg[at+1] = 0, 0
		if udpSum || proto == 6 {
			c := checksum.Sum(seg, checksum.PseudoHeader(netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), proto, len(seg))).Checksum()
			if c == 0 {
				c = 0xffff
			}
			binary.BigEndian.PutUint16(seg[at:], c)
		}
	}
	binary.BigEndian.PutUint16(ip[10:], checksum.Sum(ip, 0).Checksum())
	return f
}

func TestDetectableCorruptionIsAlwaysDetected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{Seed: 5, Corrupt: 1}, netif.WireConfig{})
		defer d.Close()
		r := rand.New(rand.NewPCG(5, 5))
		var sent [][]byte
		changed := make(map[int]bool)
		for round := range 40000 {
			f := packet([]byte{1, 6, 17}[round%3], r.IntN(40), r.IntN(4) > 0)
			if !intact(f) {
				t.Fatal("the test's own frame is not valid")
			}
			sent = append(sent, f)
			write(t, d, f)
			if len(sent) == 500 {
				synctest.Wait()
				i := 0
				collect(t, b, func(got *netif.Buf) {
					if bytes.Equal(got.Data, sent[i]) || len(got.Data) != len(sent[i]) {
						t.Fatal("not corrupted, or another length")
					}
					if intact(got.Data) {
						t.Fatalf("undetected:\n% x\n% x", sent[i], got.Data)
					}
					flips, first, last := 0, -1, 0
					for bit := range len(got.Data) * 8 {
						if (got.Data[bit/8]^sent[i][bit/8])&(0x80>>(bit%8)) != 0 {
							if first < 0 {
								first = bit
							}
							last = bit
							flips++
							changed[bit/8] = true
						}
					}
					if last-first >= 15 {
						t.Fatalf("%d bits flipped over %d", flips, last-first+1)
					}
					i++
				})
				sent = sent[:0]
			}
		}
		for at := 15; at < 70; at++ {
			if !changed[at] {
				t.Errorf("byte %d was never changed", at)
			}
		}
		for at := range 15 {
			if changed[at] {
				t.Errorf("byte %d was changed, which no checksum covers", at)
			}
		}
		if s := d.Stats(); s.Corrupted != 40000 || s.Intact != 0 {
			t.Errorf("%+v", s)
		}
		write(t, d, append(make([]byte, 12), 8, 6, 0, 1)) // ARP, of a kind
		synctest.Wait()
		if s := d.Stats(); s.Intact != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestImpairSegmentsLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{}, netif.WireConfig{Offloads: netif.TxTSO4 | netif.TxUSO})
		defer d.Close()
		big := packet(6, 20000, true)
		binary.BigEndian.PutUint16(big[50:], checksum.PseudoHeader(netip.AddrFrom4([4]byte(big[26:])), netip.AddrFrom4([4]byte(big[30:])), 6, len(big)-34).Fold())
		meta := netif.Meta{Flags: netif.NeedsChecksum, GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1460, ChecksumStart: 34, ChecksumOffset: 16}
		over, bad, partial := meta, meta, meta
		over.SegmentSize, bad.SegmentSize, partial.GSO = 1461, 0, netif.GSONone
		small := packet(6, 100, true)
		small[50], small[51] = 0, 0
		binary.BigEndian.PutUint16(small[50:], checksum.PseudoHeader(netip.AddrFrom4([4]byte(small[26:])), netip.AddrFrom4([4]byte(small[30:])), 6, len(small)-34).Fold())
		outside := partial
		outside.ChecksumStart = 9999
		n, err := d.Queues()[0].Write([]netif.Frame{
			{Fragments: [][]byte{big[:54], big[54:9000], big[9000:]}, Meta: meta},
			{Fragments: [][]byte{big}, Meta: over},
			{Fragments: [][]byte{big}, Meta: bad},
			{Fragments: [][]byte{big}},
			{Fragments: [][]byte{small}, Meta: partial},
			{Fragments: [][]byte{small}, Meta: outside},
			{}, {Fragments: [][]byte{{1, 2, 3}}},
		})
		if n != 8 || err != nil {
			t.Fatal(n, err)
		}
		synctest.Wait()
		var payload []byte
		count := 0
		collect(t, b, func(f *netif.Buf) {
			count++
			if !intact(f.Data) || f.Meta != (netif.Meta{}) {
				t.Errorf("frame %d: not a valid plain frame, %+v", count, f.Meta)
			}
			if count <= 14 {
				payload = append(payload, f.Data[54:]...)
			}
		})
		if count != 15 || !bytes.Equal(payload, big[54:]) {
			t.Errorf("%d frames arrived", count)
		}
		want := netif.ImpairStats{Written: 14 + 14 + 1 + 1, Delivered: 15, Segmented: 2, Checksums: 1, Malformed: 4, TooLarge: 15}
		if s := d.Stats(); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

func TestImpairMTU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{MTU: 1280}, netif.WireConfig{})
		defer d.Close()
		write(t, d, make([]byte, 1294), make([]byte, 1295), make([]byte, 1515))
		synctest.Wait()
		n := 0
		collect(t, b, func(f *netif.Buf) { n += len(f.Data) })
		if n != 1294 || d.Stats().TooLarge != 2 || d.Info().MTU != 1500 {
			t.Errorf("%d bytes arrived, %+v", n, d.Stats())
		}
	})
}

func TestImpairWaitsForASlowDeviceAndBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, b := impaired(t, netif.Impairment{HoldBytes: 20 * 1600}, netif.WireConfig{Ring: 4})
		for i := range 100 {
			write(t, d, numbered(i, 100))
		}
		synctest.Wait()
		if s := d.Stats(); s.Delivered != 4 || s.HoldFull == 0 {
			t.Errorf("%+v", s)
		}
		next := 0
		for range 20 {
			collect(t, b, func(f *netif.Buf) {
				if number(f) != next {
					t.Fatalf("frame %d where %d should be", number(f), next)
				}
				next++
			})
			synctest.Wait()
		}
		s := d.Stats()
		if next < 15 || uint64(next) != s.Delivered || s.HoldFull+s.Delivered != 100 {
			t.Errorf("%d arrived: %+v", next, s)
		}
		for i := range 10 {
			write(t, d, numbered(i, 100))
		}
		synctest.Wait()
		// Close while the delivering goroutine waits for room.
		d.Close()
		if s := d.Stats(); s.Abandoned != 6 {
			t.Errorf("%+v", s)
		}
	})
}

func TestImpairReportsADeviceThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newWire(t, netif.WireConfig{})
		d, err := netif.Impair(a, netif.Impairment{})
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		write(t, d, make([]byte, 60))
		synctest.Wait()
		if _, err := d.Queues()[0].Write(make([]netif.Frame, 1)); err != net.ErrClosed {
			t.Error(err)
		}
		if err := d.Close(); err != net.ErrClosed {
			t.Error(err)
		}
	})
}

func TestImpairConfigErrors(t *testing.T) {
	a, _ := newWire(t, netif.WireConfig{})
	for _, cfg := range []netif.Impairment{
		{Loss: -0.1}, {Loss: 1.1}, {Corrupt: math.NaN()}, {Duplicate: 2}, {Reorder: 0.5}, {MTU: -1}, {MTU: 1501},
		{Rate: -1}, {Delay: -1}, {CorruptMode: 9}, {Burst: netif.GilbertElliott{ToBad: 3}}, {HoldBytes: -1},
	} {
		if d, err := netif.Impair(a, cfg); err == nil {
			d.Close()
			t.Errorf("%+v was accepted", cfg)
		}
	}
	if _, err := netif.Impair(nil, netif.Impairment{}); err == nil {
		t.Error("no device was accepted")
	}
}

func TestImpairAllocatesNothingPerFrame(t *testing.T) {
	d, b := impaired(t, netif.Impairment{Duplicate: 1, Corrupt: 1, Jitter: 1}, netif.WireConfig{Ring: 4096})
	defer d.Close()
	frames := make([]netif.Frame, 64)
	for i := range frames {
		frames[i].Fragments = [][]byte{packet(6, 100, true)}
	}
	bufs := make([]*netif.Buf, 64)
	q := b.Queues()[0]
	round := func() {
		d.Queues()[0].Write(frames)
		for got := 0; got < 2*len(frames); {
			n, _ := q.Read(bufs)
			for _, f := range bufs[:n] {
				f.Release()
			}
			if got += n; n == 0 {
				q.Wait(context.Background())
			}
		}
	}
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d frames", n, len(frames))
	}
}
