package tap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
)

var inNamespace = netnstest.Options{Tun: true}

func open(t *testing.T, cfg tap.Config) *tap.Device {
	t.Helper()
	d, err := tap.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// eachDriver runs f as a subtest of both.
func eachDriver(t *testing.T, f func(t *testing.T, driver string)) {
	for _, driver := range []string{tap.DriverNative, tap.DriverWater} {
		t.Run(driver, func(t *testing.T) { f(t, driver) })
	}
}

func TestExchange(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Driver: driver})
		q := d.Queues()[0]
		p := newPeer(t, d.Info().Name)
		if d.Info().MTU != 1500 || d.Info().MAC == p.info.MAC || d.Info().MAC[0]&3 != 2 {
			t.Fatalf("info %+v, the kernel's end has %x", d.Info(), p.info.MAC)
		}
		for size := 0; size <= 1500; size += 100 {
			out := frame(p.info.MAC, d.Info().MAC, strings.Repeat("o", size))
			// In three parts, one of them empty, as from a send buffer.
			f := netif.Frame{Fragments: [][]byte{out[:14], {}, out[14:]}}
			if n, err := q.Write([]netif.Frame{f}); n != 1 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			b := recv(t, p)
			if !bytes.Equal(b.Data, out) {
				t.Fatalf("%d bytes: got %x", size, b.Data)
			}
			b.Release()
			in := frame(d.Info().MAC, p.info.MAC, strings.Repeat("i", size))
			if n, err := p.Write(one(in)); n != 1 || err != nil {
				t.Fatalf("peer's Write = %d, %v", n, err)
			}
			b = recv(t, q)
			if !bytes.Equal(b.Data, in) || b.Meta != (netif.Meta{}) {
				t.Fatalf("%d bytes: got %x, %+v", size, b.Data, b.Meta)
			}
			b.Release()
		}
		if s := d.Stats(); s != (tap.Stats{}) {
			t.Errorf("stats %+v", s)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := net.InterfaceByName(d.Info().Name); err == nil {
			t.Error("the tap is still there")
		}
	})
}

// The kernel's IP speaks: its ARP request arrives, and its echo request once it
// has our answer.
func TestKernelPing(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Driver: driver})
		q, name, mac := d.Queues()[0], d.Info().Name, d.Info().MAC
		if err := netns.AddAddr(name, netip.MustParsePrefix("10.0.0.1/24")); err != nil {
			t.Fatal(err)
		}
		if err := netns.LinkUp(name); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // type 8, checksum complete
		if err := unix.Sendto(fd, echo, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 0, 0, 2}}); err != nil {
			t.Fatal(err)
		}
		next := func(etherType uint16) []byte {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for {
				var bufs [1]*netif.Buf
				n, err := q.Read(bufs[:])
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					if err := q.Wait(ctx); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if b := bufs[0].Data; uint16(b[12])<<8|uint16(b[13]) == etherType {
					return b
				}
				bufs[0].Release()
			}
		}
		ask := next(0x0806)
		reply := append(append(append([]byte{}, ask[6:12]...), mac[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
		reply = append(append(append(append(reply, mac[:]...), 10, 0, 0, 2), ask[22:28]...), 10, 0, 0, 1)
		if n, err := q.Write(one(reply)); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		ping := next(0x0800)
		if netif.MAC(ping[:6]) != mac || !bytes.Equal(ping[34:], echo) {
			t.Fatalf("echo request %x", ping)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Driver: driver})
		q := d.Queues()[0]
		p := newPeer(t, d.Info().Name)

		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		if err := q.Wait(canceled); !errors.Is(err, context.Canceled) {
			t.Fatalf("with a cancelled context: %v", err)
		}
		// A context that ends while Wait sleeps ends that Wait, and no later one.
		for i := range 50 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5)*time.Millisecond)
			if err := q.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("round %d: %v", i, err)
			}
			cancel()
			if n, err := p.Write(one(frame(d.Info().MAC, p.info.MAC, "x"))); n != 1 || err != nil {
				t.Fatalf("peer's Write = %d, %v", n, err)
			}
			recv(t, q).Release()
		}
		// Cancelling a context whose Wait is over harms none that follows.
		old, cancelOld := context.WithCancel(context.Background())
		p.Write(one(frame(d.Info().MAC, p.info.MAC, "x")))
		if err := q.Wait(old); err != nil {
			t.Fatal(err)
		}
		recv(t, q).Release()
		go cancelOld()
		errs := make(chan error)
		go func() { errs <- q.Wait(context.Background()) }()
		<-old.Done()
		p.Write(one(frame(d.Info().MAC, p.info.MAC, "x")))
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		recv(t, q).Release()

		go func() { errs <- q.Wait(context.Background()) }()
		runtime.Gosched()
		d.Close()
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Wait during Close: %v", err)
		}
		if err := q.Wait(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Wait after Close: %v", err)
		}
		if _, err := q.Read(make([]*netif.Buf, 1)); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Read after Close: %v", err)
		}
		if _, err := q.Write(one(make([]byte, 60))); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Write after Close: %v", err)
		}
		select {
		case <-q.Writable():
		default:
			t.Fatal("Writable is open after Close")
		}
	})
}

