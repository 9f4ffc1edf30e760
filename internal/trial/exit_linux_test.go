package trial

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif/tap"
)

const exitSize = 10 << 20

// exitEnv makes TestExit the process that writes and ends; it holds the kernel's
// listening address.
const exitEnv = "NETDUET_TEST_EXIT"

// A process writes, closes the connection and its stack, and exits at once: the
// peer has all of it, although the data lived in that process.
func TestExit(t *testing.T) {
	if address := os.Getenv(exitEnv); address != "" {
		writeAndExit(t, address)
		return
	}
	if !netnstest.Run(t) {
		return
	}
	for _, err := range []error{
		netns.Quiet(),
		netns.AddTap("tap0", netns.Tap{Owner: -1}),
		netns.AddAddr("tap0", netip.MustParsePrefix(kernelSide)),
		netns.LinkUp("tap0"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "10.77.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	child := exec.Command("/proc/self/exe", "-test.run=^TestExit$")
	child.Env = append(os.Environ(), exitEnv+"="+l.Addr().String())
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		child.Process.Kill()
		child.Wait()
		t.Fatalf("%v\n%s", err, out.String())
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	h := sha256.New()
	n, err := io.Copy(h, struct{ io.Reader }{c})
	if werr := child.Wait(); werr != nil {
		t.Errorf("the process: %v\n%s", werr, out.String())
	}
	want := sha256.New()
	io.Copy(want, io.LimitReader(rand.NewChaCha8([32]byte{1}), exitSize))
	if err != nil || n != exitSize || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d bytes of %d arrived, %v, or others than were sent", n, exitSize, err)
	}
}

func writeAndExit(t *testing.T, address string) {
	dev, err := tap.Open(t.Context(), tap.Config{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := direct.New(&direct.Config{
		Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(ourSide)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.DialContext(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(c, io.LimitReader(rand.NewChaCha8([32]byte{1}), exitSize)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
}
