package sysctl

import (
	"fmt"
	"strconv"
	"strings"
)

// Config is how a script wants the stack to be, in Linux's terms and units
// (Documentation/networking/ip-sysctl.rst describes each). [Defaults] is Linux
// without any sysctl written.
type Config struct {
	// Options on the wire.
	Timestamps    int
	SACK          bool
	DSACK         bool
	WindowScaling bool
	ECN           int
	ECNFallback   bool
	ReflectTOS    bool

	// Buffers: minimum, default, maximum, in bytes.
	RMem, WMem               [3]int
	RMemMax, WMemMax         int // net.core
	ModerateRcvBuf           bool
	AdvWinScale              int
	ShrinkWindow             bool
	WorkaroundSignedWindows  bool
	NotSentLowat             uint64
	LimitOutputBytes         int
	AutoCorking              bool
	MinTSOSegs               int
	TSOWinDivisor, TSORTTLog int

	// Congestion control and loss recovery.
	CongestionControl     string
	SlowStartAfterIdle    bool
	Recovery              int
	EarlyRetrans          int
	FRTO                  int
	Reordering            int
	MaxReordering         int
	RetransCollapse       bool
	ThinLinearTimeouts    bool
	PacingSSRatio         int // per cent
	PacingCARatio         int
	MinRTTWindow          int // s
	CompSACKDelay         int // ns
	CompSACKSlack         int // ns
	CompSACKCount         int
	NoMetricsSave         bool
	NoSSThreshMetricsSave bool
	BacklogAckDefer       bool
	PingPongThreshold     int

	// Retries and timers.
	SYNRetries, SYNACKRetries int
	SYNLinearTimeouts         int
	Retries1, Retries2        int
	OrphanRetries             int
	RTOMin                    int // µs
	RTOMax                    int // ms
	FinTimeout                int // s
	KeepaliveTime             int // s
	KeepaliveIntvl            int // s
	KeepaliveProbes           int
	InvalidRateLimit          int // ms
	ChallengeACKLimit         int64

	// Opening and closing.
	SYNCookies               int
	MaxSYNBacklog            int
	Somaxconn                int
	AbortOnOverflow          bool
	TWReuse                  int
	RFC1337                  bool
	StdUrg                   bool
	FastOpen                 int
	FastOpenKey              string
	FastOpenBlackholeTimeout int // s

	// Path MTU and IP.
	MTUProbing     int
	BaseMSS        int
	MinSndMSS      int
	MTUProbeFloor  int
	ProbeInterval  int // s
	ProbeThreshold int
	NoPMTUDisc     int
	MinPMTU        int
	DefaultTTL     int
	ICMPRateLimit  int // ms
}

// Defaults is a Linux without any sysctl written, on a machine with enough memory
// for its largest buffers.
func Defaults() Config {
	return Config{
		Timestamps: 1, SACK: true, DSACK: true, WindowScaling: true, ECN: 2, ECNFallback: true,
		RMem: [3]int{4096, 131072, 6291456}, WMem: [3]int{4096, 16384, 4194304}, RMemMax: 212992, WMemMax: 212992,
		ModerateRcvBuf: true, AdvWinScale: 1, NotSentLowat: 1<<32 - 1, LimitOutputBytes: 4 << 20,
		AutoCorking: true, MinTSOSegs: 2, TSOWinDivisor: 3, TSORTTLog: 9,
		CongestionControl: "cubic", SlowStartAfterIdle: true, Recovery: 1, EarlyRetrans: 3, FRTO: 2,
		Reordering: 3, MaxReordering: 300, RetransCollapse: true, PacingSSRatio: 200, PacingCARatio: 120,
		MinRTTWindow: 300, CompSACKDelay: 1000000, CompSACKSlack: 100000, CompSACKCount: 44,
		NoSSThreshMetricsSave: true, BacklogAckDefer: true, PingPongThreshold: 1,
		SYNRetries: 6, SYNACKRetries: 5, SYNLinearTimeouts: 4, Retries1: 3, Retries2: 15,
		RTOMin: 200000, RTOMax: 120000, FinTimeout: 60, KeepaliveTime: 7200, KeepaliveIntvl: 75, KeepaliveProbes: 9,
		InvalidRateLimit: 500, ChallengeACKLimit: 1<<31 - 1,
		SYNCookies: 1, MaxSYNBacklog: 512, Somaxconn: 4096, TWReuse: 2, FastOpen: 1,
		BaseMSS: 1024, MinSndMSS: 48, MTUProbeFloor: 48, ProbeInterval: 600, ProbeThreshold: 8, MinPMTU: 552,
		DefaultTTL: 64, ICMPRateLimit: 1000,
	}
}

// field says which sysctl sets which field of a Config.
type field struct {
	name string
	ptr  func(*Config) any
}

const tcp = "net.ipv4.tcp_"

