package conformance

// divergence is a script of ours that our stack does not pass, though Linux does.
type divergence struct{ script, reason string }

// divergences are all of them. A row goes when its script passes: the test insists.
var divergences = [...]divergence{
	{"api/reuse-time-wait.pkt", "ours lets a port be bound that only accepted connections have"},
	{"server/ipv6.pkt", "ours speaks IPv4 only"},
}
