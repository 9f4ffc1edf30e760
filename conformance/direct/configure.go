package direct

import (
	"fmt"
	"time"

	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/tcp"
)

// hasController tells whether our stack has a congestion control of Linux's name.
func hasController(name string) bool { return name == "cubic" || name == "reno" || name == "bbr" }

// configure makes the stack as the sysctls would make Linux. The notes say what was
// asked for and is not there; what nobody asked for is not noted.
func configure(cfg *direct.Config, c *sysctl.Config, asked []sysctl.Assignment) (notes []string) {
	t := &cfg.TCP
	t.NoTimestamps, t.NoSACK, t.NoWindowScaling = c.Timestamps == 0, !c.SACK, !c.WindowScaling
	t.SynRetries, t.SynLinear = c.SYNRetries, none(c.SYNLinearTimeouts)
	t.SynAckRetries = none(c.SYNACKRetries)
	switch c.SYNCookies {
	case 0:
		t.SynCookies = tcp.SynCookiesNever
	case 2:
		t.SynCookies = tcp.SynCookiesAlways
	}
	t.Retries, t.OrphanRetries = c.Retries2, c.OrphanRetries
	t.InvalidInterval = time.Duration(none(c.InvalidRateLimit)) * time.Millisecond
	t.StdUrgent, t.KeepTimeWait = c.StdUrg, c.RFC1337
	t.NoDSACK, t.SACKDelay = !c.DSACK, time.Duration(c.CompSACKDelay)
	if def := sysctl.Defaults(); c.RTOMin != def.RTOMin || c.RTOMax != def.RTOMax {
		t.MinRTO, t.MaxRTO = time.Duration(c.RTOMin)*time.Microsecond, time.Duration(c.RTOMax)*time.Millisecond
	}
	if c.CompSACKCount == 0 || c.CompSACKDelay == 0 {
		t.SACKDelay = -1
	}
	t.NoTailLossProbe = c.EarlyRetrans != 3 && c.EarlyRetrans != 4
	t.NoFRTO, t.NoIdleRestart, t.NoCollapse = c.FRTO == 0, !c.SlowStartAfterIdle, !c.RetransCollapse
	t.Reordering = c.Reordering
	switch c.ECN {
	case 0:
		t.ECN = tcp.ECNOff
	case 1:
		t.ECN = tcp.ECNActive
	}
	// Of the receive buffer Linux counts the cost, twice what ours is given as.
	t.InitialReceiveBuffer, t.MaxReceiveBuffer = c.RMem[1]/2, c.RMem[2]/2
	t.InitialSendBuffer, t.MaxSendBuffer = c.WMem[1], c.WMem[2]
	t.NoReceiveTuning = !c.ModerateRcvBuf
	t.MTUProbing, t.BaseMSS = tcp.MTUProbing(min(max(c.MTUProbing, 0), 2)), c.BaseMSS
	t.FastOpen = tcp.FastOpenConfig{
		NoClient: c.FastOpen&1 == 0, NoServer: c.FastOpen&2 == 0,
		ClientWithoutCookie: c.FastOpen&4 != 0, ServerWithoutCookie: c.FastOpen&0x200 != 0,
		AllListeners:     c.FastOpen&0x400 != 0,
		BlackHoleTimeout: time.Duration(c.FastOpenBlackholeTimeout) * time.Second,
	}
	if c.FastOpenKey != "" {
		keys, err := tcp.ParseFastOpenKeys(c.FastOpenKey)
		if err != nil {
			notes = append(notes, fmt.Sprintf("net.ipv4.tcp_fastopen_key: %v", err))
		}
		t.FastOpen.Keys = keys
	}
	for _, a := range asked {
		switch {
		case a.Name == "net.ipv4.tcp_congestion_control" && !hasController(a.Value):
			notes = append(notes, fmt.Sprintf("%s=%s: our stack has no such congestion control", a.Name, a.Value))
		case !heeded(a.Name) && !isDefault(a):
			notes = append(notes, fmt.Sprintf("%s=%s: our stack has no such setting", a.Name, a.Value))
		}
	}
	return notes
}

// none turns a zero, which is a default to our stack, into the number that means none.
func none(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// heeded tells whether a sysctl reaches our stack.
func heeded(name string) bool {
	switch name {
	case "net.ipv4.tcp_timestamps", "net.ipv4.tcp_sack", "net.ipv4.tcp_window_scaling",
		"net.ipv4.tcp_syn_retries", "net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_synack_retries",
		"net.ipv4.tcp_retries2", "net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_invalid_ratelimit", "net.ipv4.tcp_stdurg",
		"net.ipv4.tcp_early_retrans", "net.ipv4.tcp_frto", "net.ipv4.tcp_ecn", "net.ipv4.tcp_slow_start_after_idle",
		"net.ipv4.tcp_retrans_collapse", "net.ipv4.tcp_reordering", "net.ipv4.tcp_rfc1337", "net.ipv4.tcp_dsack", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
		"net.ipv4.tcp_moderate_rcvbuf", "net.ipv4.tcp_mtu_probing", "net.ipv4.tcp_base_mss", "net.ipv4.tcp_congestion_control",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
		"net.ipv4.tcp_comp_sack_delay_ns", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_syncookies",
		"net.ipv4.tcp_fastopen", "net.ipv4.tcp_fastopen_key", "net.ipv4.tcp_fastopen_blackhole_timeout_sec":
		return true
	}
	return false
}

// isDefault tells whether an assignment leaves Linux as it is without it.
func isDefault(a sysctl.Assignment) bool {
	c := sysctl.Defaults()
	d := c
	known, err := c.Apply(a)
	return known && err == nil && c == d
}
