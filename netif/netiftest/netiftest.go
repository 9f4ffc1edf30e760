// Package netiftest is the suite that every netif.Device passes: it states in tests
// what package netif promises in words.
//
// It is for the tests of drivers. It runs in real time, since a device may have a
// kernel or another machine at its far end, and asserts no durations: whatever must
// happen has Config.Timeout to do so, and whatever must not happen is checked by
// something that comes after it.
//
// Frames of the suite are of the IEEE 802 local experimental EtherType 88-B5, or
// IPv4 packets of protocol 253 (RFC 3692) on an IP link, so that a kernel at the far
// end hands them to a packet socket and otherwise leaves them alone; the frames of
// the offload checks are IPv4 UDP and TCP between addresses for documentation
// (RFC 5737).
package netiftest

import (
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
)

// Config says what the suite tests.
type Config struct {
	// New returns two devices at the ends of one link: a is the one under test, b
	// stands for whoever is at its far end. b must be a correct device too. It is
	// called once for each check; both devices are closed when the check ends, and
	// whatever else there is belongs into t.Cleanup.
	New func(t testing.TB) (a, b netif.Device)
	// Lossy says that frames may be lost when more than Window of them are under way
	// (a kernel's queue overflows). The suite then stays below that wherever all
	// frames have to arrive, and asks no more of a flood than that what arrives is
	// intact, in order and not doubled, and at least half a window.
	Lossy bool
	// Window is how many frames the suite has under way to a Lossy device; 16 if zero.
	Window int
	// Noisy says that frames of others may arrive. They are ignored.
	Noisy bool
	// Timeout is how long the suite waits for what must happen; a minute if zero.
	Timeout time.Duration
}

// check is one test of the suite.
type check struct {
	name string
	run  func(*link)
}

// checks are all tests, in an order in which the first failure tells most.
var checks = [...]check{
	{"Info", checkInfo},
	{"Sizes", checkSizes},
	{"Batches", checkBatches},
	{"Fragments", checkFragments},
	{"BadSizes", checkBadSizes},
	{"Borrowing", checkBorrowing},
	{"Ownership", checkOwnership},
	{"ReleaseAfterClose", checkReleaseAfterClose},
	{"ShortWrite", checkShortWrite},
	{"ConcurrentWriters", checkConcurrentWriters},
	{"Wait", checkWait},
	{"Close", checkClose},
	{"CloseUnblocks", checkCloseUnblocks},
	{"CloseWhileBusy", checkCloseWhileBusy},
	{"ReadAfterClose", checkReadAfterClose},
	{"Checksum", checkChecksum},
	{"Segmentation", checkSegmentation},
	{"Goroutines", checkGoroutines},
}

// TestDevice runs the suite.
func TestDevice(t *testing.T, cfg Config) {
	if cfg.New == nil {
		t.Fatal("netiftest: Config.New is missing")
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.start(t, cfg) })
	}
}

// start runs one check on devices of its own.
func (c check) start(t testing.TB, cfg Config) {
	t.Helper()
	if cfg.Window <= 0 {
		cfg.Window = 16
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	l := &link{TB: t, cfg: cfg}
	l.open()
	c.run(l)
}