var fields = [...]field{
	{tcp + "timestamps", func(c *Config) any { return &c.Timestamps }},
	{tcp + "sack", func(c *Config) any { return &c.SACK }},
	{tcp + "dsack", func(c *Config) any { return &c.DSACK }},
	{tcp + "window_scaling", func(c *Config) any { return &c.WindowScaling }},
	{tcp + "ecn", func(c *Config) any { return &c.ECN }},
	{tcp + "ecn_fallback", func(c *Config) any { return &c.ECNFallback }},
	{tcp + "reflect_tos", func(c *Config) any { return &c.ReflectTOS }},
	{tcp + "rmem", func(c *Config) any { return &c.RMem }},
	{tcp + "wmem", func(c *Config) any { return &c.WMem }},
	{"net.core.rmem_max", func(c *Config) any { return &c.RMemMax }},
	{"net.core.wmem_max", func(c *Config) any { return &c.WMemMax }},
	{tcp + "moderate_rcvbuf", func(c *Config) any { return &c.ModerateRcvBuf }},
	{tcp + "adv_win_scale", func(c *Config) any { return &c.AdvWinScale }},
	{tcp + "shrink_window", func(c *Config) any { return &c.ShrinkWindow }},
	{tcp + "workaround_signed_windows", func(c *Config) any { return &c.WorkaroundSignedWindows }},
	{tcp + "notsent_lowat", func(c *Config) any { return &c.NotSentLowat }},
	{tcp + "limit_output_bytes", func(c *Config) any { return &c.LimitOutputBytes }},
	{tcp + "autocorking", func(c *Config) any { return &c.AutoCorking }},
	{tcp + "min_tso_segs", func(c *Config) any { return &c.MinTSOSegs }},
	{tcp + "tso_win_divisor", func(c *Config) any { return &c.TSOWinDivisor }},
	{tcp + "tso_rtt_log", func(c *Config) any { return &c.TSORTTLog }},
	{tcp + "congestion_control", func(c *Config) any { return &c.CongestionControl }},
	{tcp + "slow_start_after_idle", func(c *Config) any { return &c.SlowStartAfterIdle }},
	{tcp + "recovery", func(c *Config) any { return &c.Recovery }},
	{tcp + "early_retrans", func(c *Config) any { return &c.EarlyRetrans }},
	{tcp + "frto", func(c *Config) any { return &c.FRTO }},
	{tcp + "reordering", func(c *Config) any { return &c.Reordering }},
	{tcp + "max_reordering", func(c *Config) any { return &c.MaxReordering }},
	{tcp + "retrans_collapse", func(c *Config) any { return &c.RetransCollapse }},
	{tcp + "thin_linear_timeouts", func(c *Config) any { return &c.ThinLinearTimeouts }},
	{tcp + "pacing_ss_ratio", func(c *Config) any { return &c.PacingSSRatio }},
	{tcp + "pacing_ca_ratio", func(c *Config) any { return &c.PacingCARatio }},
	{tcp + "min_rtt_wlen", func(c *Config) any { return &c.MinRTTWindow }},
	{tcp + "comp_sack_delay_ns", func(c *Config) any { return &c.CompSACKDelay }},
	{tcp + "comp_sack_slack_ns", func(c *Config) any { return &c.CompSACKSlack }},
	{tcp + "comp_sack_nr", func(c *Config) any { return &c.CompSACKCount }},
	{tcp + "no_metrics_save", func(c *Config) any { return &c.NoMetricsSave }},
	{tcp + "no_ssthresh_metrics_save", func(c *Config) any { return &c.NoSSThreshMetricsSave }},
	{tcp + "backlog_ack_defer", func(c *Config) any { return &c.BacklogAckDefer }},
	{tcp + "pingpong_thresh", func(c *Config) any { return &c.PingPongThreshold }},
	{tcp + "syn_retries", func(c *Config) any { return &c.SYNRetries }},
	{tcp + "synack_retries", func(c *Config) any { return &c.SYNACKRetries }},
	{tcp + "syn_linear_timeouts", func(c *Config) any { return &c.SYNLinearTimeouts }},
	{tcp + "retries1", func(c *Config) any { return &c.Retries1 }},
	{tcp + "retries2", func(c *Config) any { return &c.Retries2 }},
	{tcp + "orphan_retries", func(c *Config) any { return &c.OrphanRetries }},
	{tcp + "rto_min_us", func(c *Config) any { return &c.RTOMin }},
	{tcp + "rto_max_ms", func(c *Config) any { return &c.RTOMax }},
	{tcp + "fin_timeout", func(c *Config) any { return &c.FinTimeout }},
	{tcp + "keepalive_time", func(c *Config) any { return &c.KeepaliveTime }},
	{tcp + "keepalive_intvl", func(c *Config) any { return &c.KeepaliveIntvl }},
	{tcp + "keepalive_probes", func(c *Config) any { return &c.KeepaliveProbes }},
	{tcp + "invalid_ratelimit", func(c *Config) any { return &c.InvalidRateLimit }},
	{tcp + "challenge_ack_limit", func(c *Config) any { return &c.ChallengeACKLimit }},
	{tcp + "syncookies", func(c *Config) any { return &c.SYNCookies }},
	{tcp + "max_syn_backlog", func(c *Config) any { return &c.MaxSYNBacklog }},
	{"net.core.somaxconn", func(c *Config) any { return &c.Somaxconn }},
	{tcp + "abort_on_overflow", func(c *Config) any { return &c.AbortOnOverflow }},
	{tcp + "tw_reuse", func(c *Config) any { return &c.TWReuse }},
	{tcp + "rfc1337", func(c *Config) any { return &c.RFC1337 }},
	{tcp + "stdurg", func(c *Config) any { return &c.StdUrg }},
	{tcp + "fastopen", func(c *Config) any { return &c.FastOpen }},
	{tcp + "fastopen_key", func(c *Config) any { return &c.FastOpenKey }},
	{tcp + "fastopen_blackhole_timeout_sec", func(c *Config) any { return &c.FastOpenBlackholeTimeout }},
	{tcp + "mtu_probing", func(c *Config) any { return &c.MTUProbing }},
	{tcp + "base_mss", func(c *Config) any { return &c.BaseMSS }},
	{tcp + "min_snd_mss", func(c *Config) any { return &c.MinSndMSS }},
	{tcp + "mtu_probe_floor", func(c *Config) any { return &c.MTUProbeFloor }},
	{tcp + "probe_interval", func(c *Config) any { return &c.ProbeInterval }},
	{tcp + "probe_threshold", func(c *Config) any { return &c.ProbeThreshold }},
	{"net.ipv4.ip_no_pmtu_disc", func(c *Config) any { return &c.NoPMTUDisc }},
	{"net.ipv4.route.min_pmtu", func(c *Config) any { return &c.MinPMTU }},
	{"net.ipv4.ip_default_ttl", func(c *Config) any { return &c.DefaultTTL }},
	{"net.ipv4.icmp_ratelimit", func(c *Config) any { return &c.ICMPRateLimit }},
}

