package player

import "fmt"

// tcpInfo lists the members of struct tcp_info (linux/tcp.h) in order, from offset 8
// on, with their sizes in bytes.
var tcpInfo = [...]struct {
	name string
	size int
}{
	{"rto", 4}, {"ato", 4}, {"snd_mss", 4}, {"rcv_mss", 4},
	{"unacked", 4}, {"sacked", 4}, {"lost", 4}, {"retrans", 4}, {"fackets", 4},
	{"last_data_sent", 4}, {"last_ack_sent", 4}, {"last_data_recv", 4}, {"last_ack_recv", 4},
	{"pmtu", 4}, {"rcv_ssthresh", 4}, {"rtt", 4}, {"rttvar", 4}, {"snd_ssthresh", 4}, {"snd_cwnd", 4}, {"advmss", 4}, {"reordering", 4},
	{"rcv_rtt", 4}, {"rcv_space", 4}, {"total_retrans", 4},
	{"pacing_rate", 8}, {"max_pacing_rate", 8}, {"bytes_acked", 8}, {"bytes_received", 8}, {"segs_out", 4}, {"segs_in", 4},
	{"notsent_bytes", 4}, {"min_rtt", 4}, {"data_segs_in", 4}, {"data_segs_out", 4},
	{"delivery_rate", 8}, {"busy_time", 8}, {"rwnd_limited", 8}, {"sndbuf_limited", 8},
	{"delivered", 4}, {"delivered_ce", 4}, {"bytes_sent", 8}, {"bytes_retrans", 8}, {"dsack_dups", 4}, {"reord_seen", 4},
	{"rcv_ooopack", 4}, {"snd_wnd", 4}, {"rcv_wnd", 4}, {"rehash", 4},
	{"total_rto", 2}, {"total_rto_recoveries", 2}, {"total_rto_time", 4},
	{"received_ce", 4}, {"delivered_e1_bytes", 4}, {"delivered_e0_bytes", 4}, {"delivered_ce_bytes", 4},
	{"received_e1_bytes", 4}, {"received_e0_bytes", 4}, {"received_ce_bytes", 4},
}

// DecodeTCPInfo returns the members of a struct tcp_info of a little-endian machine by
// name, "tcpi_state" and so on. An older kernel's has fewer.
func DecodeTCPInfo(raw []byte) (map[string]int64, error) {
	if len(raw) < 8 {
		return nil, fmt.Errorf("a struct tcp_info of %d bytes", len(raw))
	}
	info := make(map[string]int64, 80)
	for i, name := range [...]string{"state", "ca_state", "retransmits", "probes", "backoff", "options"} {
		info["tcpi_"+name] = int64(raw[i])
	}
	// The bit fields of octets 6 and 7, least significant bit first.
	info["tcpi_snd_wscale"] = int64(raw[6] & 15)
	info["tcpi_rcv_wscale"] = int64(raw[6] >> 4)
	info["tcpi_delivery_rate_app_limited"] = int64(raw[7] & 1)
	info["tcpi_fastopen_client_fail"] = int64(raw[7] >> 1 & 3)
	off := 8
	for _, m := range tcpInfo {
		if off+m.size > len(raw) {
			break
		}
		var v uint64
		for i := m.size - 1; i >= 0; i-- {
			v = v<<8 | uint64(raw[off+i])
		}
		info["tcpi_"+m.name] = int64(v)
		off += m.size
	}
	return info, nil
}
