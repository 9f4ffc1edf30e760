package xen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"time"

	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// OpenFrontend connects to the back end of a vif. The context bounds the opening
// only. Errors say in one line what to do.
func OpenFrontend(ctx context.Context, cfg FrontendConfig) (*Frontend, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	f := &Frontend{cfg: cfg, dir: fmt.Sprintf("device/vif/%d", cfg.Index), done: make(chan struct{}), resume: make(chan struct{}, 1)}
	f.init(cfg.Recovery)
	if err := f.openFirst(ctx); err != nil {
		f.mon.clear(0)
		if cfg.OwnTransport {
			cfg.Transport.Close()
		}
		return nil, err
	}
	go f.control()
	return f, nil
}

func (f *Frontend) openFirst(ctx context.Context) error {
	s := f.cfg.Transport.Store()
	f.mon = monitor{store: s, kick: make(chan struct{}, 1), stop: f.closing}
	if !exists(s, f.dir) {
		return fmt.Errorf("xen: this domain has no vif %d: add one to its configuration, vif = [ '…' ], or attach one with xl network-attach", f.cfg.Index)
	}
	if err := f.describe(s); err != nil {
		return err
	}
	if err := f.mon.watch(f.dir); err != nil {
		return err
	}
	session, err := f.connect(ctx, f.cfg.Timeout)
	if err != nil {
		return err
	}
	// What the device is, is settled now; a later back end may take less.
	f.info.Offloads = sends(session.caps) | receives(f.cfg.Without)
	for range session.wanted {
		q := &frontQueue{dev: f}
		q.tx.init(f)
		q.rx.init(f)
		f.queues = append(f.queues, q)
		f.list = append(f.list, q)
	}
	f.start(session)
	return nil
}

// describe fills Info from the xenstore.
func (f *Frontend) describe(v transport.View) error {
	f.info = netif.Info{Name: "xen" + strconv.Itoa(f.cfg.Index), Link: netif.LinkEthernet, MAC: f.cfg.MAC, MTU: f.cfg.MTU}
	if f.info.MAC.IsZero() {
		s, err := v.Read(f.dir + "/mac")
		if err == nil {
			f.info.MAC, err = ethernet.ParseAddr(s)
		}
		if err == nil && !f.info.MAC.IsUnicast() {
			err = fmt.Errorf("%s is not a station's address", s)
		}
		if err != nil {
			return fmt.Errorf("xen: vif %d has no usable MAC address: give one: %w", f.cfg.Index, err)
		}
	}
	if f.info.MTU == 0 {
		f.info.MTU = 1500
		back, err := v.Read(f.dir + "/backend")
		for _, dir := range []string{f.dir, back} {
			if err != nil {
				break
			}
			if n, err := transport.ReadUint(v, dir+"/mtu", 16); err == nil && n >= minMTU && n <= maxMTU {
				f.info.MTU = int(n)
				break
			}
		}
	}
	return nil
}

// frontSession is one connection to a back end.
type frontSession struct {
	dir    string // of the back end
	caps   caps
	wanted int // queues that we would use
	pairs  []*frontPair
}

// frontPair is what one queue of a connection consists of.
type frontPair struct {
	txRing, rxRing   *ring.Front
	txPage, rxPage   transport.Region // of the rings
	txMem, rxMem     transport.Region
	posted           []uint16
	txEvent, rxEvent transport.Channel // the same unless events are split
}

func (p *frontPair) close() {
	if p == nil {
		return
	}
	for _, c := range []transport.Channel{p.txEvent, p.rxEvent} {
		if c != nil {
			c.Close()
		}
	}
	for _, r := range []transport.Region{p.txMem, p.rxMem, p.txPage, p.rxPage} {
		if r != nil {
			r.Close()
		}
	}
}

func (s *frontSession) close() {
	for _, p := range s.pairs {
		p.close()
	}
}