func known(name string) bool {
	for _, f := range fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// DefaultAssignments is [Defaults] as assignments, for a script that resets to them
// and for a stack whose defaults a machine may have changed. It leaves out what a
// network namespace does not own.
func DefaultAssignments() (list []Assignment) {
	c := Defaults()
	for _, f := range fields {
		if strings.HasPrefix(f.name, "net.core.") || f.name == tcp+"fastopen_key" {
			continue // a namespace does not own them, or they have no default value
		}
		var v string
		switch p := f.ptr(&c).(type) {
		case *bool:
			v = "0"
			if *p {
				v = "1"
			}
		case *string:
			v = *p
		case *[3]int:
			v = strings.Trim(fmt.Sprint(*p), "[]")
		case *int:
			v = strconv.Itoa(*p)
		case *int64:
			v = strconv.FormatInt(*p, 10)
		case *uint64:
			v = strconv.FormatUint(*p, 10)
		}
		list = append(list, Assignment{f.name, v})
	}
	return list
}

// Apply puts one assignment into c. It reports whether c has a field for it; the
// error is about a value that does not fit the field.
func (c *Config) Apply(a Assignment) (bool, error) {
	for _, f := range fields {
		if f.name != a.Name {
			continue
		}
		words := strings.Fields(a.Value)
		switch p := f.ptr(c).(type) {
		case *string:
			*p = a.Value
			return true, nil
		case *[3]int:
			if len(words) != 3 {
				return true, fmt.Errorf("%s takes three numbers, not %q", a.Name, a.Value)
			}
			var three [3]int
			for i, w := range words {
				n, err := strconv.ParseInt(w, 0, 32)
				if err != nil || n < 0 {
					return true, fmt.Errorf("%s takes three numbers, not %q", a.Name, a.Value)
				}
				three[i] = int(n)
			}
			*p = three
			return true, nil
		default:
			if len(words) != 1 {
				return true, fmt.Errorf("%s takes a number, not %q", a.Name, a.Value)
			}
			n, err := strconv.ParseInt(words[0], 0, 64)
			if err != nil {
				return true, fmt.Errorf("%s takes a number, not %q", a.Name, a.Value)
			}
			switch p := p.(type) {
			case *bool:
				*p = n != 0
			case *int:
				if int64(int32(n)) != n {
					return true, fmt.Errorf("%s takes a number of 32 bits, not %q", a.Name, a.Value)
				}
				*p = int(n)
			case *int64:
				*p = n
			case *uint64:
				*p = uint64(n)
			}
			return true, nil
		}
	}
	return false, nil
}

// Config returns Linux's defaults with the assignments applied. Values that do not
// fit are noted and left out.
func (s *Settings) Config() Config {
	c := Defaults()
	for _, a := range s.Assign {
		if _, err := c.Apply(a); err != nil {
			s.note("passed over: %v", err)
		}
	}
	return c
}