// A link that is down loses frames and nothing else.
func TestLinkDown(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Driver: driver, Offload: tap.OffloadOff})
		q := d.Queues()[0]
		for range 3 {
			if n, err := q.Write(one(frame(netif.MAC{}, d.Info().MAC, "lost"))); n != 1 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		waitFor(t, func() bool { return d.Stats().TxDown == 3 })
		p := newPeer(t, d.Info().Name)
		for _, bad := range [][]byte{nil, make([]byte, 13), make([]byte, 1515), make([]byte, 1<<17)} {
			if n, err := q.Write(one(bad)); n != 1 || err != nil {
				t.Fatalf("Write of %d bytes = %d, %v", len(bad), n, err)
			}
		}
		wants := netif.Frame{Fragments: [][]byte{make([]byte, 60)}, Meta: netif.Meta{Flags: netif.NeedsChecksum}}
		if n, err := q.Write([]netif.Frame{wants}); n != 1 || err != nil {
			t.Fatalf("Write with an unfinished checksum = %d, %v", n, err)
		}
		if s := d.Stats(); s.TxUnsendable != 5 {
			t.Errorf("stats %+v", s)
		}
		if n, err := q.Write(one(frame(p.info.MAC, d.Info().MAC, "through"))); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if b := recv(t, p); string(b.Data[14:]) != "through" {
			t.Fatalf("got %q", b.Data[14:])
		}
	})
}

// An interface that is taken away ends the device, with a reason.
func TestRemoved(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Driver: driver})
		q := d.Queues()[0]
		errs := make(chan error)
		go func() {
			for {
				if err := q.Wait(context.Background()); err != nil {
					errs <- err
					return
				}
				if _, err := q.Read(make([]*netif.Buf, 8)); err != nil {
					errs <- err
					return
				}
			}
		}()
		if err := netns.LinkDel(d.Info().Name); err != nil {
			t.Fatal(err)
		}
		if err := <-errs; !errors.Is(err, unix.EBADFD) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestPersistence(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	eachDriver(t, func(t *testing.T, driver string) {
		name := "keep-" + driver[:1]
		there := func() bool { _, err := net.InterfaceByName(name); return err == nil }
		var mac netif.MAC
		for i, persist := range []bool{true, false, false} { // once persistent, it stays so
			d := open(t, tap.Config{Name: name, Driver: driver, Persistent: persist})
			if i > 0 && d.Info().MAC != mac {
				t.Errorf("our address changed from %x to %x", mac, d.Info().MAC)
			}
			mac = d.Info().MAC
			d.Close()
			if !there() {
				t.Fatalf("round %d: the tap is gone", i)
			}
		}
	})
}

func TestMTU(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	if err := netns.AddTap("big", netns.Tap{Owner: -1}); err != nil {
		t.Fatal(err)
	}
	if err := netns.LinkMTU("big", 9000); err != nil {
		t.Fatal(err)
	}
	eachDriver(t, func(t *testing.T, driver string) {
		d := open(t, tap.Config{Name: "big", Driver: driver})
		if d.Info().MTU != 9000 {
			t.Fatalf("MTU %d", d.Info().MTU)
		}
		p := newPeer(t, "big")
		in := frame(d.Info().MAC, p.info.MAC, strings.Repeat("j", 9000))
		if n, err := p.Write(one(in)); n != 1 || err != nil {
			t.Fatalf("peer's Write = %d, %v", n, err)
		}
		if b := recv(t, d.Queues()[0]); !bytes.Equal(b.Data, in) {
			t.Fatalf("%d bytes", len(b.Data))
		}
		d.Close()
		d = open(t, tap.Config{Name: "big", Driver: driver, MTU: 1400})
		if d.Info().MTU != 1400 {
			t.Fatalf("MTU %d", d.Info().MTU)
		}
		d.Close()
	})
	d := open(t, tap.Config{Name: "big", MTU: 9001})
	if ifi, err := net.InterfaceByName("big"); err != nil || ifi.MTU != 9001 || d.Info().MTU != 9001 {
		t.Fatalf("%+v, %v", ifi, err)
	}
	// The MTU grows behind our back: the frame that does not fit is dropped whole.
	p := newPeer(t, "big")
	if err := netns.LinkMTU("big", 20000); err != nil {
		t.Fatal(err)
	}
	p.Write(one(frame(d.Info().MAC, p.info.MAC, strings.Repeat("j", 20000)), frame(d.Info().MAC, p.info.MAC, "next")))
	if b := recv(t, d.Queues()[0]); string(b.Data[14:]) != "next" {
		t.Fatalf("%d bytes", len(b.Data))
	}
	if s := d.Stats(); s.RxTruncated != 1 {
		t.Errorf("stats %+v", s)
	}
}

