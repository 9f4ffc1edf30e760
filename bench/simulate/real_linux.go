package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
	"github.com/netduet/netduet/tcp"
)

// roleVariable tells a process of ours what it is.
const roleVariable = "NETDUET_SIMULATE_ROLE"

const (
	roleCoordinator = "coordinator" // holds the wire, in a namespace of its own
	roleEnd         = "end"         // has the kernel's sockets, in another
)

func isChild() bool { return os.Getenv(roleVariable) == roleEnd }

// clientPrefix and serverPrefix are the two ends of the path, whatever their engine.
func clientPrefix() netip.Prefix { return netip.MustParsePrefix("10.7.0.1/24") }

func serverPrefix() netip.Prefix { return netip.MustParsePrefix("10.7.0.2/24") }

func serverAddress() string { return netip.AddrPortFrom(serverPrefix().Addr(), realPort).String() }

// realMain runs this program again in a namespace of its own, or there the cells.
func realMain(args []string, o *options, stdout io.Writer) error {
	if os.Getenv(roleVariable) == roleCoordinator {
		return coordinate(o, stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleCoordinator)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	cmd.SysProcAttr = netns.Attr()
	if err := cmd.Start(); err != nil {
		if netns.Forbidden(err) {
			return fmt.Errorf("this machine lets this user make no network namespace (%w): run -real as root, or allow user namespaces", err)
		}
		return err
	}
	return cmd.Wait()
}

func coordinate(o *options, stdout io.Writer) error {
	if err := netns.Quiet(); err != nil {
		return err
	}
	cells, err := o.realCells()
	if err != nil {
		return err
	}
	var all []realRow
	t := newRealTable(stdout, o.markdown)
	failed := 0
	for i := range cells {
		row := realRow{cell: &cells[i], results: make(map[string]realResult)}
		for _, e := range realEngines() {
			r, err := e.measure(&cells[i], o.seed)
			if err != nil {
				r.Err = err.Error()
			}
			row.results[e.name] = r
		}
		row.judge()
		if row.failed() {
			failed++
		}
		all = append(all, row)
		if !o.json {
			t.row(&row)
		}
	}
	if o.json {
		if err := writeRealJSON(stdout, all); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("direct failed or fell behind in %d of %d cells", failed, len(all))
	}
	return nil
}

// realEngine is one of those compared.
type realEngine struct {
	name    string
	measure func(c *realCell, seed uint64) (realResult, error)
}

func realEngines() []realEngine {
	return []realEngine{
		{name: "direct", measure: measureStacks(openDirect)},
		{name: "linux", measure: measureLinux},
		{name: "gvisor", measure: func(c *realCell, seed uint64) (realResult, error) {
			if c.Controller != "cubic" {
				return realResult{}, errNotOffered
			}
			return measureStacks(openGvisor)(c, seed)
		}},
	}
}

type realStack interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	Close() error
}

func openDirect(dev netif.Device, addr netip.Prefix, controller string) (realStack, error) {
	return direct.New(&direct.Config{
		Logger: slog.New(slog.DiscardHandler), CloseTimeout: -1,
		Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}},
		TCP:        tcp.Config{Controller: tcp.ControllerByName(controller)},
	})
}

func openGvisor(dev netif.Device, addr netip.Prefix, _ string) (realStack, error) {
	return gvisor.New(&gvisor.Config{
		Logger: slog.New(slog.DiscardHandler), CloseTimeout: -1,
		Interfaces: []gvisor.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}},
	})
}

