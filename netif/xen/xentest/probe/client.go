package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// client sends random bytes through the echo server with the kernel's sockets, both
// ways at once, and compares the sums.
func client(args []string) error {
	var mib, conns int
	var vif string
	flags("client", args, func(f *flag.FlagSet) {
		f.IntVar(&mib, "mib", 64, "how much to send, in MiB")
		f.StringVar(&vif, "vif", "vif0.0", "the kernel's interface to the guest")
		f.IntVar(&conns, "conns", 1, "connections to share it")
	})
	begin := time.Now()
	before := traffic(vif)
	results := make(chan error, conns)
	for i := range conns {
		go func() { results <- through(uint64(i), mib<<20/conns) }()
	}
	for range conns {
		if err := <-results; err != nil {
			return err
		}
	}
	d := time.Since(begin)
	after := traffic(vif)
	// What netback receives the guest has sent.
	out := (after.rxBytes - before.rxBytes) / max(after.rxFrames-before.rxFrames, 1)
	in := (after.txBytes - before.txBytes) / max(after.txFrames-before.txFrames, 1)
	fmt.Printf("%d MiB both ways in %v: %.1f MiB/s each; sums agree; mean frame out of the guest %d bytes, into it %d\n",
		mib, d.Round(time.Millisecond), float64(mib)/d.Seconds(), out, in)
	if out < 2000 || in < 2000 {
		return fmt.Errorf("no large frames were used")
	}
	return nil
}

// counters are those of an interface of the kernel's.
type counters struct{ rxBytes, rxFrames, txBytes, txFrames int }

func traffic(vif string) (c counters) {
	c.rxBytes, _ = counter(vif, "rx_bytes")
	c.rxFrames, _ = counter(vif, "rx_packets")
	c.txBytes, _ = counter(vif, "tx_bytes")
	c.txFrames, _ = counter(vif, "tx_packets")
	return c
}

func counter(vif, name string) (n int, ok bool) {
	b, err := os.ReadFile("/sys/class/net/" + vif + "/statistics/" + name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// through sends n bytes and reads them back.
func through(seed uint64, n int) error {
	c, err := net.DialTimeout("tcp", "10.9.0.2:7", patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Minute))
	sent, got := sha256.New(), sha256.New()
	failed := make(chan error, 1)
	go func() {
		var key [32]byte
		key[0] = byte(seed)
		_, err := io.CopyN(io.MultiWriter(c, sent), rand.NewChaCha8(key), int64(n))
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		failed <- err
	}()
	k, err := io.Copy(got, c)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", k, n, err)
	}
	if err := <-failed; err != nil {
		return err
	}
	if k != int64(n) || string(sent.Sum(nil)) != string(got.Sum(nil)) {
		return fmt.Errorf("%d bytes came back of %d, or other ones", k, n)
	}
	return nil
}

// get fetches a page from the guest.
func get(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("get URL")
	}
	c := http.Client{Timeout: patience}
	r, err := c.Get(args[0])
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d bytes\n", r.Status, len(body))
	if r.StatusCode != http.StatusOK || len(body) == 0 {
		return fmt.Errorf("no page")
	}
	return nil
}
