package direct

import (
	"testing"
	"unsafe"

	"github.com/netduet/netduet/tcp"
)

// TestRecordSizes holds what a crowd of peers costs, in size classes of Go's allocator:
// one byte more is the next class, up to 128 bytes away. What is charged against the
// memory limit is at least the records' size.
func TestRecordSizes(t *testing.T) {
	for _, r := range []struct {
		name               string
		size, most, charge uintptr
	}{
		{"a connection", unsafe.Sizeof(TCPConn{}), 768, connCharge},
		{"its state machine", unsafe.Sizeof(tcp.Conn{}), 2304, coreCharge},
		{"a half-open connection", unsafe.Sizeof(halfOpen{}), 384, passiveCharge},
		{"a record of TIME-WAIT", unsafe.Sizeof(timeWait{}), 224, timeWaitCharge},
	} {
		t.Logf("%s: %d bytes", r.name, r.size)
		if r.size > r.most || r.size > r.charge {
			t.Errorf("%s has %d bytes, more than %d, or than the %d that it is charged with", r.name, r.size, r.most, r.charge)
		}
	}
}