// connect goes from Initialising to Connected. timeout bounds each step; 0 waits
// as long as it takes.
func (f *Frontend) connect(ctx context.Context, timeout time.Duration) (s *frontSession, err error) {
	v := f.mon.store
	back, err := v.Read(f.dir + "/backend")
	if err != nil {
		return nil, fmt.Errorf("xen: vif %d has no back end: %w", f.cfg.Index, err)
	}
	domain, err := transport.ReadUint(v, f.dir+"/backend-id", 16)
	if err != nil {
		return nil, fmt.Errorf("xen: vif %d: %w", f.cfg.Index, err)
	}
	// A watch each time: the back end's path changes when a guest moves.
	f.mon.clear(1)
	if err := f.mon.watch(back + "/state"); err != nil {
		return nil, err
	}
	s = &frontSession{dir: back}
	made := s
	defer func() {
		if err != nil {
			made.close()
			// Back to where the back end expects nothing of us.
			f.setState(stateClosed)
		}
	}()
	// Initialising also resets a back end that is connected to a predecessor of ours
	// that crashed.
	if err := f.setState(stateInitialising); err != nil {
		return nil, fmt.Errorf("xen: cannot write the state of vif %d: %w", f.cfg.Index, err)
	}
	moved := func() bool {
		now, err := v.Read(f.dir + "/backend")
		return err != nil || now != back
	}
	err = f.mon.until(ctx, timeout, func() bool { return moved() || stateAt(v, back) == stateInitWait })
	switch {
	case err != nil:
		return nil, f.stuck(err, back, "offer the vif", "is its driver (xen-netback, or a Backend) running there?")
	case moved():
		return nil, errMoved
	}
	s.caps = capsOf(v, back, f.cfg.Without)
	if !s.caps.sg && f.queues == nil {
		f.info.MTU = min(f.info.MTU, pageSize-etherLen-vlanLen)
	}
	offered := 1
	if n, err := transport.ReadUint(v, back+"/multi-queue-max-queues", 32); err == nil && f.cfg.Without&FeatureQueues == 0 {
		offered = int(max(1, min(n, maxQueues)))
	}
	s.wanted = f.cfg.Queues
	if s.wanted == 0 {
		s.wanted = runtime.GOMAXPROCS(0)
	}
	if f.queues != nil {
		s.wanted = len(f.queues)
	}
	s.wanted = min(s.wanted, offered)
	split := f.cfg.Without&FeatureSplitEvents == 0 && transport.ReadFlag(v, back+"/feature-split-event-channels")
	if err := f.allocate(s, transport.Domain(domain), split); err != nil {
		return nil, err
	}
	if err := transport.Update(v, func(v transport.View) error { return f.publish(v, s, split) }); err != nil {
		return nil, fmt.Errorf("xen: cannot publish the rings of vif %d: %w", f.cfg.Index, err)
	}
	refused := func() bool { st := stateAt(v, back); return st == stateClosing || st == stateClosed }
	err = f.mon.until(ctx, timeout, func() bool { return moved() || refused() || stateAt(v, back) == stateConnected })
	switch {
	case err != nil:
		return nil, f.stuck(err, back, "connect", "it waits for its hotplug script to write hotplug-status: look at that, and at the log there")
	case moved():
		return nil, errMoved
	case refused():
		why, _ := v.Read(back + "/error")
		return nil, fmt.Errorf("xen: the back end of vif %d refused to connect (%s): see the log of domain %d%s", f.cfg.Index, stateAt(v, back), domain, quoted(why))
	}
	return s, nil
}

func quoted(why string) string {
	if why == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", why)
}

// setState writes our state, unless the vif was taken away: that would make its
// directory anew, and nobody would remove it.
func (f *Frontend) setState(s state) error {
	return transport.Update(f.mon.store, func(v transport.View) error {
		if _, err := v.Read(f.dir + "/backend"); err != nil {
			return err
		}
		return setState(v, f.dir, s)
	})
}

// detached reports whether the toolstack is taking the vif away.
func (f *Frontend) detached() bool {
	back, err := f.mon.store.Read(f.dir + "/backend")
	if err != nil {
		return true
	}
	online, err := f.mon.store.Read(back + "/online")
	return err == nil && online == "0"
}

// errMoved: the back end became another while we were connecting.
var errMoved = errors.New("xen: the back end has changed")

func (f *Frontend) stuck(err error, back, what, hint string) error {
	if !errors.Is(err, errTimeout) {
		return err
	}
	return fmt.Errorf("xen: the back end of vif %d did not %s in %v (its state is %s): %s", f.cfg.Index, what, f.cfg.Timeout, stateAt(f.mon.store, back), hint)
}

