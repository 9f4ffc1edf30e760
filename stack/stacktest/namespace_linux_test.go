package stacktest_test

import (
	"net/netip"
	"testing"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/stack/stacktest"
)

// TestSocketNamespace runs the suite on a kernel that is tuned so that what takes
// minutes takes seconds, with a link on which somebody can be absent: it proves
// the rows of the table that the machine's own network can't.
func TestSocketNamespace(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	addr := netip.MustParsePrefix("10.9.0.1/24")
	for _, err := range []error{
		netns.LinkUp("lo"),
		netns.AddVeth("st0", "st1"),
		netns.LinkUp("st0"),
		netns.LinkUp("st1"),
		netns.AddAddr("st0", addr),
		netns.Sysctl("net.ipv4.tcp_syn_retries", "1"),
		netns.Sysctl("net.ipv4.neigh.st0.retrans_time_ms", "100"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	env := socketEnv(addr.Addr())
	env.GivesUp = true
	env.Unreachable = netip.MustParseAddr("198.51.100.1")
	env.Absent = netip.MustParseAddr("10.9.0.77")
	stacktest.Run(t, env)
}
