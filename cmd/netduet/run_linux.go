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
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/netif/tap"
)

// runConfig is what `netduet run` was asked for.
type runConfig struct {
	dev, backend, user string
	scheme             string       // of a device that the program opens itself
	addr               netip.Prefix // the program's
	gateway            netip.Addr
	kernel             netip.Prefix // the kernel's side's
	tap                tap.Config
	program            string
	args               []string
}

func parseRun(args []string) (*runConfig, error) {
	fs := newFlags("run", "run [flags] PACKAGE|BINARY [args]")
	c := &runConfig{}
	var addr, gw string
	fs.StringVar(&c.dev, "dev", "tap0", "the tap's `name`; it is made unless it exists, and then removed at the end. Or xen:0 or packet:eth0, which the program opens itself: for xen it needs /dev/xen/{xenbus,evtchn,gntalloc}, and stays root, but without capabilities, where they are root's alone; for packet it keeps CAP_NET_RAW")
	fs.StringVar(&addr, "addr", "", "the program's `address` with its prefix length, such as 10.0.0.2/24")
	fs.StringVar(&gw, "gw", "", "the program's default gateway, an `address` of the same subnet")
	fs.StringVar(&c.backend, "backend", "direct", "who plays when a package is built: direct, gvisor or socket")
	fs.StringVar(&c.user, "user", "", "the `user` the program runs as, when started by root (default: whoever called sudo, or nobody)")
	fs.IntVar(&c.tap.Queues, "queues", 1, "`number` of the tap's queues")
	fs.BoolVar(&c.tap.VNetHdr, "vnet", false, "frames carry the virtio header, for offloads")
	if err := parseFlags(fs, args); err != nil {
		return nil, err
	}
	if fs.NArg() == 0 {
		return nil, errors.New("run: name a package or a binary: netduet run -addr 10.0.0.2/24 ./examples/echo")
	}
	c.program, c.args = fs.Arg(0), fs.Args()[1:]
	if err := checkBackend(c.backend, "direct", "gvisor", "socket"); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	if c.backend == "socket" {
		var ignored []string
		for _, f := range []string{"dev", "addr", "gw", "queues", "vnet"} {
			if given(fs, f) {
				ignored = append(ignored, "-"+f)
			}
		}
		if len(ignored) > 0 {
			return nil, fmt.Errorf("run: the socket backend has the host's network and no tap: leave %s out", strings.Join(ignored, ", "))
		}
		return c, nil
	}
	if c.scheme = ownScheme(c.dev); c.scheme != "" {
		if strings.HasSuffix(c.dev, ":") || strings.HasPrefix(c.dev, c.scheme+":?") {
			return nil, fmt.Errorf("run: -dev %s names no device: write xen:0 or packet:eth0", c.dev)
		}
		for _, f := range []string{"queues", "vnet"} {
			if given(fs, f) {
				return nil, fmt.Errorf("run: -%s is for taps: leave it out (%s?queues=2 says it to the program)", f, c.dev)
			}
		}
	} else {
		c.dev = strings.TrimPrefix(c.dev, "tap:")
		if c.dev == "" || strings.ContainsAny(c.dev, ":?%") {
			return nil, fmt.Errorf("run: -dev takes the name of a tap, such as tap0, or a device that the program opens itself, xen:0 or packet:eth0, and not %q", c.dev)
		}
		c.tap.Name = c.dev
	}
	if addr == "" {
		return nil, errors.New("run: -addr is missing: the program's address with its prefix length, such as 10.0.0.2/24")
	}
	var err error
	if c.addr, err = netip.ParsePrefix(addr); err != nil {
		return nil, fmt.Errorf("run: %q is not an address with a prefix length: write it as 10.0.0.2/24", addr)
	}
	// Where there is no kernel's side, it is an example all the same.
	if c.kernel, err = firstOther(c.addr); err != nil {
		if c.scheme == "" {
			return nil, fmt.Errorf("run: %w", err)
		}
		c.kernel = netip.PrefixFrom(c.addr.Masked().Addr().Next(), c.addr.Bits())
	}
	if gw != "" {
		if c.gateway, err = netip.ParseAddr(gw); err != nil {
			return nil, fmt.Errorf("run: gateway %q is not an address: write it as %v", gw, c.kernel.Addr())
		}
		if !c.addr.Contains(c.gateway) || c.gateway == c.addr.Addr() {
			return nil, fmt.Errorf("run: gateway %v is not another address of %v: name one on the link, such as %v", c.gateway, c.addr.Masked(), c.kernel.Addr())
		}
	}
	return c, nil
}

// firstOther returns the first address of p's subnet that is not p's own.
func firstOther(p netip.Prefix) (netip.Prefix, error) {
	own, subnet := p.Addr(), p.Masked()
	if own.Is4In6() || own.IsLoopback() || own.IsMulticast() || own.IsUnspecified() {
		return p, fmt.Errorf("%v cannot be an address on a tap: choose one such as 10.0.0.2/24", own)
	}
	if p.IsSingleIP() {
		return p, fmt.Errorf("%v has no room for the kernel's side: the prefix is at most /%d", p, own.BitLen()-1)
	}
	hostBits := own.BitLen() - p.Bits()
	first := subnet.Addr()
	if hostBits > 1 { // in a /31 both addresses are hosts (RFC 3021)
		if own == first {
			return p, fmt.Errorf("%v is the name of the subnet %v, not an address in it: choose %v", own, subnet, first.Next())
		}
		if own.Is4() && !p.Contains(own.Next()) {
			return p, fmt.Errorf("%v is the broadcast address of %v: choose %v", own, subnet, first.Next())
		}
		first = first.Next()
	}
	if first == own {
		first = first.Next()
	}
	return netip.PrefixFrom(first, p.Bits()), nil
}