// measureStacks has both ends in this process, over in-memory wires.
func measureStacks(open func(netif.Device, netip.Prefix, string) (realStack, error)) func(*realCell, uint64) (realResult, error) {
	return func(c *realCell, seed uint64) (r realResult, err error) {
		a0, a1, err := netif.NewWire(netif.WireConfig{Name: "client"})
		if err != nil {
			return r, err
		}
		b0, b1, err := netif.NewWire(netif.WireConfig{Name: "server", MACs: []netif.MAC{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}}})
		if err != nil {
			return r, err
		}
		path, err := newRealPath(c, seed, a1, b1)
		if err != nil {
			return r, err
		}
		defer path.close()
		client, err := open(a0, clientPrefix(), c.Controller)
		if err != nil {
			return r, err
		}
		defer client.Close()
		server, err := open(b0, serverPrefix(), c.Controller)
		if err != nil {
			return r, err
		}
		defer server.Close()
		l, err := server.Listen(context.Background(), "tcp", serverAddress())
		if err != nil {
			return r, err
		}
		defer l.Close()
		go serveReal(l)
		ctx, cancel := context.WithTimeout(context.Background(), c.patience())
		defer cancel()
		report := c.do(ctx, func(ctx context.Context) (net.Conn, error) { return client.DialContext(ctx, "tcp", serverAddress()) })
		return path.result(c, &report), nil
	}
}

// measureLinux has each end in a namespace of its own, with one end of the path as a
// tap there.
func measureLinux(c *realCell, seed uint64) (r realResult, err error) {
	client, a, err := newRealEnd("simclient", clientPrefix(), c.Controller)
	if client != nil {
		defer client.end()
	}
	if err != nil {
		return r, err
	}
	server, b, err := newRealEnd("simserver", serverPrefix(), c.Controller)
	if server != nil {
		defer server.end()
	}
	if err != nil {
		return r, errors.Join(err, a.Close())
	}
	path, err := newRealPath(c, seed, a, b)
	if err != nil {
		return r, err
	}
	defer path.close()
	if err := server.ask(endOrder{Serve: true}, 10*time.Second, new(string)); err != nil {
		return r, fmt.Errorf("the server: %w", err)
	}
	var report realReport
	if err := client.ask(endOrder{Work: c.work, Patience: c.patience()}, c.patience()+10*time.Second, &report); err != nil {
		return r, fmt.Errorf("the client: %w", err)
	}
	return path.result(c, &report), nil
}

// realPath is the wire between two devices and what happens on it.
type realPath struct {
	meter   meter
	down    *netif.Impaired // writes to the client
	up      *netif.Impaired
	done    chan struct{}
	running int
}

func newRealPath(c *realCell, seed uint64, client, server netif.Device) (*realPath, error) {
	p := &realPath{done: make(chan struct{}, 2), running: 2}
	down, up := c.impairments(seed)
	var err error
	if p.down, err = netif.Impair(metered{client, &p.meter}, down); err != nil {
		return nil, errors.Join(err, client.Close(), server.Close())
	}
	if p.up, err = netif.Impair(server, up); err != nil {
		return nil, errors.Join(err, p.down.Close(), server.Close())
	}
	go p.carry(p.up, p.down, p.meter.enter)
	go p.carry(p.down, p.up, nil)
	return p, nil
}

// carry reads from one device and writes to the other until one is closed.
func (p *realPath) carry(from, to netif.Device, see func([]byte)) {
	defer func() { p.done <- struct{}{} }()
	in, out := from.Queues()[0], to.Queues()[0]
	bufs := make([]*netif.Buf, 64)
	frames := make([]netif.Frame, 0, len(bufs))
	for in.Wait(context.Background()) == nil {
		n, err := in.Read(bufs)
		if err != nil {
			return
		}
		frames = frames[:0]
		for _, b := range bufs[:n] {
			if see != nil {
				see(b.Data)
			}
			frames = append(frames, netif.Frame{Fragments: [][]byte{b.Data}, Meta: b.Meta})
		}
		if n > 0 {
			out.Write(frames) // never short: an Impaired drops
		}
		for _, b := range bufs[:n] {
			b.Release()
		}
	}
}

func (p *realPath) close() {
	p.down.Close()
	p.up.Close()
	for range p.running {
		<-p.done
	}
}

