package ring

// Back is the end that answers requests.
type Back struct {
	shared
	rspProd  uint32 // next response to write; published up to rspShown
	rspShown uint32 // what the page's rsp_prod holds
	reqCons  uint32 // next request to take
	reqSeen  uint32 // requests known to be there
	err      error
}

// NewBack joins a ring that the front end initialised. It begins where the page
// says that responses end: after a restart of the back end that is not 0.
func NewBack(page []byte, words int) (*Back, error) {
	s, err := newShared(page, words)
	if err != nil {
		return nil, err
	}
	at := s.load(offRspProd)
	b := &Back{shared: s, rspProd: at, rspShown: at, reqCons: at, reqSeen: at}
	if err := b.look(); err != nil {
		return nil, err
	}
	return b, nil
}

// Size returns the number of slots.
func (b *Back) Size() int { return int(b.size) }

// look reads and checks the other end's count.
func (b *Back) look() error {
	if b.err != nil {
		return b.err
	}
	prod := b.load(offReqProd)
	// Never behind what was seen, and never more under way than there are slots: a
	// request taken and not answered still owns its slot.
	if n := prod - b.rspProd; n > b.size || n < b.reqSeen-b.rspProd {
		b.err = ErrPeer
		return b.err
	}
	b.reqSeen = prod
	return nil
}

// Requests returns how many requests can be taken.
func (b *Back) Requests() (int, error) {
	if err := b.look(); err != nil {
		return 0, err
	}
	return int(b.reqSeen - b.reqCons), nil
}

// Take takes one request; ok is false if Requests has seen no more.
func (b *Back) Take() (v Slot, ok bool) {
	if b.err != nil || b.reqCons == b.reqSeen {
		return Slot{}, false
	}
	v = b.read(b.reqCons)
	b.reqCons++
	return v, true
}

// Unanswered returns how many requests were taken and have no response yet.
func (b *Back) Unanswered() int { return int(b.reqCons - b.rspProd) }

// Put writes the next response; there must be an unanswered request, whose slot it
// takes. Without one it is ignored.
func (b *Back) Put(v Slot) {
	if b.err != nil || b.rspProd == b.reqCons {
		return
	}
	b.write(b.rspProd, &v)
	b.rspProd++
}

// Push publishes the responses and reports whether the other end asked to be
// notified of them.
func (b *Back) Push() (notify bool) {
	if b.err != nil || b.rspProd == b.rspShown {
		return false
	}
	old := b.rspShown
	b.rspShown = b.rspProd
	b.store(offRspProd, b.rspShown)
	return passed(old, b.rspShown, b.load(offRspEvent))
}

// Arm asks for an event once n more requests are there (at least 1, at most what
// the ring can hold) and looks once more: ready means that they are there already,
// and that the event may not come.
func (b *Back) Arm(n int) (ready bool, err error) {
	if b.err != nil {
		return false, b.err
	}
	want := distance(n, b.size-(b.reqCons-b.rspProd))
	b.store(offReqEvent, b.reqCons+want)
	if err := b.look(); err != nil {
		return false, err
	}
	return b.reqSeen-b.reqCons >= want, nil
}

// Disarm moves the threshold where no request can reach it.
func (b *Back) Disarm() { b.store(offReqEvent, b.reqCons-1) }

// Err returns ErrPeer once the other end has broken the protocol.
func (b *Back) Err() error { return b.err }
