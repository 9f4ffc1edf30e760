package direct

import "sync"

// newConn makes a connection that is not yet open. Its flow and path are set by
// the caller, as is the entry.
func (s *Stack) newConn() (*TCPConn, bool) {
	if !s.mem.charge(connCharge+coreCharge, false) {
		s.count.tcp.connRefused.Add(1)
		return nil, false
	}
	c := &TCPConn{st: s, opt: s.netOptions, tc: s.getCore()}
	c.kind = c
	s.conns.add(c)
	s.count.tcp.connections.Add(1)
	return c, true
}

// connList is all connections whose memory is accounted for, those that have left
// the table and that the application has not closed yet included. Its lock is a
// leaf.
type connList struct {
	mu    sync.Mutex
	first *TCPConn
}

func (l *connList) add(c *TCPConn) {
	l.mu.Lock()
	if c.next = l.first; c.next != nil {
		c.next.prev = c
	}
	l.first = c
	l.mu.Unlock()
}

func (l *connList) remove(c *TCPConn) {
	l.mu.Lock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.mu.Unlock()
}

// all returns a snapshot.
func (l *connList) all() (list []*TCPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := l.first; c != nil; c = c.next {
		list = append(list, c)
	}
	return list
}

// forgetConn undoes newConn.
func (s *Stack) forgetConn(c *TCPConn) {
	s.conns.remove(c)
	s.mem.credit(connCharge)
	if c.tc != nil {
		s.mem.credit(coreCharge)
	}
	s.count.tcp.connections.Add(-1)
}
