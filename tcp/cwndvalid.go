package tcp

// windowUsage remembers how much of the congestion window the last round trip used
// (RFC 7661 gives the reasons; the rules are Linux's): a window that the
// application does not fill says nothing about the path, and must not grow.
type windowUsage struct {
	most    int // bytes in flight at most
	end     Seq // the round ends when this is acknowledged
	started bool
}

// sent notes what is in flight after a transmission.
func (u *windowUsage) sent(c *Conn) {
	if f := c.inFlight(); !u.started || u.end.LessEq(c.sndUna) || f > u.most {
		u.most, u.end, u.started = f, c.sndNxt, true
	}
}

// limits reports whether the window limited the sender. In slow start half a window
// in use is reason enough to open it, or bursts of an application could never grow.
func (u *windowUsage) limits(c *Conn) bool {
	if c.limited {
		return true
	}
	w := c.cc.Window()
	return w < c.cc.Threshold() && 2*u.most >= w
}
