package tcp

// sendBuffer holds the bytes from the first unacknowledged one to the last one
// written. Its memory is borrowed by the device while pinned.
type sendBuffer struct {
	mem    Memory
	chunks chunkRing
	base   Seq // sequence number of the first byte held
	off    int // its place in the first chunk
	len    int
	limit  int // most bytes held

	// records are the ends of records among the bytes held, ascending; see EndRecord.
	records []Seq

	// pinned: a batch points into the chunks. Chunks that fall free meanwhile wait in
	// limbo, because the device may still read them.
	pinned bool
	limbo  []*Chunk
}

// end returns the sequence number behind the last byte.
func (b *sendBuffer) end() Seq { return b.base.Add(b.len) }

// room returns how many bytes append would take.
func (b *sendBuffer) room() int { return max(b.limit-b.len, 0) }

// append copies as much of p as there is room and memory for.
func (b *sendBuffer) append(p []byte) int {
	p = p[:min(len(p), b.room())]
	n := 0
	for n < len(p) {
		end := b.off + b.len
		if end == b.chunks.count*ChunkSize {
			c := b.mem.Get(b.chunks.count == 0)
			if c == nil {
				break
			}
			b.chunks.push(c)
		}
		m := copy(b.chunks.at(end / ChunkSize).Data[end%ChunkSize:], p[n:])
		n += m
		b.len += m
	}
	return n
}

// appendViews appends to views the parts of the n bytes from seq on.
func (b *sendBuffer) appendViews(views [][]byte, seq Seq, n int) [][]byte {
	off := b.off + seq.Sub(b.base)
	for n > 0 {
		part := b.chunks.at(off / ChunkSize).Data[off%ChunkSize:]
		part = part[:min(len(part), n)]
		views = append(views, part)
		off += len(part)
		n -= len(part)
	}
	return views
}

// advance gives up the bytes before seq, which the peer has acknowledged.
func (b *sendBuffer) advance(seq Seq) {
	n := min(max(seq.Sub(b.base), 0), b.len)
	b.base = b.base.Add(n)
	b.endRecords()
	b.off += n
	b.len -= n
	for b.off >= ChunkSize {
		b.free(b.chunks.pop())
		b.off -= ChunkSize
	}
	if b.len == 0 {
		b.drop()
	}
}

// reset gives up everything.
func (b *sendBuffer) reset() {
	b.base = b.end()
	b.len = 0
	b.drop()
}

func (b *sendBuffer) drop() {
	b.records = nil
	for b.chunks.count > 0 {
		b.free(b.chunks.pop())
	}
	b.off = 0
}

func (b *sendBuffer) free(c *Chunk) {
	if b.pinned {
		b.limbo = append(b.limbo, c)
		return
	}
	b.mem.Put(c)
}

func (b *sendBuffer) unpin() {
	b.pinned = false
	for i, c := range b.limbo {
		b.mem.Put(c)
		b.limbo[i] = nil
	}
	b.limbo = b.limbo[:0]
}
