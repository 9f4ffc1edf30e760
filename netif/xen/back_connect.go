package xen

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// OpenBackend offers a vif that the toolstack has set up (see Vif.Plug) to its
// guest, and does not wait for it. The context bounds the opening only.
func OpenBackend(ctx context.Context, cfg BackendConfig) (*Backend, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Queues == 0 {
		cfg.Queues = 1
	}
	b := &Backend{cfg: cfg, dir: fmt.Sprintf("backend/vif/%d/%d", cfg.Domain, cfg.Index), done: make(chan struct{}), up: make(chan struct{})}
	b.init(cfg.Recovery)
	if err := b.openFirst(ctx); err != nil {
		b.mon.clear(0)
		if cfg.OwnTransport {
			cfg.Transport.Close()
		}
		return nil, err
	}
	go b.control()
	return b, nil
}

func (b *Backend) openFirst(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := b.cfg.Transport.Store()
	b.mon = monitor{store: s, kick: make(chan struct{}, 1), stop: b.closing}
	front, err := s.Read(b.dir + "/frontend")
	if err != nil {
		return fmt.Errorf("xen: there is no vif %d for domain %d to serve: set it up first (xl network-attach with backend=…): %w", b.cfg.Index, b.cfg.Domain, err)
	}
	b.info = netif.Info{
		Name: fmt.Sprintf("vif%d.%d", b.cfg.Domain, b.cfg.Index), Link: netif.LinkEthernet, MAC: b.cfg.MAC, MTU: b.cfg.MTU,
		Offloads: receives(b.cfg.Without),
	}
	// A guest that does not take all of this has it done here: what it takes is not
	// known yet, and changes when it restarts.
	all := caps{sg: true, checksum4: b.cfg.Without&FeatureChecksum4 == 0, checksum6: b.cfg.Without&FeatureChecksum6 == 0}
	all.sg = b.cfg.Without&FeatureSG == 0
	all.tcp4 = all.sg && b.cfg.Without&FeatureTSO4 == 0
	all.tcp6 = all.sg && b.cfg.Without&FeatureTSO6 == 0
	b.info.Offloads |= sends(all)
	if b.info.MAC.IsZero() {
		b.info.MAC = ethernet.Addr{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	if b.info.MTU == 0 {
		b.info.MTU = 1500
		if n, err := transport.ReadUint(s, b.dir+"/mtu", 16); err == nil && n >= minMTU && n <= maxMTU {
			b.info.MTU = int(n)
		}
	}
	if !all.sg {
		b.info.MTU = min(b.info.MTU, pageSize-etherLen-vlanLen)
	}
	for range b.cfg.Queues {
		q := &backQueue{dev: b}
		q.tx.init(b)
		q.rx.init(b)
		b.queues = append(b.queues, q)
		b.list = append(b.list, q)
	}
	if err := b.mon.watch(b.dir, front+"/state"); err != nil {
		return err
	}
	return b.offer()
}

// offer publishes what we have and waits for the guest in InitWait.
func (b *Backend) offer() error {
	queues := ""
	if b.cfg.Queues > 1 && b.cfg.Without&FeatureQueues == 0 {
		queues = strconv.Itoa(b.cfg.Queues)
	}
	split := ""
	if b.cfg.Without&FeatureSplitEvents == 0 {
		split = "1"
	}
	err := transport.Update(b.mon.store, func(v transport.View) error {
		if _, err := v.Read(b.dir + "/frontend"); err != nil {
			return err
		}
		if err := put(v, b.dir, append(featureKeys(b.cfg.Without),
			[2]string{"feature-rx-copy", "1"}, [2]string{"feature-rx-flip", "0"},
			[2]string{"feature-multicast-control", "1"},
			[2]string{"feature-split-event-channels", split},
			[2]string{"multi-queue-max-queues", queues}, [2]string{"error", ""})); err != nil {
			return err
		}
		return setState(v, b.dir, stateInitWait)
	})
	if err != nil {
		return fmt.Errorf("xen: cannot offer vif %d to domain %d: %w", b.cfg.Index, b.cfg.Domain, err)
	}
	return nil
}

// backSession is one connection of a guest.
type backSession struct {
	pairs []*backPair
	keys  string // what the guest had published
}

type backPair struct {
	txPage, rxPage   transport.Region
	txEvent, rxEvent transport.Channel
	txRing, rxRing   *ring.Back
}

func (s *backSession) close() {
	for _, p := range s.pairs {
		for _, c := range []transport.Channel{p.txEvent, p.rxEvent} {
			if c != nil {
				c.Close()
			}
		}
		for _, r := range []transport.Region{p.txPage, p.rxPage} {
			if r != nil {
				r.Close()
			}
		}
	}
}

// connect joins the rings that the guest has published.
func (b *Backend) connect(front string) (err error) {
	v := b.mon.store
	s := &backSession{keys: b.published(front)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if !transport.ReadFlag(v, front+"/request-rx-copy") {
		return errors.New("the guest does not ask for copies (request-rx-copy), and nothing else is offered")
	}
	queues := uint64(1)
	if n, err := transport.ReadUint(v, front+"/multi-queue-num-queues", 32); err == nil {
		queues = n
	} else if !errors.Is(err, transport.ErrNotExist) {
		return err
	}
	if queues < 1 || queues > uint64(b.cfg.Queues) || queues > 1 && b.cfg.Without&FeatureQueues != 0 {
		return fmt.Errorf("the guest wants %d queues, offered were %d", queues, b.cfg.Queues)
	}
	for i := range queues {
		dir := front
		if queues > 1 {
			dir = front + "/queue-" + strconv.FormatUint(i, 10)
		}
		p := &backPair{}
		s.pairs = append(s.pairs, p)
		if err := b.join(p, dir); err != nil {
			return err
		}
	}
	c := capsOf(v, front, b.cfg.Without)
	b.filter.mu.Lock()
	b.filter.on = transport.ReadFlag(v, front+"/request-multicast-control")
	b.filter.want = make(map[ethernet.Addr]struct{})
	b.filter.mu.Unlock()
	b.session = s
	for i, q := range b.queues {
		if i >= len(s.pairs) {
			q.tx.instead.Store(&b.queues[i%len(s.pairs)].tx)
			continue
		}
		q.tx.instead.Store(nil)
		p := s.pairs[i]
		// The guest's transmit ring is what we receive from.
		q.rx.start(p.txRing, p.txEvent, b.cfg.Domain)
		q.tx.start(p.rxRing, p.rxEvent, b.cfg.Domain, c)
		if p.txEvent == p.rxEvent {
			p.rxEvent.Handle(func() {
				q.rx.bell.ring()
				q.tx.event(false)
			})
		} else {
			p.txEvent.Handle(q.rx.bell.ring)
			p.rxEvent.Handle(func() { q.tx.event(false) })
		}
	}
	return nil
}

// published returns what tells one connection of the guest from the next, if it goes
// through its states faster than we look.
func (b *Backend) published(front string) (keys string) {
	for _, dir := range []string{front, front + "/queue-0"} {
		for _, k := range []string{"tx-ring-ref", "rx-ring-ref", "event-channel", "event-channel-rx"} {
			v, _ := b.mon.store.Read(dir + "/" + k)
			keys += v + " "
		}
	}
	return keys
}

// join maps one queue's rings and binds its channels.
func (b *Backend) join(p *backPair, dir string) error {
	v, tr := b.mon.store, b.cfg.Transport
	page := func(key string) (transport.Region, error) {
		ref, err := transport.ReadUint(v, dir+"/"+key, 32)
		if err != nil {
			return nil, err
		}
		r, err := tr.Map(b.cfg.Domain, transport.Ref(ref))
		if err != nil {
			return nil, fmt.Errorf("cannot map %s %d of the guest: %w", key, ref, err)
		}
		return r, nil
	}
	channel := func(key string) (transport.Channel, error) {
		port, err := transport.ReadUint(v, dir+"/"+key, 32)
		if err != nil {
			return nil, err
		}
		c, err := tr.Bind(b.cfg.Domain, transport.Port(port))
		if err != nil {
			return nil, fmt.Errorf("cannot bind %s %d of the guest: %w", key, port, err)
		}
		return c, nil
	}
	var err error
	if p.txPage, err = page("tx-ring-ref"); err != nil {
		return err
	}
	if p.rxPage, err = page("rx-ring-ref"); err != nil {
		return err
	}
	if p.txRing, err = ring.NewBack(p.txPage.Bytes(), txWords); err != nil {
		return err
	}
	if p.rxRing, err = ring.NewBack(p.rxPage.Bytes(), rxWords); err != nil {
		return err
	}
	p.txEvent, err = channel("event-channel-tx")
	if errors.Is(err, transport.ErrNotExist) {
		p.txEvent, err = channel("event-channel")
		p.rxEvent = p.txEvent
		return err
	}
	if err != nil {
		return err
	}
	p.rxEvent, err = channel("event-channel-rx")
	return err
}

// stop takes the connection down. What has arrived stays readable.
func (b *Backend) stop() {
	for _, q := range b.queues {
		q.tx.stop()
		q.rx.stop()
	}
	if b.session != nil {
		b.session.close()
		b.session = nil
	}
}

func (b *Backend) broken() bool {
	for _, q := range b.queues {
		if q.tx.misbehaved() || q.rx.misbehaved() {
			return true
		}
	}
	return false
}

// setState writes our state, unless the vif was taken away.
func (b *Backend) setState(s state) error {
	return transport.Update(b.mon.store, func(v transport.View) error {
		if _, err := v.Read(b.dir + "/frontend"); err != nil {
			return err
		}
		return setState(v, b.dir, s)
	})
}

// control follows the guest's states until the device is closed or gone.
func (b *Backend) control() {
	defer close(b.done)
	v := b.mon.store
	ctx := context.Background()
	front, _ := v.Read(b.dir + "/frontend")
	first := true
	seen := stateUnknown
	var penalty time.Duration
	for {
		now, gone, broken := seen, false, false
		err := b.mon.until(ctx, 0, func() bool {
			gone = !exists(v, b.dir+"/frontend")
			now = stateAt(v, front)
			broken = b.broken()
			if now == seen && b.session != nil && now == stateConnected && b.published(front) != b.session.keys {
				now, seen = stateInitialising, stateUnknown
			}
			return gone || broken || now != seen
		})
		if err != nil {
			break
		}
		if gone {
			b.stop()
			b.leave(ErrGone)
			for _, q := range b.queues {
				q.tx.wake()
			}
			break
		}
		if broken {
			b.stop()
			b.count.broken.Add(1)
			b.fail("the guest broke the ring's protocol")
			// It stays disconnected until it begins anew, and for a while after that.
			penalty = max(backoff, min(2*penalty, maxBackoff))
			if err := b.mon.until(ctx, penalty, func() bool { return false }); !errors.Is(err, errTimeout) {
				break
			}
			seen = stateAt(v, front)
			if seen == stateInitialising {
				seen = stateUnknown
			}
			continue
		}
		seen = now
		switch now {
		case stateInitialising:
			// Also after a crash of the guest's driver, which has said nothing.
			b.stop()
			err = b.offer()
		case stateInitialised, stateConnected:
			if b.session != nil {
				break
			}
			if why := b.connect(front); why != nil {
				b.stop()
				b.fail(why.Error())
				break
			}
			if err = b.setState(stateConnected); err == nil {
				b.count.connects.Add(1)
				if first {
					first = false
					close(b.up)
				}
			}
		case stateClosing:
			b.stop()
			err = b.setState(stateClosing)
		case stateClosed, stateUnknown:
			b.stop()
			err = b.setState(stateClosed)
		}
		if err != nil && !exists(v, b.dir+"/frontend") {
			continue // gone: the next round sees it
		}
	}
	if b.goneErr() == nil {
		b.leaveGuest(front)
	}
	b.stop()
	b.mon.clear(0)
	if b.cfg.OwnTransport {
		b.cfg.Transport.Close()
	}
}

// fail tells the guest, and who looks into the xenstore, why there is no connection.
func (b *Backend) fail(why string) {
	b.mon.store.Write(b.dir+"/error", why)
	b.setState(stateClosing)
}

// leaveGuest closes the connection from our side.
func (b *Backend) leaveGuest(front string) {
	v := b.mon.store
	if b.session != nil {
		b.setState(stateClosing)
		m := monitor{store: v, watches: b.mon.watches}
		m.until(context.Background(), b.cfg.Timeout, func() bool {
			s := stateAt(v, front)
			return s != stateConnected && s != stateInitialised
		})
	}
	b.setState(stateClosed)
}
