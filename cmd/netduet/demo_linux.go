package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/netif/tap"
)

const (
	cmdDemoInside = "demo-inside"
	demoDevice    = "netduet0"
	// exitUnavailable is how the process in the namespace says that it has not even
	// got a network: the message is on its fourth descriptor.
	exitUnavailable = 3
)

// The network of the demo, alone in its namespace.
func demoServer() netip.Prefix { return netip.MustParsePrefix("10.0.0.2/24") }
func demoKernel() netip.Prefix { return netip.MustParsePrefix("10.0.0.1/24") }

// demoTap builds the examples and starts this program again in a namespace of its
// own. The error is an *unavailable when there can be no such network here.
func demoTap(ctx context.Context, c *demoConfig, r *report, pcap *os.File) error {
	if c.backend == "direct" {
		// Asked here, where a refusal costs nothing yet.
		f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		if err != nil {
			return &unavailable{fmt.Errorf("no tap can be made: %w", err)}
		}
		f.Close()
	}
	dir, err := os.MkdirTemp("", "netduet-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"echo", "httpd"} {
		r.progress("building %s with -tags net%s", name, c.backend)
		if err := build(ctx, c.backend, module+"/examples/"+name, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%w (the demo builds its examples: start it inside the checkout)", err)
		}
	}
	r.say("built echo and httpd with -tags net%s", c.backend)

	why, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer why.Close()
	cmd := exec.Command("/proc/self/exe", cmdDemoInside, dir, "-backend", c.backend, "-mib", strconv.Itoa(c.mib), "-pcap", c.pcap)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{tell}
	if pcap != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, pcap)
	}
	cmd.SysProcAttr = netns.Attr()
	runtime.LockOSThread() // the child dies with the thread that made it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	tell.Close()
	if err != nil {
		if netns.Forbidden(err) {
			return &unavailable{fmt.Errorf("user %d may not make a network namespace: %w", os.Geteuid(), err)}
		}
		return err
	}
	// Interrupts typed at a terminal reach the child by themselves; it ends orderly
	// on the first signal and so bears a second one.
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })()
	var reason [1024]byte
	n, _ := why.Read(reason[:])
	if err := cmd.Wait(); cmd.ProcessState == nil {
		return err
	}
	switch status := statusOf(cmd.ProcessState); {
	case status == exitUnavailable && n > 0:
		return &unavailable{errors.New(string(reason[:n]))}
	case status != 0:
		return exitStatus(status)
	}
	return nil
}

// demoInside is the part in the namespace.
func demoInside(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s is for netduet's own use", cmdDemoInside)
	}
	dir := args[0]
	c, err := parseDemo(args[1:])
	if err != nil {
		return err
	}
	tell := os.NewFile(3, "reason")
	unix.CloseOnExec(3)
	var pcap *os.File
	if c.pcap != "" {
		pcap = os.NewFile(4, "pcap")
		unix.CloseOnExec(4)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	files, err := demoNetwork(ctx, c)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			fmt.Fprint(tell, oneLine(err))
			return exitStatus(exitUnavailable)
		}
		return err
	}
	tell.Close()
	who, err := spawnIdentity("")
	if err != nil {
		return err
	}
	r := &report{w: os.Stdout, terminal: isTerminal(os.Stdout)}
	ping, err := kernelPing(demoServer().Addr())
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the servers die with the thread that made them
	defer runtime.UnlockOSThread()
	err = probeAll(ctx, c, r, func(name string) (*far, func() error, error) {
		port := map[string]string{"echo": "7", "httpd": "80"}[name]
		address := net.JoinHostPort(demoServer().Addr().String(), port)
		cmd := unprivileged(who, filepath.Join(dir, name), "-listen", address)
		cmd.Env = os.Environ()
		if c.backend == "direct" {
			device := "fd:3"
			cmd.ExtraFiles = files
			if pcap != nil {
				device += "?pcap=fd:4"
				cmd.ExtraFiles = append(cmd.ExtraFiles[:1:1], pcap)
			}
			cmd.Env = append(cmd.Env, "NETDUET_DEVICE="+device, "NETDUET_ADDR="+demoServer().String())
		}
		s, err := startServer(ctx, r, name, cmd)
		if err != nil {
			return nil, nil, err
		}
		return &far{
			dial: (&net.Dialer{}).DialContext, ping: ping,
			tcp: address, udp: address, http: address,
		}, s.stop, nil
	})
	switch {
	case ctx.Err() != nil:
		return exitStatus(130)
	case err != nil:
		return &failure{fmt.Errorf("demo: %w", err)}
	}
	return nil
}

// demoNetwork sets the namespace up. For direct it returns the tap's descriptor.
func demoNetwork(ctx context.Context, c *demoConfig) ([]*os.File, error) {
	if err := netns.Quiet(); err != nil {
		return nil, err
	}
	if c.backend == "socket" {
		return nil, netns.AddAddr("lo", netip.PrefixFrom(demoServer().Addr(), 32))
	}
	_, files, err := tap.Files(ctx, tap.Config{Name: demoDevice})
	if err != nil {
		return nil, err
	}
	if err := netns.AddAddr(demoDevice, demoKernel()); err != nil {
		return nil, err
	}
	return files, netns.LinkUp(demoDevice)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