func (p *realPath) result(c *realCell, report *realReport) realResult {
	r := newRealResult(c, report)
	sent, again, spurious := p.meter.figures()
	if sent > 0 {
		r.Again, r.Spurious = float64(again)/float64(sent), float64(spurious)/float64(sent)
	}
	return r
}

// endSetup is the first line that a process of the kernel's sockets reads.
type endSetup struct {
	Device     string
	Addr       netip.Prefix
	Controller string
}

// endOrder is what it is asked then.
type endOrder struct {
	Serve    bool
	Work     work
	Patience time.Duration
}

// realEnd is such a process.
type realEnd struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newRealEnd starts a process in a namespace and gives it the kernel's end of a new
// tap, whose other end it returns.
func newRealEnd(name string, addr netip.Prefix, controller string) (*realEnd, netif.Device, error) {
	dev, err := tap.Open(context.Background(), tap.Config{Name: name, Offload: tap.OffloadOff})
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+roleEnd)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = netns.Attr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	e := &realEnd{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if err := netns.LinkMove(name, cmd.Process.Pid); err != nil {
		return e, nil, errors.Join(err, dev.Close())
	}
	if err := e.ask(endSetup{name, addr, controller}, 10*time.Second, new(string)); err != nil {
		return e, nil, errors.Join(err, dev.Close())
	}
	return e, dev, nil
}

// ask sends a message and waits for the answer.
func (e *realEnd) ask(question any, patience time.Duration, answer any) error {
	b, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := e.in.Write(append(b, '\n')); err != nil {
		return err
	}
	dog := time.AfterFunc(patience, func() { e.cmd.Process.Kill() })
	defer dog.Stop()
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	var failure struct{ Failed string }
	if json.Unmarshal(line, &failure) == nil && failure.Failed != "" {
		return errors.New(failure.Failed)
	}
	return json.Unmarshal(line, answer)
}

func (e *realEnd) end() {
	e.in.Close()
	dog := time.AfterFunc(3*time.Second, func() { e.cmd.Process.Kill() })
	e.cmd.Wait()
	dog.Stop()
}

// childMain is the process of one end: it answers each line with one.
func childMain() error {
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	fail := func(err error) error { return out.Encode(map[string]string{"Failed": err.Error()}) }
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil
	}
	var s endSetup
	if err := json.Unmarshal(line, &s); err != nil {
		return fail(err)
	}
	if err := s.apply(); err != nil {
		return fail(err)
	}
	if err := out.Encode("ready"); err != nil {
		return err
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var o endOrder
		if err := json.Unmarshal(line, &o); err != nil {
			return fail(err)
		}
		if o.Serve {
			l, err := s.listen()
			if err != nil {
				return fail(err)
			}
			go serveReal(l)
			if err := out.Encode("ready"); err != nil {
				return err
			}
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), o.Patience)
		r := o.Work.do(ctx, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp4", serverAddress())
		})
		cancel()
		if err := out.Encode(&r); err != nil {
			return err
		}
	}
}

// listen makes the server's socket. Its connections inherit the controller; the sysctl
// would be refused in a namespace for all but those that everybody may use.
func (s *endSetup) listen() (net.Listener, error) {
	cfg := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.Controller)
		}); e != nil {
			return e
		}
		if errors.Is(err, unix.ENOENT) {
			return errNotOffered
		}
		return err
	}}
	return cfg.Listen(context.Background(), "tcp4", serverAddress())
}

// apply sets the namespace up. What earlier connections found out about the path is
// not to help later ones: no other engine remembers it.
func (s *endSetup) apply() error {
	if err := netns.Quiet(); err != nil {
		return err
	}
	if err := netns.Sysctl("net.ipv4.tcp_no_metrics_save", "1"); err != nil {
		return err
	}
	return errors.Join(netns.AddAddr(s.Device, s.Addr), netns.LinkUp(s.Device))
}