// Whatever a user before us switched on, a plain tap has plain frames.
func TestOffloadsOfOthers(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	if err := netns.AddTap("t0", netns.Tap{Owner: -1}); err != nil {
		t.Fatal(err)
	}
	eachDriver(t, func(t *testing.T, driver string) {
		other := open(t, tap.Config{Name: "t0"})
		if !offloadsOf(t, "t0") {
			t.Fatal("the offloads are off: the test cannot fail")
		}
		other.Close()
		d := open(t, tap.Config{Name: "t0", Driver: driver, Offload: tap.OffloadOff})
		if on := offloadsOf(t, "t0"); on {
			t.Error("the kernel still segments nothing for this tap")
		}
		d.Close()
	})
}

func TestQueues(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	d := open(t, tap.Config{Name: "mq", Queues: 3})
	if len(d.Queues()) != 3 {
		t.Fatalf("%d queues", len(d.Queues()))
	}
	p := newPeer(t, "mq")
	for i, q := range d.Queues() {
		want := fmt.Sprint("queue ", i)
		if n, err := q.Write(one(frame(p.info.MAC, d.Info().MAC, want))); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if b := recv(t, p); string(b.Data[14:]) != want {
			t.Fatalf("got %q", b.Data[14:])
		}
	}
	// Frames for us come by whichever queue the kernel likes, each once.
	p.Write(one(frame(d.Info().MAC, p.info.MAC, "in")))
	got := make(chan int, 3)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, q := range d.Queues() {
		go func() {
			var bufs [1]*netif.Buf
			for q.Wait(ctx) == nil {
				if n, _ := q.Read(bufs[:]); n == 1 && string(bufs[0].Data[14:]) == "in" {
					got <- i
				}
			}
		}()
	}
	<-got
	d.Close()

	if err := netns.AddTap("mq1", netns.Tap{Owner: -1, MultiQueue: true}); err != nil {
		t.Fatal(err)
	}
	eachDriver(t, func(t *testing.T, driver string) { // one queue of a tap for many
		d := open(t, tap.Config{Name: "mq1", Driver: driver})
		d.Close()
	})
}

func TestOpenErrors(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netns.AddTap("single", netns.Tap{Owner: -1}))
	must(netns.AddTap("tun0", netns.Tap{Owner: -1, TUN: true}))
	must(netns.AddVeth("va", "vb"))
	busy := open(t, tap.Config{Name: "busy"})
	file, err := os.Open("/dev/null")
	must(err)
	defer file.Close()
	for _, c := range []struct {
		cfg  tap.Config
		want string
		is   error
	}{
		{tap.Config{Name: "busy"}, "in use by another process", unix.EBUSY},
		{tap.Config{Name: "tun0"}, "is a tun", unix.EINVAL},
		{tap.Config{Name: "va"}, "no tap but another interface", unix.EINVAL},
		{tap.Config{Name: "lo"}, "no tap but another interface", unix.EINVAL},
		{tap.Config{Name: "single", Queues: 2}, "multi_queue", unix.EINVAL},
		{tap.Config{Name: "sixteen-letters-"}, "longer than 15", nil},
		{tap.Config{Name: "a/b"}, "no slash", nil},
		{tap.Config{Name: "tap%s"}, "%d", nil},
		{tap.Config{MTU: 67}, "outside 68 to", nil},
		{tap.Config{MTU: 70000}, "outside 68 to", nil},
		{tap.Config{MAC: netif.MAC{1, 2, 3, 4, 5, 6}}, "multicast", nil},
		{tap.Config{Queues: -1}, "queues", nil},
		{tap.Config{Driver: "best"}, "unknown driver", nil},
		{tap.Config{FDs: []int{3}, Name: "x"}, "inherited", nil},
		{tap.Config{FDs: []int{9999}}, "not open", unix.EBADF},
		{tap.Config{FDs: []int{int(file.Fd())}}, "not an attached tap", nil},
		{tap.Config{Driver: tap.DriverWater, Queues: 2}, "one queue", nil},
		{tap.Config{Driver: tap.DriverWater, VNetHdr: true}, "no virtio header", nil},
		{tap.Config{Driver: tap.DriverWater, FDs: []int{3}}, "its own descriptor", nil},
		{tap.Config{Driver: tap.DriverWater, Name: "busy"}, "in use by another process", unix.EBUSY},
	} {
		d, err := tap.Open(context.Background(), c.cfg)
		if err == nil {
			d.Close()
			t.Errorf("%+v opened", c.cfg)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tap.Open(ctx, tap.Config{Name: "never"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	busy.Close()
	if n := openFiles(t); n != 0 {
		t.Errorf("%d descriptors of /dev/net/tun are left open", n)
	}
	if _, err := net.InterfaceByName("never"); err == nil {
		t.Error("a tap was made by an Open that failed")
	}
}

// openFiles counts this process's descriptors of the clone device.
func openFiles(t *testing.T) (n int) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "/dev/net/tun" {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}
