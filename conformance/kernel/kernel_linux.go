//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/internal/netns"
)

// Play plays a script in a network namespace of its own. The error is a
// *player.Failure, or wraps ErrUnavailable, or says what could not be set up.
func Play(p *player.Plan, cfg player.Config) (res player.Result, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is in another namespace from here on and must not run anything
		// else: it ends with this goroutine, which never unlocks it.
		runtime.LockOSThread()
		b, setup := newBackend(p)
		if setup != nil {
			err = setup
			return
		}
		defer b.Close()
		p.Settings.Notes = append(p.Settings.Notes, b.notes...)
		res, err = player.Run(p, b, cfg)
	}()
	<-done
	return res, err
}

// backend is the kernel as a player.Backend. Its methods run on the thread that is in
// the namespace, except those that player.Backend says may run elsewhere.
type backend struct {
	start   time.Time
	started time.Time // the same, by the wall clock alone, which timestamps are taken from
	tun     int
	wake    int // an eventfd, written when a call on another goroutine is done
	queue   []player.Sent
	buf     []byte
	notes   []string
	cc      string // the congestion control that each socket is given, or empty

	closed atomic.Bool // by Close
	stuck  atomic.Bool // a call that should not block has
	calls  sync.WaitGroup
	mu     sync.Mutex
	fds    map[int]struct{} // the sockets that are open
}

var _ player.Backend = (*backend)(nil)

const (
	device = "tun0"
	// vnetHeader is the size of struct virtio_net_hdr, before each packet of the
	// device; hdrNeedsCsum is a bit of its flags.
	vnetHeader   = 10
	hdrNeedsCsum = 1
)

func newBackend(p *player.Plan) (*backend, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("%w: unshare: %w", ErrUnavailable, err)
	}
	b := &backend{tun: -1, wake: -1, buf: make([]byte, vnetHeader+1<<16), fds: make(map[int]struct{})}
	if err := b.setup(p); err != nil {
		b.Close()
		return nil, err
	}
	prioritize()
	b.start = time.Now()
	b.started = b.start.Round(0)
	return b, nil
}

// prioritize lets the thread that keeps the time run before others, where it may: it
// sleeps most of the time, and what it does late makes a verdict doubtful.
func prioritize() {
	attr := unix.SchedAttr{
		Size:     unix.SizeofSchedAttr,
		Policy:   unix.SCHED_RR,
		Flags:    unix.SCHED_FLAG_RESET_ON_FORK,
		Priority: 1,
	}
	if unix.SchedSetAttr(0, &attr, 0) != nil {
		unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
	}
}

func (b *backend) setup(p *player.Plan) error {
	var err error
	if b.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	b.configure(p)
	if err := netns.LinkUp("lo"); err != nil {
		return err
	}
	if err := b.openTun(); err != nil {
		return err
	}
	if err := netns.LinkMTU(device, p.MTU); err != nil {
		return err
	}
	if err := netns.LinkUp(device); err != nil {
		return err
	}
	if err := netns.AddAddr(device, p.Local); err != nil {
		return err
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if p.IPv6 {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if err := netns.AddRoute(device, everything, netip.Addr{}); err != nil || !p.IPv6 {
		return err
	}
	return settled(p.Local.Addr())
}

// settled waits until an IPv6 address is the kernel's own. Without duplicate address
// detection that takes no time, but still a turn of a work queue, and its route comes
// a moment after the address.
func settled(a netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("IPv6: %w", err)
	}
	defer unix.Close(fd)
	end := time.Now().Add(2 * time.Second)
	for {
		err := unix.Bind(fd, &unix.SockaddrInet6{Addr: a.As16()})
		time.Sleep(10 * time.Millisecond)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the address %v is still tentative: %w", a, err)
		}
	}
}

// configure writes the sysctls: first those that make the kernel quiet, then Linux's
// defaults, then the script's. The host's congestion control and buffer sizes are
// inherited otherwise.
func (b *backend) configure(p *player.Plan) {
	for _, name := range []string{"all", "default"} {
		if p.IPv6 || p.Mapped {
			for _, kv := range [][2]string{{"router_solicitations", "0"}, {"accept_ra", "0"}, {"accept_dad", "0"}, {"addr_gen_mode", "1"}} {
				netns.Sysctl("net.ipv6.conf."+name+"."+kv[0], kv[1])
			}
		} else {
			netns.Sysctl("net.ipv6.conf."+name+".disable_ipv6", "1")
		}
	}
	for _, a := range sysctl.DefaultAssignments() {
		b.Sysctl(a.Name, a.Value) // an older kernel lacks some
	}
	for _, a := range p.Settings.Assign {
		if err := b.Sysctl(a.Name, a.Value); err != nil {
			b.notes = append(b.notes, fmt.Sprintf("%s=%s: %v", a.Name, a.Value, err))
		}
	}
}

