package netif_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
)

// recorded is a packet block of a capture.
type recorded struct {
	at        time.Time
	data      []byte
	size      int
	direction uint32
}

// parseCapture takes a capture apart and fails the test unless every length adds up.
func parseCapture(t *testing.T, b []byte) (linkType uint16, packets []recorded) {
	t.Helper()
	le := binary.LittleEndian
	for i := 0; len(b) > 0; i++ {
		if len(b) < 12 {
			t.Fatalf("block %d: %d bytes", i, len(b))
		}
		kind, n := le.Uint32(b), int(le.Uint32(b[4:]))
		if n%4 != 0 || n < 12 || n > len(b) || int(le.Uint32(b[n-4:])) != n {
			t.Fatalf("block %d: length %d of %d", i, n, len(b))
		}
		body := b[8 : n-4]
		b = b[n:]
		switch {
		case i == 0 && kind == 0x0a0d0d0a && le.Uint32(body) == 0x1a2b3c4d:
		case i == 1 && kind == 1:
			linkType = le.Uint16(body)
			if !bytes.Contains(body, []byte{9, 0, 1, 0, 9}) {
				t.Fatal("no resolution")
			}
		case i > 1 && kind == 6:
			kept := int(le.Uint32(body[12:]))
			options := body[20+(kept+3)/4*4:]
			if len(options) != 12 || le.Uint32(options) != 2|4<<16 || le.Uint32(options[8:]) != 0 {
				t.Fatalf("options % x", options)
			}
			packets = append(packets, recorded{
				at:   time.Unix(0, int64(le.Uint32(body[4:]))<<32|int64(le.Uint32(body[8:]))),
				data: body[20 : 20+kept], size: int(le.Uint32(body[16:])), direction: le.Uint32(options[4:]),
			})
		default:
			t.Fatalf("block %d is of type %#x", i, kind)
		}
	}
	return linkType, packets
}

func TestCapture(t *testing.T) {
	for _, link := range []netif.Link{netif.LinkEthernet, netif.LinkIP} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newWire(t, netif.WireConfig{Link: link, Offloads: netif.TxTSO4, Ring: 3})
			var file bytes.Buffer
			c, err := netif.Capture(a, &file, netif.CaptureOptions{})
			if err != nil {
				t.Fatal(err)
			}
			big := packet(6, 60001, true)
			begin := time.Now()
			q := c.Queues()[0]
			n, err := q.Write([]netif.Frame{
				{Fragments: [][]byte{big[:54], big[54:10000], big[10000:]}, Meta: netif.Meta{GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1000}},
				{Fragments: [][]byte{big[:99]}},
				{Fragments: [][]byte{big[:100]}},
				{Fragments: [][]byte{big[:101]}}, // not taken
			})
			if n != 3 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(1500*time.Millisecond + 7)
			write(t, b, big[:102])
			collect(t, c, func(*netif.Buf) {})
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			linkType, packets := parseCapture(t, file.Bytes())
			if want := map[netif.Link]uint16{netif.LinkEthernet: 1, netif.LinkIP: 101}[link]; linkType != want {
				t.Errorf("link type %d, want %d", linkType, want)
			}
			want := []recorded{
				{begin, big, len(big), 2}, {begin, big[:99], 99, 2}, {begin, big[:100], 100, 2},
				{begin.Add(1500*time.Millisecond + 7), big[:102], 102, 1},
			}
			if len(packets) != len(want) {
				t.Fatalf("%d packets, want %d", len(packets), len(want))
			}
			for i, p := range packets {
				w := want[i]
				if !p.at.Equal(w.at) || !bytes.Equal(p.data, w.data) || p.size != w.size || p.direction != w.direction {
					t.Errorf("packet %d: %v, %d of %d bytes, direction %d", i, p.at, len(p.data), p.size, p.direction)
				}
			}
			if c.Close() != nil || c.Close() != net.ErrClosed {
				t.Error("Close")
			}
		})
	}
}

func TestCaptureSnapLen(t *testing.T) {
	a, _ := newWire(t, netif.WireConfig{})
	var file bytes.Buffer
	if _, err := netif.Capture(a, &file, netif.CaptureOptions{SnapLen: -1}); err == nil {
		t.Error("a negative length was accepted")
	}
	c, err := netif.Capture(a, &file, netif.CaptureOptions{SnapLen: 61})
	if err != nil {
		t.Fatal(err)
	}
	f := packet(17, 500, true)
	c.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{f[:42], f[42:50], f[50:]}}})
	c.Close()
	_, packets := parseCapture(t, file.Bytes())
	if len(packets) != 1 || !bytes.Equal(packets[0].data, f[:61]) || packets[0].size != len(f) {
		t.Errorf("%d packets: %+v", len(packets), packets)
	}
}

// failing is a writer with room for some bytes.
type failing struct{ room int }

var errFull = errors.New("disk full")

func (w *failing) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestCaptureErrorDoesNotDisturbTraffic(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{})
	if _, err := netif.Capture(a, &failing{}, netif.CaptureOptions{}); !errors.Is(err, errFull) {
		t.Errorf("Capture: %v", err)
	}
	c, err := netif.Capture(a, &failing{room: 1000}, netif.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for i := range 500 {
		write(t, c, numbered(i, 1000))
		collect(t, b, func(f *netif.Buf) {
			if number(f) == i {
				got++
			}
		})
	}
	if got != 500 {
		t.Errorf("%d of 500 frames arrived", got)
	}
	if err := c.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.Queues()[0].Write(make([]netif.Frame, 1)); err != net.ErrClosed {
		t.Errorf("Write after Close: %v", err)
	}
}

// TestCaptureConcurrently has both ends busy, which the race detector watches.
func TestCaptureConcurrently(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{Ring: 1 << 12})
	var file bytes.Buffer
	c, err := netif.Capture(a, &file, netif.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				write(t, c, numbered(i, 100))
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			write(t, b, numbered(i, 100))
		}
	})
	wg.Go(func() {
		for got := 0; got < 100; {
			collect(t, c, func(*netif.Buf) { got++ })
			c.Flush()
		}
	})
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, packets := parseCapture(t, file.Bytes()); len(packets) != 500 {
		t.Errorf("%d packets, want 500", len(packets))
	}
}

func TestCaptureIsReadByTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed (package tshark)")
	}
	a, b := newWire(t, netif.WireConfig{Offloads: netif.TxTSO4})
	name := filepath.Join(t.TempDir(), "wire.pcapng")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, err := netif.Capture(a, file, netif.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	big := packet(6, 30000, true)
	c.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{big[:54], big[54:]}, Meta: netif.Meta{GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1000}}})
	write(t, c, packet(17, 33, true), packet(1, 56, true))
	write(t, b, packet(17, 44, true))
	collect(t, c, func(*netif.Buf) {})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-n", "-r", name, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
		"-T", "fields", "-E", "separator=/s", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.len",
		"-e", "ip.src", "-e", "ip.dst", "-e", "ip.proto", "-e", "udp.length", "-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "tcp.checksum.status", "-e", "tcp.len")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	want := fmt.Sprintf("wire0 0x00000002 %d 10.0.0.1 10.0.0.2 6  1  1 30000\n", len(big)) +
		"wire0 0x00000002 75 10.0.0.1 10.0.0.2 17 41 1 1  \n" +
		"wire0 0x00000002 98 10.0.0.1 10.0.0.2 1  1   \n" +
		"wire0 0x00000001 86 10.0.0.1 10.0.0.2 17 52 1 1  \n"
	if string(out) != want {
		t.Errorf("tshark read\n%swant\n%s%s", out, want, stderr.String())
	}
}
