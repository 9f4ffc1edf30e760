package conformance

// divergence is a script of ours that our stack does not pass, though Linux does.
type divergence struct{ script, reason string }

// divergences are all of them. A row goes when its script passes: the test insists.
var divergences = [...]divergence{
	{"client/connect.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"client/no-stamps.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"data/window-closes.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"client/simultaneous-open.pkt", "Linux repeats all options of its SYN in the SYN,ACK, ours those that both have"},
	{"data/urgent-inline.pkt", "ours ignores urgent data, so that a read goes past it"},
	{"loss/sack-recovery.pkt", "it switches tail loss probes off, and ours has no switch"},
	{"loss/timeout-backoff.pkt", "ours ends the backoff with any progress, Linux with a valid sample (RFC 6298, section 5.7)"},
	{"server/ecn.pkt", "ours has no ECN"},
	{"server/ipv6.pkt", "ours speaks IPv4 only"},
	{"server/synack-backoff.pkt", "the number of SYN,ACKs is fixed in ours"},
	{"timers/user-timeout.pkt", "Linux counts the user timeout from the first retransmission, and does not reset the peer"},
}
