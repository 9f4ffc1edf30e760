package gvisor

import (
	"github.com/netduet/netduet/netif"
)

// port is a device with the interfaces on it.
type port struct {
	st     *Stack
	dev    netif.Device
	info   netif.Info
	queues []*queue
	links  []*link // one for each VLAN
}

func newPort(s *Stack, dev netif.Device) *port {
	p := &port{st: s, dev: dev, info: dev.Info()}
	for i, q := range dev.Queues() {
		p.queues = append(p.queues, &queue{port: p, index: i, q: q})
	}
	return p
}

// byVLAN returns the interface for frames with the given tag, and its number among
// the port's, or nil.
func (p *port) byVLAN(id uint16) (int, *link) {
	for i, l := range p.links {
		if l.vlan == id {
			return i, l
		}
	}
	return 0, nil
}
