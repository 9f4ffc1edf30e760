package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/tcp"
)

// TestMain is the kernel's end of a path when the test starts itself as one.
func TestMain(m *testing.M) {
	if isChild() {
		if err := childMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every engine moves bytes over an impaired path, in short transfers and in bulk.
// Nothing is said of how fast.
func TestReal(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	base := realCell{Name: "test", Controller: "cubic", RTT: 4 * time.Millisecond, Rate: 50e6, Loss: 0.01}
	short, bulk := base, base
	short.work = work{Size: 100_000, Count: 3}
	bulk.work = work{Flows: 2, Warm: 50 * time.Millisecond, Time: 300 * time.Millisecond}
	for _, e := range realEngines() {
		for _, c := range []realCell{short, bulk} {
			r, err := e.measure(&c, 1)
			if err != nil || r.Err != "" {
				t.Errorf("%s, %s: %v %s", e.name, &c, err, r.Err)
				continue
			}
			if r.Count != c.Count || c.Size == 0 && r.Goodput <= 0 || r.Spurious > 0.5 {
				t.Errorf("%s, %s: %+v", e.name, &c, r)
			}
			t.Logf("%s, %s: %+v", e.name, &c, r)
		}
	}
	reno := short
	reno.Controller = "reno"
	for _, e := range realEngines() {
		r, err := e.measure(&reno, 1)
		if e.name == "gvisor" {
			if err != errNotOffered {
				t.Errorf("gvisor with Reno: %+v, %v", r, err)
			}
		} else if err != nil || r.Err != "" {
			t.Errorf("%s, %s: %v %s", e.name, &reno, err, r.Err)
		}
	}
}

// The meter tells what was sent again and what arrived for nothing.
func TestMeter(t *testing.T) {
	frame := func(port uint16, seq tcp.Seq, flags tcp.Flags, n int) []byte {
		r := tcp.Reply{Seq: seq, Flags: flags | tcp.ACK}
		segment := append(r.Append(nil, realPort, port), make([]byte, n)...)
		total := 20 + len(segment)
		b := make([]byte, 14+20, 14+total)
		b[12], b[14], b[23] = 0x08, 0x45, 6
		b[16], b[17] = byte(total>>8), byte(total)
		return append(append(b, segment...), 0, 0) // Ethernet may pad
	}
	var m meter
	const iss = tcp.Seq(1<<32 - 500)
	for _, port := range []uint16{1, 2} {
		m.enter(frame(port, iss, tcp.SYN, 0))
		m.leave(frame(port, iss, tcp.SYN, 0))
		for _, at := range []int{1, 1001, 2001, 1001} {
			m.enter(frame(port, iss.Add(at), 0, 1000))
		}
		for _, at := range []int{2001, 1, 1001, 1001} {
			m.leave(frame(port, iss.Add(at), 0, 1000))
		}
	}
	for _, odd := range [][]byte{nil, make([]byte, 20), make([]byte, 100), frame(1, iss, 0, 0)[:40]} {
		m.enter(odd)
		m.leave(odd)
	}
	if sent, again, spurious := m.figures(); sent != 8 || again != 2 || spurious != 2 {
		t.Errorf("%d sent, %d again, %d for nothing", sent, again, spurious)
	}
}

// A client tells bytes in the wrong place, and an early end.
func TestRealCheck(t *testing.T) {
	serve := func(answer func(net.Conn)) dialer {
		return func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				var ask [8]byte
				server.Read(ask[:])
				answer(server)
			}()
			return client, nil
		}
	}
	good := pattern()[:1000]
	bad := append([]byte(nil), good...)
	bad[500]++
	for name, c := range map[string]struct {
		bytes []byte
		fails bool
	}{"good": {good, false}, "bad": {bad, true}, "short": {good[:900], true}} {
		w := work{Size: 1000, Count: 2}
		r := w.do(t.Context(), serve(func(s net.Conn) { s.Write(c.bytes) }))
		if (r.Err != "") != c.fails || !c.fails && len(r.Took) != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Goals against Linux are those of the same cell.
func TestRealVerdicts(t *testing.T) {
	loss, short := realCell{Loss: 0.01}, realCell{RTT: 50 * time.Millisecond, work: work{Size: 1}}
	for _, c := range []struct {
		row realRow
		met bool
	}{
		{realRow{cell: &loss, results: map[string]realResult{"direct": {Goodput: 0.96}, "linux": {Goodput: 1}}}, true},
		{realRow{cell: &loss, results: map[string]realResult{"direct": {Goodput: 0.94}, "linux": {Goodput: 1}}}, false},
		{realRow{cell: &short, results: map[string]realResult{"direct": {Median: 149 * time.Millisecond}, "linux": {Median: 100 * time.Millisecond}}}, true},
		{realRow{cell: &short, results: map[string]realResult{"direct": {Median: 151 * time.Millisecond}, "linux": {Median: 100 * time.Millisecond}}}, false},
	} {
		c.row.judge()
		if len(c.row.goals) != 1 || c.row.goals[0].Met != c.met || c.row.failed() {
			t.Errorf("%+v", c.row)
		}
	}
}
