package conformance

// divergence is a script of ours that our stack does not pass, though Linux does.
type divergence struct{ script, reason string }

// divergences are all of them. A row goes when its script passes: the test insists.
var divergences = [...]divergence{
	{"api/reuse-time-wait.pkt", "ours lets a port be bound that only accepted connections have"},
	{"data/eor.pkt", "ours knows no records: MSG_EOR is ignored"},
	{"client/connect.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"client/no-stamps.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"data/right-edge.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"data/window-closes.pkt", "Linux opens its window as data comes, ours offers the whole buffer at once"},
	{"options/wscale-rcvbuf.pkt", "Linux scales for the buffer that was asked for, ours for the largest"},
	{"server/ecn.pkt", "ours has no ECN"},
	{"server/ipv6.pkt", "ours speaks IPv4 only"},
}
