package tcp

// ChunkSize is the unit in which buffers hold memory.
const ChunkSize = 8192

// Chunk is one unit of buffer memory.
type Chunk struct{ Data [ChunkSize]byte }

// Memory lends chunks to the buffers of many connections and accounts for them.
// The driver implements it; a pool keeps the per-segment path free of allocation.
type Memory interface {
	// Get returns a chunk, or nil when the limit is reached. must is set for the one
	// chunk without which a connection could make no progress; it is then not
	// refused, so that at most two chunks for each connection exceed the limit.
	Get(must bool) *Chunk
	// Put takes a chunk back.
	Put(*Chunk)
	// Pressure reports whether memory is so short that no buffer should grow.
	Pressure() bool
}

// heap is the Memory of a connection that was given none.
type heap struct{}

func (heap) Get(bool) *Chunk { return new(Chunk) }
func (heap) Put(*Chunk)      {}
func (heap) Pressure() bool  { return false }

// chunkRing is a deque of chunks. Entries may be nil where a receive buffer has
// holes.
type chunkRing struct {
	ring  []*Chunk // length a power of two, or nil
	head  int      // index of entry 0
	count int
}

func (r *chunkRing) at(i int) *Chunk     { return r.ring[(r.head+i)&(len(r.ring)-1)] }
func (r *chunkRing) set(i int, c *Chunk) { r.ring[(r.head+i)&(len(r.ring)-1)] = c }

func (r *chunkRing) push(c *Chunk) {
	if r.count == len(r.ring) {
		grown := make([]*Chunk, max(4, 2*len(r.ring)))
		for i := range r.count {
			grown[i] = r.at(i)
		}
		r.ring, r.head = grown, 0
	}
	r.count++
	r.set(r.count-1, c)
}

func (r *chunkRing) pop() *Chunk {
	c := r.at(0)
	r.set(0, nil)
	r.head = (r.head + 1) & (len(r.ring) - 1)
	r.count--
	return c
}
