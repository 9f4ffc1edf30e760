package script

// ICMP names: RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1, RFC 1191;
// for ICMPv6 RFC 4443.

type icmpName struct {
	name  string
	num   uint8
	codes []icmpCode
}

type icmpCode struct {
	name string
	num  uint8
}

var icmp4Names = [...]icmpName{
	{"echo_reply", 0, nil},
	{"unreachable", 3, []icmpCode{
		{"net_unreachable", 0}, {"host_unreachable", 1}, {"protocol_unreachable", 2}, {"port_unreachable", 3},
		{"frag_needed", 4}, {"source_route_failed", 5}, {"net_unknown", 6}, {"host_unknown", 7},
		{"source_host_isolated", 8}, {"net_prohibited", 9}, {"host_prohibited", 10},
		{"net_unreachable_for_tos", 11}, {"host_unreachable_for_tos", 12}, {"packet_filtered", 13},
		{"precedence_violation", 14}, {"precedence_cutoff", 15}}},
	{"source_quench", 4, nil},
	{"redirect", 5, []icmpCode{
		{"net_redirect", 0}, {"host_redirect", 1}, {"net_redirect_for_tos", 2}, {"host_redirect_for_tos", 3}}},
	{"echo_request", 8, nil},
	{"time_exceeded", 11, []icmpCode{{"ttl_exceeded", 0}, {"frag_reassembly_time_exceeded", 1}}},
	{"parameter_problem", 12, []icmpCode{{"pointer", 0}, {"required_option_missing", 1}, {"bad_length", 2}}},
}

var icmp6Names = [...]icmpName{
	{"unreachable", 1, []icmpCode{
		{"net_unreachable", 0}, {"no_route", 0}, {"net_prohibited", 1}, {"admin_prohibited", 1},
		{"not_neighbour", 2}, {"beyond_scope", 2}, {"host_unreachable", 3}, {"address_unreachable", 3},
		{"port_unreachable", 4}, {"ingress_policy", 5}, {"reject_route", 6}}},
	{"packet_too_big", 2, nil},
	{"time_exceeded", 3, []icmpCode{{"ttl_exceeded", 0}, {"exceeded_hop_limit", 0}, {"frag_reassembly_time_exceeded", 1}}},
	{"parameter_problem", 4, []icmpCode{{"header_field", 0}, {"next_header", 1}, {"option", 2}}},
	{"echo_request", 128, nil},
	{"echo_reply", 129, nil},
}

func icmpNames(v6 bool) []icmpName {
	if v6 {
		return icmp6Names[:]
	}
	return icmp4Names[:]
}

// ICMPType returns the number of a named type.
func ICMPType(v6 bool, name string) (uint8, bool) {
	for _, n := range icmpNames(v6) {
		if n.name == name {
			return n.num, true
		}
	}
	return 0, false
}

// ICMPCode returns the number of a named code of a named type; the empty name is
// code 0.
func ICMPCode(v6 bool, typ, code string) (uint8, bool) {
	if code == "" {
		return 0, true
	}
	for _, n := range icmpNames(v6) {
		if n.name != typ {
			continue
		}
		for _, c := range n.codes {
			if c.name == code {
				return c.num, true
			}
		}
	}
	return 0, false
}

// ICMPNames returns the names of a type and a code on the wire.
func ICMPNames(v6 bool, typ, code uint8) (typeName, codeName string, ok bool) {
	for _, n := range icmpNames(v6) {
		if n.num != typ {
			continue
		}
		for _, c := range n.codes {
			if c.num == code {
				return n.name, c.name, true
			}
		}
		return n.name, "", code == 0
	}
	return "", "", false
}

func icmpTypeNames(v6 bool) (names []string) {
	for _, n := range icmpNames(v6) {
		names = append(names, n.name)
	}
	return names
}

func icmpCodeNames(v6 bool, typ string) (names []string) {
	for _, n := range icmpNames(v6) {
		if n.name == typ {
			for _, c := range n.codes {
				names = append(names, c.name)
			}
		}
	}
	return append(names, "or none")
}