func runProgram(args []string) error {
	c, err := parseRun(args)
	if err != nil {
		return err
	}
	who, err := spawnIdentity(c.user)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	who, note, err := c.permit(who)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "netduet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	exe, err := program(ctx, c.backend, c.program, dir)
	if err != nil {
		return err
	}

	env := os.Environ()
	var files []*os.File
	device := c.dev
	switch {
	case c.backend == "socket":
	case c.scheme != "":
		line := fmt.Sprintf("netduet: %s: the program has %v", c.dev, c.addr)
		if note != "" {
			line += "; " + note
		}
		fmt.Fprintln(os.Stderr, line)
	default:
		l, err := setUp(ctx, c)
		if err != nil {
			return err
		}
		defer l.takeDown()
		files = l.files
		fds := make([]string, len(files))
		for i := range files {
			fds[i] = strconv.Itoa(3 + i)
		}
		device = "fd:" + strings.Join(fds, ",")
		fmt.Fprintf(os.Stderr, "netduet: %s: the program has %v, the kernel's side %v\n", l.name, c.addr, l.kernel)
	}
	if c.backend != "socket" {
		env = append(env, "NETDUET_DEVICE="+device, "NETDUET_ADDR="+c.addr.String())
		if c.gateway.IsValid() {
			env = append(env, "NETDUET_GATEWAY="+c.gateway.String())
		}
	}
	if ctx.Err() != nil {
		return exitStatus(130)
	}
	cmd := exec.Command(exe, c.args...)
	if who.uid >= 0 {
		cmd = unprivileged(who, exe, c.args...)
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env, cmd.ExtraFiles = env, files
	return supervise(cmd)
}

// supervise runs the command, forwards signals and returns its status.
func supervise(cmd *exec.Cmd) error {
	// The child dies with the thread that made it, so that has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		typed := inForeground()
		for {
			select {
			case s := <-signals:
				// What is typed at the terminal reaches the program without us, and a
				// second one would look like impatience.
				if !typed || s != unix.SIGINT && s != unix.SIGQUIT {
					cmd.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	if cmd.ProcessState == nil {
		return err
	}
	if status := statusOf(cmd.ProcessState); status != 0 {
		return exitStatus(status)
	}
	return nil
}

// inForeground reports whether a terminal sends its signals to our process group.
func inForeground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// link is a tap that is set up, and what to undo.
type link struct {
	name   string
	files  []*os.File
	kernel netip.Prefix
	undo   []func()
}

func (l *link) takeDown() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		l.undo[i]()
	}
	for _, f := range l.files {
		f.Close() // a tap that was made here goes with its last descriptor
	}
}

// setUp opens the tap and gives the kernel's side its address.
func setUp(ctx context.Context, c *runConfig) (_ *link, err error) {
	l := &link{kernel: c.kernel}
	if l.name, l.files, err = tap.Files(ctx, c.tap); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.takeDown()
		}
	}()
	ifi, err := net.InterfaceByName(l.name)
	if err != nil {
		return nil, err
	}
	if err := l.address(c, ifi); err != nil {
		return nil, err
	}
	if ifi.Flags&net.FlagUp == 0 {
		if err := netns.LinkUp(l.name); err != nil {
			return nil, l.explain(err)
		}
		l.undo = append(l.undo, func() { netns.LinkDown(l.name) })
	}
	return l, nil
}

// address gives the kernel's side its address, unless it has one in the subnet.
func (l *link) address(c *runConfig, ifi *net.Interface) error {
	have, err := ifi.Addrs()
	if err != nil {
		return err
	}
	for _, a := range have {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !c.addr.Contains(p.Addr()) {
			continue
		}
		if p.Addr() == c.addr.Addr() {
			return fmt.Errorf("run: %v is the kernel's own address on %s: give the program another, such as -addr %v", p.Addr(), l.name, c.kernel)
		}
		l.kernel = p
		return nil
	}
	if other := interfaceWith(c.kernel.Addr(), c.addr.Addr()); other != "" {
		return fmt.Errorf("run: %s has an address of %v already: choose another subnet for %s", other, c.addr.Masked(), l.name)
	}
	if err := netns.AddAddr(l.name, c.kernel); err != nil {
		return l.explain(err)
	}
	l.undo = append(l.undo, func() { netns.DelAddr(l.name, c.kernel) })
	return nil
}

// interfaceWith names an interface of this machine that has one of the addresses.
func interfaceWith(addrs ...netip.Addr) string {
	list, _ := net.Interfaces()
	for _, i := range list {
		have, _ := i.Addrs()
		for _, a := range have {
			p, err := netip.ParsePrefix(a.String())
			for _, want := range addrs {
				if err == nil && p.Addr() == want {
					return i.Name
				}
			}
		}
	}
	return ""
}

// explain says what an unprivileged user needs done.
func (l *link) explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("run: the kernel's side of %s is not set up, and this user may not: `sudo ip addr add %v dev %s && sudo ip link set %s up`: %w",
			l.name, l.kernel, l.name, l.name, err)
	}
	return fmt.Errorf("run: %w", err)
}
