package netif_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/netduet/netduet/netif"
)

func newSwitch(t *testing.T, n int, cfg netif.WireConfig) []*netif.Port {
	t.Helper()
	ports, err := netif.NewSwitch(n, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func between(dst, src netif.MAC) []byte {
	f := udpFrame(1, 2, 3, 4, 10)
	copy(f, dst[:])
	copy(f[6:], src[:])
	return f
}

// arrivals empties all ports and says how many frames each had.
func arrivals(t *testing.T, ports []*netif.Port) string {
	t.Helper()
	var out []int
	for _, p := range ports {
		n := 0
		collect(t, p, func(*netif.Buf) { n++ })
		out = append(out, n)
	}
	return fmt.Sprint(out)
}

func TestSwitchLearns(t *testing.T) {
	ports := newSwitch(t, 4, netif.WireConfig{})
	mac := func(i int) netif.MAC { return ports[i].Info().MAC }
	all := netif.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for i, step := range []struct {
		from     int
		dst, src netif.MAC
		want     string
	}{
		{0, mac(1), mac(0), "[0 1 1 1]"}, // not known yet
		{1, mac(0), mac(1), "[1 0 0 0]"},
		{0, mac(1), mac(0), "[0 1 0 0]"},
		{2, all, mac(2), "[1 1 0 1]"},
		{2, netif.MAC{1, 0, 0x5e}, mac(2), "[1 1 0 1]"},
		{0, mac(2), mac(0), "[0 0 1 0]"},
		{3, mac(0), mac(1), "[1 0 0 0]"}, // 1 has moved to 3
		{0, mac(1), mac(0), "[0 0 0 1]"},
		{0, mac(0), mac(0), "[0 0 0 0]"}, // to itself
		{0, all, all, "[0 1 1 1]"},       // a group address is nobody's source
		{1, all, mac(3), "[1 0 1 1]"},
	} {
		write(t, ports[step.from], between(step.dst, step.src))
		if got := arrivals(t, ports); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestSwitchDropsWhatFindsNoRoom(t *testing.T) {
	ports := newSwitch(t, 3, netif.WireConfig{Ring: 5})
	all := netif.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frames := make([]netif.Frame, 200)
	for i := range frames {
		frames[i].Fragments = [][]byte{between(all, ports[0].Info().MAC)}
	}
	if n, err := ports[0].Queues()[0].Write(frames); n != 200 || err != nil {
		t.Fatal(n, err)
	}
	if got := arrivals(t, ports); got != "[0 5 5]" || ports[1].Stats().Overflowed != 195 {
		t.Errorf("%s, %+v", got, ports[1].Stats())
	}
	ports[1].Close()
	write(t, ports[0], between(all, ports[0].Info().MAC))
	if got := arrivals(t, []*netif.Port{ports[0], ports[2]}); got != "[0 1]" {
		t.Error(got)
	}
	select {
	case <-ports[0].Queues()[0].Writable():
	default:
		t.Error("not writable")
	}
}

func TestSwitchForgetsTheOldestAndClosedPorts(t *testing.T) {
	ports := newSwitch(t, 3, netif.WireConfig{})
	first := netif.MAC{2, 9, 9, 9, 9, 9}
	write(t, ports[1], between(first, first))
	for i := range 5000 {
		m := netif.MAC{2, 8}
		binary.BigEndian.PutUint32(m[2:], uint32(i))
		write(t, ports[2], between(first, m))
		if i == 4000 {
			arrivals(t, ports)
			write(t, ports[0], between(first, ports[0].Info().MAC))
			if got := arrivals(t, ports); got != "[0 1 0]" {
				t.Errorf("before the table was full: %s", got)
			}
		}
		arrivals(t, ports)
	}
	write(t, ports[0], between(first, ports[0].Info().MAC))
	if got := arrivals(t, ports); got != "[0 1 1]" {
		t.Errorf("after 5000 others: %s", got)
	}
	last := netif.MAC{2, 8, 0, 0, 0x13, 0x87}
	ports[2].Close()
	write(t, ports[0], between(last, ports[0].Info().MAC))
	if got := arrivals(t, ports[:2]); got != "[0 1]" {
		t.Errorf("to an address of a closed port: %s", got)
	}
}

func TestSwitchConfigErrors(t *testing.T) {
	for _, c := range []struct {
		n   int
		cfg netif.WireConfig
	}{{1, netif.WireConfig{}}, {257, netif.WireConfig{}}, {2, netif.WireConfig{Link: netif.LinkIP}}, {2, netif.WireConfig{MTU: 1}}} {
		if _, err := netif.NewSwitch(c.n, c.cfg); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