// allocate makes rings, pages and event channels. Where the domain has too few
// grants for all the pages wanted, it makes do with fewer.
func (f *Frontend) allocate(s *frontSession, domain transport.Domain, split bool) error {
	n := f.cfg.Pages
	if n == 0 {
		n = maxPages
	}
	for {
		err := f.allocateWith(s, domain, split, n)
		if err == nil {
			return nil
		}
		s.close()
		s.pairs = nil
		if !errors.Is(err, transport.ErrGrants) {
			return fmt.Errorf("xen: cannot set up vif %d: %w", f.cfg.Index, err)
		}
		if f.cfg.Pages != 0 || n/2 < minPages {
			return fmt.Errorf("xen: no grants for vif %d, whose %d queues need %d: use fewer queues, or raise the limit (Linux: /sys/module/xen_gntalloc/parameters/limit): %w",
				f.cfg.Index, s.wanted, s.wanted*(2*n+2), err)
		}
		n /= 2
	}
}

func (f *Frontend) allocateWith(s *frontSession, domain transport.Domain, split bool, pages int) error {
	tr := f.cfg.Transport
	for range s.wanted {
		p := &frontPair{}
		s.pairs = append(s.pairs, p)
		var err error
		if p.txPage, err = tr.Grant(domain, 1, true); err != nil {
			return err
		}
		if p.rxPage, err = tr.Grant(domain, 1, true); err != nil {
			return err
		}
		if p.txRing, err = ring.NewFront(p.txPage.Bytes(), txWords); err != nil {
			return err
		}
		if p.rxRing, err = ring.NewFront(p.rxPage.Bytes(), rxWords); err != nil {
			return err
		}
		if p.txMem, err = tr.Grant(domain, pages, false); err != nil {
			return err
		}
		if p.rxMem, err = tr.Grant(domain, pages, true); err != nil {
			return err
		}
		p.posted = post(p.rxRing, p.rxMem.Refs())
		if p.rxEvent, err = tr.Listen(domain); err != nil {
			return err
		}
		if p.txEvent = p.rxEvent; split {
			if p.txEvent, err = tr.Listen(domain); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish writes what the back end needs to know.
func (f *Frontend) publish(v transport.View, s *frontSession, split bool) error {
	num := func(n uint64) string { return strconv.FormatUint(n, 10) }
	of := func(p *frontPair) [][2]string {
		keys := [][2]string{
			{"tx-ring-ref", num(uint64(p.txPage.Refs()[0]))},
			{"rx-ring-ref", num(uint64(p.rxPage.Refs()[0]))},
		}
		if split {
			return append(keys, [2]string{"event-channel", ""},
				[2]string{"event-channel-tx", num(uint64(p.txEvent.Port()))}, [2]string{"event-channel-rx", num(uint64(p.rxEvent.Port()))})
		}
		return append(keys, [2]string{"event-channel", num(uint64(p.rxEvent.Port()))},
			[2]string{"event-channel-tx", ""}, [2]string{"event-channel-rx", ""})
	}
	// What a predecessor with another number of queues left behind.
	old, err := v.List(f.dir)
	if err != nil {
		return err
	}
	for _, k := range old {
		if len(k) > 6 && k[:6] == "queue-" {
			if err := v.Remove(f.dir + "/" + k); err != nil {
				return err
			}
		}
	}
	if len(s.pairs) == 1 {
		err = put(v, f.dir, append(of(s.pairs[0]), [2]string{"multi-queue-num-queues", ""}))
	} else {
		// With several queues nothing of one may stand at the top.
		top := [][2]string{{"multi-queue-num-queues", num(uint64(len(s.pairs)))}}
		for _, k := range of(s.pairs[0]) {
			top = append(top, [2]string{k[0], ""})
		}
		err = put(v, f.dir, top)
		for i, p := range s.pairs {
			if err == nil {
				err = put(v, f.dir+"/queue-"+strconv.Itoa(i), of(p))
			}
		}
	}
	if err != nil {
		return err
	}
	if err := put(v, f.dir, append(featureKeys(f.cfg.Without),
		[2]string{"request-rx-copy", "1"}, [2]string{"feature-rx-notify", "1"})); err != nil {
		return err
	}
	return setState(v, f.dir, stateConnected)
}

// start hands a connection to the queues.
func (f *Frontend) start(s *frontSession) {
	f.session = s
	for i, q := range f.queues {
		if i >= len(s.pairs) {
			q.tx.instead.Store(&f.queues[i%len(s.pairs)].tx)
			continue
		}
		q.tx.instead.Store(nil)
		p := s.pairs[i]
		q.tx.start(p.txRing, p.txMem, p.txEvent, s.caps)
		q.rx.start(p.rxRing, p.rxMem, p.posted, p.rxEvent)
		if p.txEvent == p.rxEvent {
			p.rxEvent.Handle(func() {
				q.rx.bell.ring()
				q.tx.event(false)
			})
		} else {
			p.rxEvent.Handle(q.rx.bell.ring)
			p.txEvent.Handle(func() { q.tx.event(false) })
		}
		// The back end may hold back what came for us while it did not see us ready.
		p.rxEvent.Notify()
	}
	f.count.connects.Add(1)
}

// stop takes the connection down. What has arrived stays readable.
func (f *Frontend) stop() {
	for _, q := range f.queues {
		q.tx.stop()
		q.rx.stop()
	}
	if f.session != nil {
		f.session.close()
		f.session = nil
	}
}

// broken reports whether a ring of the connection is.
func (f *Frontend) broken() bool {
	for _, q := range f.queues {
		if q.tx.misbehaved() || q.rx.misbehaved() {
			return true
		}
	}
	return false
}

// control follows the states until the device is closed or gone.
func (f *Frontend) control() {
	defer close(f.done)
	v := f.mon.store
	ctx := context.Background()
	wait := backoff
	for {
		resumed, gone := false, false
		err := f.mon.until(ctx, 0, func() bool {
			select {
			case <-f.resume:
				resumed = true
			default:
			}
			gone = !exists(v, f.dir)
			back, _ := v.Read(f.dir + "/backend")
			// Our state changes by another's hand when a toolstack sets up a guest that has
			// moved.
			return resumed || gone || f.broken() || back != f.session.dir ||
				stateAt(v, back) != stateConnected || stateAt(v, f.dir) != stateConnected
		})
		broken := err == nil && !resumed && !gone && f.broken()
		f.leaveBackend(err == nil && (resumed || gone))
		f.stop()
		if err == nil && !gone {
			if broken {
				f.count.broken.Add(1)
				err = f.mon.until(ctx, wait, func() bool { gone = !exists(v, f.dir); return gone })
				wait = min(2*wait, maxBackoff)
				if errors.Is(err, errTimeout) {
					err = nil
				}
			} else {
				wait = backoff
			}
		}
		for err == nil && !gone {
			if !f.detached() {
				var s *frontSession
				if s, err = f.connect(ctx, 0); err == nil {
					f.start(s)
					break
				}
				if errors.Is(err, net.ErrClosed) {
					break
				}
			}
			// Another attempt when something has changed, or after a while.
			again := stateAt(v, f.dir)
			err = f.mon.until(ctx, backoff, func() bool {
				gone = !exists(v, f.dir)
				return gone || stateAt(v, f.dir) != again
			})
			if errors.Is(err, errTimeout) {
				err = nil
			}
		}
		if gone {
			f.leave(ErrGone)
			for _, q := range f.queues {
				q.tx.wake()
			}
		}
		if err != nil || gone {
			break
		}
	}
	f.mon.clear(0)
	if f.cfg.OwnTransport {
		// The queues are stopped: nobody touches its memory any more.
		f.cfg.Transport.Close()
	}
}

// leaveBackend goes through Closing to Closed, so that the back end lets go of our
// pages. abruptly means that there is nobody to tell.
func (f *Frontend) leaveBackend(abruptly bool) {
	v, back := f.mon.store, f.session.dir
	if abruptly {
		return
	}
	now := stateAt(v, back)
	wait := func(done func(state) bool) error {
		// A monitor of its own, since this one goes on after Close has begun.
		m := monitor{store: v, watches: f.mon.watches, kick: f.mon.kick}
		return m.until(context.Background(), f.cfg.Timeout, func() bool { return done(stateAt(v, back)) })
	}
	if now == stateConnected || now == stateInitialised || now == stateClosing {
		if stateAt(v, f.dir) != stateConnected {
			return // not ours to write any more
		}
		f.setState(stateClosing)
		if wait(func(s state) bool { return s != stateConnected && s != stateInitialised }) != nil {
			f.setState(stateClosed)
			return // nobody is there
		}
	}
	f.setState(stateClosed)
	// Until it says so it may still believe in the rings of before, and would take
	// the next connection for this one.
	wait(func(s state) bool { return s == stateClosed || s == stateUnknown })
}