const congestionControl = "net.ipv4.tcp_congestion_control"

// Sysctl writes a sysctl. Which congestion control a namespace may have as its default
// is the machine's to allow (tcp_allowed_congestion_control); one that it does not is
// given to each socket instead.
func (b *backend) Sysctl(name, value string) error {
	err := netns.Sysctl(name, value)
	if name != congestionControl {
		return err
	}
	b.cc = ""
	if err == nil {
		return nil
	}
	fd, serr := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if serr != nil {
		return err
	}
	defer unix.Close(fd)
	if serr := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, value); serr != nil {
		netns.Sysctl(name, "reno") // the one that every kernel has
		return err
	}
	b.cc = value
	return nil
}

func (b *backend) openTun() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err})
	}
	b.tun = fd
	ifr, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("making the tun device: %w", err)
	}
	const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		return fmt.Errorf("offloads of the tun device: %w", err)
	}
	return nil
}

func (b *backend) Now() time.Duration { return time.Since(b.start) }

// drain takes what the kernel has sent off the device.
func (b *backend) drain() {
	for {
		n, err := unix.Read(b.tun, b.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // EAGAIN
		}
		if n < vnetHeader {
			continue
		}
		b.queue = append(b.queue, player.Sent{
			At:      b.Now(),
			Packet:  append([]byte(nil), b.buf[vnetHeader:n]...),
			Partial: b.buf[0]&hdrNeedsCsum != 0,
		})
	}
}

// wait sleeps until the device is readable, the eventfd is written, or the time has
// come.
func (b *backend) wait(until time.Duration) {
	left := max(until-b.Now(), 0)
	ts := unix.NsecToTimespec(int64(left))
	fds := []unix.PollFd{{Fd: int32(b.tun), Events: unix.POLLIN}, {Fd: int32(b.wake), Events: unix.POLLIN}}
	unix.Ppoll(fds, &ts, nil)
	if fds[1].Revents != 0 {
		var n [8]byte
		unix.Read(b.wake, n[:])
	}
	if fds[0].Revents != 0 {
		b.drain()
	}
}

func (b *backend) SleepUntil(t time.Duration) {
	b.drain()
	for b.Now() < t {
		b.wait(t)
	}
}

func (b *backend) Outbound(until time.Duration) (player.Sent, bool) {
	for len(b.queue) == 0 {
		if b.drain(); len(b.queue) > 0 {
			break
		}
		if b.Now() >= until {
			return player.Sent{}, false
		}
		b.wait(until)
	}
	s := b.queue[0]
	b.queue = b.queue[1:]
	return s, true
}

func (b *backend) Inject(packet []byte) error {
	p := make([]byte, vnetHeader+len(packet))
	copy(p[vnetHeader:], packet)
	for {
		_, err := unix.Write(b.tun, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("writing to the tun device: %w", err)
		}
		b.drain()
		return nil
	}
}

// Do makes the call on this thread, which is the one that keeps the time. Should it
// block after all, everything is shut down under it, and the run is over.
func (b *backend) Do(f func(), until time.Duration) bool {
	stuck := time.AfterFunc(until-b.Now(), func() {
		b.stuck.Store(true)
		b.mu.Lock()
		defer b.mu.Unlock()
		for fd := range b.fds {
			unix.Shutdown(fd, unix.SHUT_RDWR)
		}
	})
	f()
	stuck.Stop()
	b.drain()
	return !b.stuck.Load()
}

func (b *backend) Go(f func()) {
	b.calls.Add(1)
	go func() {
		defer b.calls.Done()
		// As prompt as the thread that keeps the time, and gone with the call.
		runtime.LockOSThread()
		prioritize()
		f()
		one := [8]byte{1}
		unix.Write(b.wake, one[:])
	}()
}

func (b *backend) Await(done <-chan struct{}, until time.Duration) bool {
	for {
		select {
		case <-done:
			b.drain()
			return true
		default:
		}
		if b.Now() >= until {
			return false
		}
		b.wait(until)
	}
}

// Close resets every connection and gives blocked calls a moment to return before
// their descriptors are closed.
func (b *backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.mu.Lock()
	open := b.fds
	b.fds = make(map[int]struct{})
	b.mu.Unlock()
	for fd := range open {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	returned := make(chan struct{})
	go func() { b.calls.Wait(); close(returned) }()
	stuck := time.NewTimer(time.Second)
	defer stuck.Stop()
	var err error
	select {
	case <-returned:
		for fd := range open {
			unix.Close(fd)
		}
		if b.wake >= 0 {
			unix.Close(b.wake)
		}
	case <-stuck.C:
		// A call is stuck in the kernel: its descriptors stay open rather than being
		// used by somebody else under its feet.
		err = errors.New("a system call has not returned; its sockets are left open")
	}
	if b.tun >= 0 {
		unix.Close(b.tun)
	}
	return err
}
