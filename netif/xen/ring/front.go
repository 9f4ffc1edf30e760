package ring

// Front is the end that makes requests.
type Front struct {
	shared
	reqProd  uint32 // next request to write; published up to reqShown
	reqShown uint32 // what the page's req_prod holds
	rspCons  uint32 // next response to take
	rspSeen  uint32 // responses known to be there; at most reqShown
	err      error
}

// NewFront initialises the page for requests and responses of words 32-bit words.
// It must happen before the other end maps the page.
func NewFront(page []byte, words int) (*Front, error) { return newFrontAt(page, words, 0) }

// newFrontAt begins counting at start, which lets tests look at the wrap.
func newFrontAt(page []byte, words int, start uint32) (*Front, error) {
	s, err := newShared(page, words)
	if err != nil {
		return nil, err
	}
	clear(page)
	s.store(offReqProd, start)
	s.store(offReqEvent, start+1)
	s.store(offRspProd, start)
	s.store(offRspEvent, start+1)
	return &Front{shared: s, reqProd: start, reqShown: start, rspCons: start, rspSeen: start}, nil
}

// Size returns the number of slots.
func (f *Front) Size() int { return int(f.size) }

// Free returns how many slots can be reserved. Only what Take has reaped counts.
func (f *Front) Free() int { return int(f.size - (f.reqProd - f.rspCons)) }

// Unanswered returns how many published requests have no response taken yet.
func (f *Front) Unanswered() int { return int(f.reqShown - f.rspCons) }

// Reserve takes n slots in a row, or none. The first is number at (modulo the
// ring's size), and each must be written by Put before Push.
func (f *Front) Reserve(n int) (at uint32, ok bool) {
	if f.err != nil || n < 0 || n > f.Free() {
		return 0, false
	}
	at = f.reqProd
	f.reqProd += uint32(n)
	return at, true
}

// Put writes a reserved slot.
func (f *Front) Put(at uint32, v Slot) { f.write(at, &v) }

// Index returns the position in the ring, from 0 to Size()-1, of slot number at.
func (f *Front) Index(at uint32) int { return int(at & (f.size - 1)) }

// Push publishes what was reserved and reports whether the other end asked to be
// notified of it.
func (f *Front) Push() (notify bool) {
	if f.err != nil || f.reqProd == f.reqShown {
		return false
	}
	old := f.reqShown
	f.reqShown = f.reqProd
	// The store and the load that follows are sequentially consistent: the other end
	// either sees the requests or has its threshold seen here.
	f.store(offReqProd, f.reqShown)
	return passed(old, f.reqShown, f.load(offReqEvent))
}

// look reads and checks the other end's count.
func (f *Front) look() error {
	if f.err != nil {
		return f.err
	}
	prod := f.load(offRspProd)
	// At least what was seen before, at most one for each request.
	if n := prod - f.rspCons; n > f.reqShown-f.rspCons || n < f.rspSeen-f.rspCons {
		f.err = ErrPeer
		return f.err
	}
	f.rspSeen = prod
	return nil
}

// Responses returns how many responses can be taken.
func (f *Front) Responses() (int, error) {
	if err := f.look(); err != nil {
		return 0, err
	}
	return int(f.rspSeen - f.rspCons), nil
}

// Take reaps one response, which lies where request number at was; ok is false if
// Responses has seen no more.
func (f *Front) Take() (at uint32, v Slot, ok bool) {
	if f.err != nil || f.rspCons == f.rspSeen {
		return 0, Slot{}, false
	}
	at = f.rspCons
	v = f.read(at)
	f.rspCons++
	return at, v, true
}

// Arm asks for an event once n more responses are there (fewer if fewer can come;
// at least 1) and looks once more: ready means that they are there already, and
// that the event may not come.
func (f *Front) Arm(n int) (ready bool, err error) {
	if f.err != nil {
		return false, f.err
	}
	want := distance(n, f.reqShown-f.rspCons)
	f.store(offRspEvent, f.rspCons+want)
	if err := f.look(); err != nil {
		return false, err
	}
	return f.rspSeen-f.rspCons >= want, nil
}

// Disarm moves the threshold where no response can reach it, so that no event is
// made for what will be reaped anyway.
func (f *Front) Disarm() {
	f.store(offRspEvent, f.rspCons-1)
}

// Err returns ErrPeer once the other end has broken the protocol.
func (f *Front) Err() error { return f.err }
