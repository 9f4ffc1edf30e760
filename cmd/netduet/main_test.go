package main

import (
	"strings"
	"testing"
	"time"
)

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 7: "7ns", 1234: "1.23µs", 45678: "45.7µs", 456789: "457µs",
		1234567: "1.23ms", 98765432: "98.8ms", 1234567890: "1.23s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
	var v []time.Duration
	for i := range 101 {
		v = append(v, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(v, q); got != want {
			t.Errorf("%v: %d", q, got)
		}
	}
}

// The progress line leaves nothing behind, and nothing at all goes to a file.
func TestProgress(t *testing.T) {
	var b strings.Builder
	r := &report{w: &b, terminal: true}
	r.progress("half")
	r.say("done")
	if b.String() != "half\r\x1b[Kdone\n" {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	r = &report{w: &b}
	r.progress("half")
	r.watch(func() string { return "half" })()
	r.say("done")
	if b.String() != "done\n" {
		t.Errorf("%q", b.String())
	}
	r.transfers = []transfer{{"x", 64 << 20, time.Second}}
	r.tables()
	if !strings.Contains(b.String(), "64 MiB") || !strings.Contains(b.String(), "67.1 MB/s") {
		t.Errorf("%q", b.String())
	}
}
