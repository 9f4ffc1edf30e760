package direct

import (
	"sync"
	"sync/atomic"

	"github.com/netduet/netduet/tcp"
)

// What each kind of record is charged against Config.MemoryLimit, in bytes,
// beside the buffers it holds: the Go objects behind it, rounded up.
const (
	connCharge     = 1024
	coreCharge     = 2560 // of a connection that does not rest
	passiveCharge  = 512
	timeWaitCharge = 256
	socketCharge   = 512
	datagramCharge = 256
)

// memory accounts what peers and applications make the stack hold. It never
// blocks: beyond the limit new work is refused, and work that must go on (the
// first chunk of a buffer, so that every connection makes progress) is granted.
type memory struct {
	limit   int64
	used    atomic.Int64
	refused atomic.Uint64
	chunks  sync.Pool // *tcp.Chunk
	slabs   [len(slabSizes)]sync.Pool
}

func newMemory(limit int64) *memory { return &memory{limit: limit} }

// charge takes n bytes and reports whether they fit; must takes them anyhow.
func (m *memory) charge(n int, must bool) bool {
	if m.used.Add(int64(n)) > m.limit && !must {
		m.used.Add(int64(-n))
		m.refused.Add(1)
		return false
	}
	return true
}

func (m *memory) credit(n int) { m.used.Add(int64(-n)) }

// Get and Put make memory a tcp.Memory.
func (m *memory) Get(must bool) *tcp.Chunk {
	if !m.charge(tcp.ChunkSize, must) {
		return nil
	}
	if c, ok := m.chunks.Get().(*tcp.Chunk); ok {
		return c
	}
	return new(tcp.Chunk)
}

func (m *memory) Put(c *tcp.Chunk) {
	m.credit(tcp.ChunkSize)
	m.chunks.Put(c)
}

// Pressure implements tcp.Memory: buffers stop growing, and windows with them, while
// there is still something left for those that must go on.
func (m *memory) Pressure() bool { return m.used.Load() > m.limit/3*2 }

// slabSizes are the capacities of pooled byte storage: a small datagram, an
// Ethernet frame, a few of them, the largest IP packet with room for a link header.
var slabSizes = [...]int{256, 2048, 16384, 65536 + 256}

// slab is pooled byte storage. The class is kept so that it finds its pool again.
type slab struct {
	b     []byte
	class uint8
}

// slab returns storage of at least n bytes, n at most 65536+256. It is not
// charged: the caller knows for whom it is and how long.
func (m *memory) slab(n int) *slab {
	for i, size := range slabSizes {
		if n <= size {
			if s, ok := m.slabs[i].Get().(*slab); ok {
				return s
			}
			return &slab{b: make([]byte, size), class: uint8(i)}
		}
	}
	return &slab{b: make([]byte, n), class: uint8(len(slabSizes))}
}

func (m *memory) putSlab(s *slab) {
	if int(s.class) < len(slabSizes) {
		m.slabs[s.class].Put(s)
	}
}
