package tcp

import "sort"

// Bounds of how many separate runs of out-of-order bytes a connection keeps; a segment
// that would begin one more is dropped. A few may be as small as they like. A burst that
// overflows a buffer on a fast path loses every second segment of a whole window, and
// what is dropped behind that many holes would have to come again after timeouts; so
// there may be more if they are worth it: full segments, and not the crumbs with which
// a peer makes work and uses memory that nobody accounts for.
const (
	maxHoles  = 256
	mostHoles = 8192
	worthHole = 256 // bytes in a run, on average
)

// run is a stretch [left, right) of out-of-order bytes.
type run struct{ left, right Seq }

// recvBuffer holds what arrived and was not read: the bytes in order from base to
// nxt, and behind them the out-of-order runs, each at its final place, so that a
// segment never outlives its frame.
type recvBuffer struct {
	mem    Memory
	chunks chunkRing
	base   Seq // sequence number of the first unread byte
	nxt    Seq // RCV.NXT for data: the first byte that is missing
	off    int // place of base in the first chunk

	ahead int   // bytes in runs
	runs  []run // out of order, ascending, disjoint, not touching, all after nxt
	// recent holds a place in each of the runs that have changed last, the latest first:
	// the order in which RFC 2018, section 4, wants SACK blocks.
	recent  [4]Seq
	nrecent int

	// into is where bytes go that are next in order while none wait in front of them:
	// what is left of InputInto's buffer, during the call.
	into []byte
}

// buffered returns the number of bytes that can be read.
func (b *recvBuffer) buffered() int { return b.nxt.Sub(b.base) }

// held returns how many bytes are held, out of order ones included.
func (b *recvBuffer) held() int { return b.buffered() + b.ahead }

// mayHole reports whether there may be one more run.
func (b *recvBuffer) mayHole() bool {
	n := len(b.runs)
	return n < maxHoles || n < mostHoles && b.ahead >= n*worthHole
}

// find returns the first run that seq is not behind.
func (b *recvBuffer) find(seq Seq) int {
	return sort.Search(len(b.runs), func(i int) bool { return seq.LessEq(b.runs[i].right) })
}

// insert stores the bytes p that begin at seq, which is not before nxt and, with
// all of p, inside the window. It returns whether anything was stored; nxt tells
// how far the data is now in order.
func (b *recvBuffer) insert(seq Seq, p []byte) bool {
	if seq == b.nxt {
		m := b.hand(p)
		n := 0
		if m < len(p) {
			n = b.place(seq.Add(m), p[m:], 0)
			b.nxt = b.nxt.Add(n)
		}
		b.merge()
		return m+n > 0
	}
	// Which runs does [seq, end) touch?
	end := seq.Add(len(p))
	i := b.find(seq)
	j := i
	for j < len(b.runs) && b.runs[j].left.LessEq(end) {
		j++
	}
	if i == j && !b.mayHole() {
		return false
	}
	n := b.place(seq, p, i)
	if n == 0 {
		return false
	}
	merged := run{seq, seq.Add(n)}
	if n < len(p) { // out of memory on the way
		for j > i && merged.right.Less(b.runs[j-1].left) {
			j--
		}
	}
	for _, r := range b.runs[i:j] {
		b.ahead -= r.right.Sub(r.left)
	}
	if i < j {
		merged.left = minSeq(merged.left, b.runs[i].left)
		merged.right = maxSeq(merged.right, b.runs[j-1].right)
		b.runs[i] = merged
		b.runs = append(b.runs[:i+1], b.runs[j:]...)
	} else {
		b.runs = append(b.runs, run{})
		copy(b.runs[i+1:], b.runs[i:])
		b.runs[i] = merged
	}
	b.ahead += merged.right.Sub(merged.left)
	b.remember(merged)
	return true
}

// hand copies the start of p, which is next in order, to into, as far as nothing
// is waiting to be read before it, and returns how much that was.
func (b *recvBuffer) hand(p []byte) int {
	if len(b.into) == 0 || b.base != b.nxt || len(b.runs) > 0 {
		return 0
	}
	n := copy(b.into, p)
	b.into = b.into[n:]
	b.base, b.nxt = b.base.Add(n), b.nxt.Add(n) // there are no chunks, and off is 0
	return n
}

// merge takes runs that nxt has reached into the ordered bytes.
func (b *recvBuffer) merge() {
	n := 0
	for n < len(b.runs) && b.runs[n].left.LessEq(b.nxt) {
		b.nxt = maxSeq(b.nxt, b.runs[n].right)
		b.ahead -= b.runs[n].right.Sub(b.runs[n].left)
		n++
	}
	if n > 0 {
		b.runs = append(b.runs[:0], b.runs[n:]...)
		if len(b.runs) == 0 {
			b.nrecent = 0
		}
	}
}

