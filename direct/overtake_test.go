package direct_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
)

// Datagrams that waited for the neighbour leave before those that were written
// later: some may be dropped while it is being resolved, but none overtakes.
func TestNoOvertakingWhileResolving(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	for round := range rounds {
		a, b, err := netif.NewWire(netif.WireConfig{})
		if err != nil {
			t.Fatal(err)
		}
		var stacks [2]*direct.Stack
		for i, dev := range []netif.Device{a, b} {
			stacks[i], err = direct.New(&direct.Config{Logger: quiet, Interfaces: []direct.Interface{
				{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", i+1))}},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		u, err := stacks[1].ListenPacket(t.Context(), "udp", "192.0.2.2:9")
		if err != nil {
			t.Fatal(err)
		}
		c, err := stacks[0].DialContext(t.Context(), "udp", "192.0.2.2:9")
		if err != nil {
			t.Fatal(err)
		}
		last := make(chan error, 1)
		go func() {
			next := uint32(0)
			buf := make([]byte, 8)
			for {
				if _, _, err := u.ReadFrom(buf); err != nil {
					last <- err
					return
				}
				n := binary.BigEndian.Uint32(buf)
				if n < next {
					last <- fmt.Errorf("round %d: datagram %d after %d", round, n, next-1)
					return
				}
				if n == 1<<20 {
					last <- nil
					return
				}
				next = n + 1
			}
		}()
		msg := make([]byte, 4)
		for i := range uint32(200) {
			binary.BigEndian.PutUint32(msg, i)
			if _, err := c.Write(msg); err != nil {
				t.Fatal(err)
			}
		}
		// The last one is repeated until it arrives.
		binary.BigEndian.PutUint32(msg, 1<<20)
		u.SetReadDeadline(time.Now().Add(time.Minute))
		for done := false; !done; {
			if _, err := c.Write(msg); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-last:
				if err != nil {
					t.Fatal(err)
				}
				done = true
			case <-time.After(time.Millisecond):
			}
		}
		for _, s := range stacks {
			s.Close()
		}
	}
}
