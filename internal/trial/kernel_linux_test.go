package trial

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

const (
	kernelSide = "10.77.0.1/24"
	ourSide    = "10.77.0.2/24"
	ourAddr    = "10.77.0.2"
	// patience is how long anything may take on a loaded machine.
	patience = 2 * time.Minute
)

// program is one of the examples, built for direct and running on the tap.
type program struct {
	bin string
	cmd *exec.Cmd
	out bytes.Buffer
}

// build makes the example and the tap it will open, inside a namespace.
func build(t *testing.T, name string) *program {
	t.Helper()
	if err := netns.Quiet(); err != nil {
		t.Fatal(err)
	}
	if err := netns.AddTap("tap0", netns.Tap{Owner: -1}); err != nil {
		t.Fatal(err)
	}
	if err := netns.AddAddr("tap0", netip.MustParsePrefix(kernelSide)); err != nil {
		t.Fatal(err)
	}
	if err := netns.LinkUp("tap0"); err != nil {
		t.Fatal(err)
	}
	p := &program{bin: filepath.Join(t.TempDir(), name)}
	args := []string{"build", "-tags", "netdirect"}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "-o", p.bin, "github.com/netduet/netduet/examples/"+name)...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { p.kill() })
	return p
}

// start runs the program and returns when it says that it listens.
func (p *program) start(t *testing.T, args ...string) {
	t.Helper()
	p.cmd = exec.Command(p.bin, append([]string{"-dev", "tap:tap0", "-addr", ourSide}, args...)...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan bool, 1)
	go func() {
		scan := bufio.NewScanner(stdout)
		for scan.Scan() {
			if strings.Contains(scan.Text(), "listening") {
				select {
				case up <- true:
				default:
				}
			}
		}
		close(up)
	}()
	select {
	case ok := <-up:
		if !ok {
			t.Fatalf("the program ended: %v\n%s", p.cmd.Wait(), p.out.String())
		}
	case <-time.After(patience):
		t.Fatal("the program does not say that it listens")
	}
}

func (p *program) kill() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// stop asks the program to end and expects that it does so in order.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the program did not end in order: %v\n%s", err, p.out.String())
	}
	p.cmd = nil
}

func TestPing(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	p := build(t, "echo")
	p.start(t)
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const count = 200
	got := make(chan int, count)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, buf[:n])
			if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
				continue
			}
			if e := m.Body.(*icmp.Echo); e.ID == 77 && string(e.Data) == "netduet echo request" {
				got <- e.Seq
			}
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for seq := range count {
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 77, Seq: seq, Data: []byte("netduet echo request")}}
		b, err := m.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP(ourAddr)}); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	seen := make(map[int]bool)
	limit := time.After(patience)
	for len(seen) < count {
		select {
		case seq := <-got:
			if seen[seq] {
				t.Errorf("reply %d came twice", seq)
			}
			seen[seq] = true
		case <-limit:
			t.Fatalf("%d replies to %d pings", len(seen), count)
		}
	}
	p.stop(t)
}

// echo sends n bytes and compares what comes back.
func echo(n int64, seed byte) error {
	c, err := net.DialTimeout("tcp", ourAddr+":7", patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent, back := sha256.New(), sha256.New()
	written := make(chan error, 1)
	go func() {
		src := rand.NewChaCha8([32]byte{seed})
		_, err := io.CopyBuffer(struct{ io.Writer }{c}, io.TeeReader(io.LimitReader(src, n), sent), make([]byte, 256<<10))
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		written <- err
	}()
	m, err := io.CopyBuffer(back, struct{ io.Reader }{c}, make([]byte, 256<<10))
	if err := errors.Join(err, <-written); err != nil {
		return fmt.Errorf("after %d bytes: %w", m, err)
	}
	if m != n || !bytes.Equal(sent.Sum(nil), back.Sum(nil)) {
		return fmt.Errorf("%d bytes came back of %d, or changed", m, n)
	}
	return nil
}

func TestBulkEcho(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	p := build(t, "echo")
	p.start(t)
	n := int64(1 << 30)
	if testing.Short() {
		n = 64 << 20
	}
	begin := time.Now()
	if err := echo(n, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB both ways, %.0f MB/s each", n>>20, float64(n)/time.Since(begin).Seconds()/1e6)
	p.stop(t)
}

func TestThousandConnections(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	p := build(t, "echo")
	p.start(t)
	const count = 1000
	conns := make([]net.Conn, count)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := net.DialTimeout("tcp", ourAddr+":7", patience)
			if err != nil {
				t.Error(err)
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			conns[i] = c
		})
	}
	wg.Wait()
	// All are open at once; now each has its own conversation.
	for i, c := range conns {
		if c == nil {
			continue
		}
		defer c.Close()
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 500+i)
			if _, err := c.Write(want); err != nil {
				t.Error(err)
				return
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("connection %d: %v, or another's data", i, err)
			}
		})
	}
	wg.Wait()
	p.stop(t)
}

// The server is killed and started again while clients retry: each of them finds
// it again, although the kernel still has half of the old connections.
func TestRestart(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	p := build(t, "echo")
	p.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const clients, restarts = 8, 3
	var mu sync.Mutex
	round, served := 0, make([]int, clients) // the last round in which each client got an echo
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-done:
					return
				default:
				}
				d := net.Dialer{Timeout: time.Second}
				c, err := d.DialContext(ctx, "tcp", ourAddr+":7")
				if err != nil {
					continue
				}
				mu.Lock()
				now := round
				mu.Unlock()
				c.SetDeadline(time.Now().Add(time.Second))
				c.Write([]byte("hello"))
				var b [5]byte
				if _, err := io.ReadFull(c, b[:]); err == nil && string(b[:]) == "hello" {
					mu.Lock()
					served[i] = max(served[i], now)
					mu.Unlock()
				}
				c.Close()
			}
		})
	}
	for r := 1; r <= restarts; r++ {
		p.kill()
		p.start(t)
		mu.Lock()
		round = r
		mu.Unlock()
		for all := false; !all && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			all = true
			for _, s := range served {
				all = all && s == r
			}
			mu.Unlock()
		}
	}
	close(done)
	wg.Wait()
	if ctx.Err() != nil {
		t.Fatalf("not every client was served after every restart: %v", served)
	}
	p.stop(t)
}

func TestCurl(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	p := build(t, "httpd")
	p.start(t, "-listen", ":80")
	n := 100 << 20
	file := filepath.Join(t.TempDir(), "body")
	head := filepath.Join(t.TempDir(), "head")
	cmd := exec.Command(curl, "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", fmt.Sprint(int(patience.Seconds())),
		"--dump-header", head, "--output", file, fmt.Sprintf("http://%s/bytes?n=%d", ourAddr, n))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, p.out.String())
	}
	body, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	h := sha256.New()
	if m, err := io.Copy(h, body); err != nil || m != int64(n) {
		t.Fatalf("%d bytes of %d: %v", m, n, err)
	}
	header, err := os.ReadFile(head)
	if err != nil {
		t.Fatal(err)
	}
	if sum := base64.StdEncoding.EncodeToString(h.Sum(nil)); !strings.Contains(string(header), sum) {
		t.Errorf("the page's hash is %s; the server said\n%s", sum, header)
	}
	p.stop(t)
}
