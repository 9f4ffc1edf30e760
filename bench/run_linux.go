package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/netduet/netduet/internal/netns"
)

// roleVariable tells a process of ours what it is.
const roleVariable = "NETDUET_BENCH_ROLE"

const (
	roleCoordinator = "coordinator"
	roleServer      = "server"
	roleClient      = "client"
)

// child is a process of ours behind two pipes.
type child struct {
	*peer
	cmd   *exec.Cmd
	stdin io.Closer
}

// spawn starts this program again in a role; apart puts it into a network
// namespace of its own.
func spawn(role string, apart bool) (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	if apart {
		cmd.SysProcAttr = netns.Attr()
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	return &child{peer: &peer{in: bufio.NewReader(out), out: in}, cmd: cmd, stdin: in}, nil
}

// within receives a message, and kills the child if none comes in time.
func (c *child) within(d time.Duration, v any) error {
	dog := time.AfterFunc(d, func() { c.cmd.Process.Kill() })
	err := c.receive(v)
	if !dog.Stop() {
		return fmt.Errorf("no answer within %v", d)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the process ended")
	}
	return err
}

// end closes the child's input, which ends it, and waits.
func (c *child) end() {
	c.stdin.Close()
	dog := time.AfterFunc(3*time.Second, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
	dog.Stop()
}

// coordinator runs measurements, in a namespace of its own.
type coordinator struct {
	opts    *options
	engines []engine
	client  *child
	taps    map[string]bool
	source  int // addresses used so far
	failed  bool
}

// subnet is the network between the client and the engine's server; every engine
// has its own.
func subnet(name string) (client, server netip.Prefix) {
	for i, e := range allEngines() {
		if e.Name == name {
			base := [4]byte{10, byte(80 + i), 0, 1}
			client = netip.PrefixFrom(netip.AddrFrom4(base), 16)
			base[3] = 2
			server = netip.PrefixFrom(netip.AddrFrom4(base), 16)
		}
	}
	return client, server
}

// prepare makes the namespace fit for a client of many connections.
func (co *coordinator) prepare() error {
	if err := netns.Quiet(); err != nil {
		return err
	}
	for _, kv := range [][2]string{
		{"net.ipv4.ip_local_port_range", "1024 65535"},
		{"net.ipv4.tcp_max_tw_buckets", "1048576"},
	} {
		netns.Sysctl(kv[0], kv[1]) // without it, a long run ends sooner with an error that says so
	}
	co.taps = make(map[string]bool)
	return nil
}

// measure runs one engine in one mode once.
func (co *coordinator) measure(e engine, m mode, round int) (sample, error) {
	if e.Name == engineNull && (m.memory() || m.Kind == serverCloses || m.Kind == crowd) {
		return unknown(), nil // it has no connections
	}
	s, err := co.try(e, m, round)
	if err != nil && co.client != nil {
		co.client.cmd.Process.Kill()
		co.client.end()
		co.client = nil
	}
	return s, err
}

func (co *coordinator) try(e engine, m mode, round int) (sample, error) {
	device := "b-" + e.Name // at most 15 bytes
	clientAddr, serverAddr := subnet(e.Name)
	setup := serverSetup{Engine: e.Name, Mode: m, Device: device, Addr: serverAddr}
	if co.opts.cpuProfile != "" {
		name := strings.ReplaceAll(m.String(), "/", "-") + "." + e.Name
		setup.CPUProfile = filepath.Join(co.opts.cpuProfile, fmt.Sprintf("%s.%d.pprof", name, round))
	}
	veth := e.Name == engineKernel
	srv, err := spawn(roleServer, veth)
	if err != nil {
		return unknown(), err
	}
	defer func() {
		srv.end()
		if veth {
			netns.LinkDel(device) // the kernel takes its time with a dead namespace's
		}
	}()
	if veth {
		setup.Device = "far"
		err = errors.Join(netns.AddVeth(device, "far"), netns.LinkMove("far", srv.cmd.Process.Pid))
	} else if !co.taps[device] {
		err = netns.AddTap(device, netns.Tap{Owner: os.Getuid(), VNetHdr: !e.plain})
	}
	if err != nil {
		return unknown(), err
	}
	if veth || !co.taps[device] {
		if err := errors.Join(netns.AddAddr(device, clientAddr), netns.LinkUp(device)); err != nil {
			return unknown(), err
		}
		co.taps[device] = !veth
	}
	if err := srv.send(&setup); err != nil {
		return unknown(), err
	}
	var ready snapshot
	if err := srv.within(10*time.Second, &ready); err != nil {
		return unknown(), fmt.Errorf("server: %w", err)
	}
	if ready.Err != "" {
		return unknown(), fmt.Errorf("server: %s", ready.Err)
	}
	// An address of its own for each measurement: the ports of connections that
	// ended on another are still taken.
	co.source++
	source := clientAddr.Addr().As4()
	source[2], source[3] = byte(1+co.source/250), byte(1+co.source%250)
	from := netip.PrefixFrom(netip.AddrFrom4(source), clientAddr.Bits())
	if err := netns.AddAddr(device, from); err != nil {
		return unknown(), err
	}
	defer netns.DelAddr(device, from)
	if co.client == nil {
		if co.client, err = spawn(roleClient, false); err != nil {
			return unknown(), err
		}
	}
	order := clientOrder{Mode: m, Server: serverAddr.Addr(), Source: from.Addr(), Warm: co.opts.warm, Time: co.opts.time}
	switch {
	case m.memory():
		return co.memory(srv, &order)
	case m.Kind == crowd:
		return co.crowd(srv, &order, device)
	}
	return co.load(srv, &order, device)
}

// ask has the server measure itself.
func ask(srv *child, cmd string) (snapshot, error) {
	if err := srv.send(cmd); err != nil {
		return snapshot{}, err
	}
	var s snapshot
	err := srv.within(10*time.Second, &s)
	if err != nil {
		return s, fmt.Errorf("server: %w", err)
	}
	return s, nil
}

// hear waits for the client's next report.
func (co *coordinator) hear(d time.Duration) (clientReport, error) {
	var r clientReport
	if err := co.client.within(d, &r); err != nil {
		return r, fmt.Errorf("client: %w", err)
	}
	if r.Err != "" {
		return r, fmt.Errorf("client: %s", r.Err)
	}
	return r, nil
}

// load measures a mode with traffic.
func (co *coordinator) load(srv *child, o *clientOrder, device string) (sample, error) {
	w, err := co.window(srv, o, device)
	if err != nil {
		return unknown(), err
	}
	return evaluate(o.Mode, w), nil
}

// window has the client make its load, and looks at the server at both ends of the
// measured time; with a crowd at its memory, too, once all are connected.
func (co *coordinator) window(srv *child, o *clientOrder, device string) (*window, error) {
	if err := co.client.send(o); err != nil {
		return nil, err
	}
	patience := 15 * time.Second
	if o.Mode.Kind == crowd {
		patience += crowdPatience
	}
	var w window
	var err error
	if o.Mode.Kind == crowd {
		if _, err := co.hear(patience); err != nil {
			return nil, err
		}
		if w.held, err = ask(srv, cmdMemory); err != nil { // while it warms up
			return nil, err
		}
	}
	if _, err := co.hear(patience + o.Warm); err != nil {
		return nil, err
	}
	frames, resent := linkFrames(device), kernelRetransmits()
	if w.first, err = ask(srv, cmdSnapshot); err != nil {
		return nil, err
	}
	if w.client, err = co.hear(patience + o.Time); err != nil {
		return nil, err
	}
	if w.last, err = ask(srv, cmdSnapshot); err != nil {
		return nil, err
	}
	w.frames, w.resent = linkFrames(device)-frames, kernelRetransmits()-resent
	return &w, nil
}

// memory measures what idle connections hold.
func (co *coordinator) memory(srv *child, o *clientOrder) (sample, error) {
	base, err := ask(srv, cmdMemory)
	if err != nil {
		return unknown(), err
	}
	if err := co.client.send(o); err != nil {
		return unknown(), err
	}
	r, err := co.hear(90 * time.Second)
	if err != nil {
		return unknown(), err
	}
	if !r.Begin {
		return unknown(), errors.New("client: it ended early")
	}
	time.Sleep(co.opts.settle)
	full, err := ask(srv, cmdMemory)
	if err != nil {
		return unknown(), err
	}
	if err := co.client.send("let go"); err != nil {
		return unknown(), err
	}
	if r, err = co.hear(30 * time.Second); err != nil {
		return unknown(), err
	}
	s := unknown()
	s.Memory = float64(full.Memory-base.Memory) / float64(o.Mode.Conns)
	s.Allocs = float64(full.Mallocs-base.Mallocs) / float64(o.Mode.Conns)
	s.Rate = float64(r.Count) / r.Elapsed.Seconds()
	return s, nil
}

// run measures all there is and reports progress.
func (co *coordinator) run(res *results, modes []mode, rounds int, progress func(done, all int, what string)) {
	all := len(modes) * len(co.engines) * rounds
	done := 0
	for round := range rounds {
		for _, m := range modes {
			for i := range co.engines {
				// Each engine is first in turn: what a neighbour leaves behind falls
				// on all alike.
				e := co.engines[(i+round)%len(co.engines)]
				done++
				if m.memory() && round > 0 {
					continue // it does not vary
				}
				progress(done, all, fmt.Sprintf("round %d: %s, %s", round+1, m, e.Name))
				c := res.cell(m, e.Name)
				s, err := co.measure(e, m, round)
				if err != nil {
					c.Errors = append(c.Errors, err.Error())
					co.failed = true
				}
				c.Samples = append(c.Samples, s)
			}
		}
	}
}

// end ends the client.
func (co *coordinator) end() {
	if co.client != nil {
		co.client.end()
	}
}
