package player

import "encoding/binary"

// optCCInfo is TCP_CC_INFO, and maxCCInfo more than any algorithm tells by it.
const (
	optCCInfo = 26
	maxCCInfo = 64
)

// ccInfo lists the members of the union tcp_cc_info (linux/inet_diag.h) with their
// offsets and sizes in bytes.
var ccInfo = [...]struct {
	name      string
	off, size int
}{
	{"tcpv_enabled", 0, 4}, {"tcpv_rttcnt", 4, 4}, {"tcpv_rtt", 8, 4}, {"tcpv_minrtt", 12, 4},
	{"dctcp_enabled", 0, 2}, {"dctcp_ce_state", 2, 2}, {"dctcp_alpha", 4, 4}, {"dctcp_ab_ecn", 8, 4}, {"dctcp_ab_tot", 12, 4},
	{"bbr_bw_lo", 0, 4}, {"bbr_bw_hi", 4, 4}, {"bbr_min_rtt", 8, 4}, {"bbr_pacing_gain", 12, 4}, {"bbr_cwnd_gain", 16, 4},
}

// ccInfoMember tells whether a name of a block is a member of tcp_cc_info, and where.
func ccInfoMember(name string) (off, size int, ok bool) {
	for _, m := range ccInfo {
		if m.name == name {
			return m.off, m.size, true
		}
	}
	return 0, 0, false
}

// ccValue asks the congestion control of the socket that blocks speak of.
func (r *run) ccValue(name string) (int64, bool) {
	off, size, ok := ccInfoMember(name)
	if !ok {
		return 0, false
	}
	s := r.observed()
	if s == nil {
		r.fail(BadScript, "%s: no TCP socket is open", name)
	}
	b, err := r.b.Getsockopt(s.live, solTCP, optCCInfo, maxCCInfo)
	if err != nil {
		r.fail(BadScript, "%s: TCP_CC_INFO: %v", name, err)
	}
	if len(b) < off+size {
		r.fail(BadScript, "%s: the congestion control tells %d bytes of TCP_CC_INFO and not this", name, len(b))
	}
	if size == 2 {
		return int64(binary.LittleEndian.Uint16(b[off:])), true
	}
	return int64(binary.LittleEndian.Uint32(b[off:])), true
}