// remember makes r, of which a part has just arrived, the most recent run.
func (b *recvBuffer) remember(r run) {
	list := [len(b.recent)]Seq{r.left}
	n := 1
	for _, seq := range b.recent[:b.nrecent] {
		if n < len(list) && b.nxt.Less(seq) && (seq.Less(r.left) || r.right.LessEq(seq)) {
			list[n] = seq
			n++
		}
	}
	b.recent, b.nrecent = list, n
}

// sack fills blocks, most recently changed first (RFC 2018, section 4), and
// returns how many. fin is what holds no bytes and lies behind all runs, or empty.
func (b *recvBuffer) sack(blocks []SACKBlock, fin run) int {
	if len(b.runs) == 0 && fin.left == fin.right {
		return 0
	}
	n := 0
	add := func(r run) {
		for _, have := range blocks[:n] {
			if have.Left == r.left {
				return
			}
		}
		if n < len(blocks) {
			blocks[n] = SACKBlock{r.left, r.right}
			n++
		}
	}
	for _, seq := range b.recent[:b.nrecent] {
		i := sort.Search(len(b.runs), func(i int) bool { return seq.Less(b.runs[i].right) })
		if i < len(b.runs) && b.runs[i].left.LessEq(seq) {
			add(b.runs[i])
		} else if seq == fin.left && fin.left != fin.right {
			add(fin)
		}
	}
	for i := 0; i < len(b.runs) && n < len(blocks) && i < 2*len(blocks); i++ {
		add(b.runs[i])
	}
	if fin.left != fin.right {
		add(fin)
	}
	return n
}

// place stores what p brings that is not there yet, and returns how many bytes from the
// start of p are held then. The runs before i end before seq. What came first stays: a
// peer that sends other bytes for the same numbers later, after they were reported or
// somebody else has looked at them on the way, changes nothing (RFC 9293, section
// 3.10.7.4, has only the new parts of a segment processed).
func (b *recvBuffer) place(seq Seq, p []byte, i int) int {
	n := 0
	for ; i < len(b.runs) && b.runs[i].left.Less(seq.Add(len(p))); i++ {
		r := &b.runs[i]
		if gap := r.left.Sub(seq.Add(n)); gap > 0 {
			m := b.store(seq.Add(n), p[n:n+gap])
			if n += m; m < gap {
				return n // no more memory
			}
		}
		n = max(n, min(r.right.Sub(seq), len(p)))
	}
	return n + b.store(seq.Add(n), p[n:])
}

// store copies p to its place and returns how many bytes found memory. Only bytes
// in order have a claim to memory beyond the limit.
func (b *recvBuffer) store(seq Seq, p []byte) int {
	inOrder := seq == b.nxt
	at := b.off + seq.Sub(b.base)
	n := 0
	for n < len(p) {
		i := at / ChunkSize
		for b.chunks.count <= i {
			b.chunks.push(nil)
		}
		c := b.chunks.at(i)
		if c == nil {
			// The chunk that holds nxt must not be refused when nothing is left to read:
			// no event would bring memory later.
			must := inOrder && n == 0 && b.buffered() == 0
			if c = b.mem.Get(must); c == nil {
				break
			}
			b.chunks.set(i, c)
		}
		m := copy(c.Data[at%ChunkSize:], p[n:])
		at += m
		n += m
	}
	return n
}

// peek returns the first readable bytes that lie together.
func (b *recvBuffer) peek() []byte {
	n := b.buffered()
	if n == 0 {
		return nil
	}
	p := b.chunks.at(0).Data[b.off:]
	return p[:min(len(p), n)]
}

// discard gives up the first n readable bytes.
func (b *recvBuffer) discard(n int) {
	b.base = b.base.Add(n)
	b.off += n
	for b.off >= ChunkSize {
		b.put(b.chunks.pop())
		b.off -= ChunkSize
	}
	if b.base == b.nxt && len(b.runs) == 0 {
		b.drop()
	}
}

// reset gives up everything, in order and out of order.
func (b *recvBuffer) reset() {
	b.base = b.nxt
	b.forget()
	b.drop()
}

// forget gives up the runs, if not yet their memory.
func (b *recvBuffer) forget() { b.runs, b.nrecent, b.ahead = nil, 0, 0 }

func (b *recvBuffer) drop() {
	for b.chunks.count > 0 {
		b.put(b.chunks.pop())
	}
	b.off = 0
}

func (b *recvBuffer) put(c *Chunk) {
	if c != nil {
		b.mem.Put(c)
	}
}
