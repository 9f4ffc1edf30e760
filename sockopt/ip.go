package sockopt

import "github.com/netduet/netduet/internal/linuxopt"

// SetTOS sets the type of service octet of what is sent over IPv4 (IP_TOS): its upper
// six bits are the DSCP (RFC 2474); of TCP, the lower two are its own.
func SetTOS(conn any, tos int) error { return SetInt(conn, linuxopt.IPPROTO_IP, linuxopt.IP_TOS, tos) }

// TOS returns the type of service octet.
func TOS(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_IP, linuxopt.IP_TOS) }

// SetTTL sets the time to live of what is sent over IPv4, 1 to 255; -1 is the
// default (IP_TTL).
func SetTTL(conn any, ttl int) error { return SetInt(conn, linuxopt.IPPROTO_IP, linuxopt.IP_TTL, ttl) }

// TTL returns the time to live.
func TTL(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_IP, linuxopt.IP_TTL) }

// MTUDiscovery says how a socket deals with paths of a smaller MTU.
type MTUDiscovery int

const (
	// MTUDont lets routers cut packets up.
	MTUDont MTUDiscovery = linuxopt.PMTUDISC_DONT
	// MTUWant forbids it for packets that fit the path as far as it is known, and cuts
	// up others: the default.
	MTUWant MTUDiscovery = linuxopt.PMTUDISC_WANT
	// MTUDo forbids it for all: a datagram that is too large fails with EMSGSIZE.
	MTUDo MTUDiscovery = linuxopt.PMTUDISC_DO
	// MTUProbe is MTUDo without regard to what is known of the path.
	MTUProbe MTUDiscovery = linuxopt.PMTUDISC_PROBE
)

// SetMTUDiscovery chooses (IP_MTU_DISCOVER).
func SetMTUDiscovery(conn any, d MTUDiscovery) error {
	return SetInt(conn, linuxopt.IPPROTO_IP, linuxopt.IP_MTU_DISCOVER, int(d))
}

// GetMTUDiscovery returns the choice.
func GetMTUDiscovery(conn any) (MTUDiscovery, error) {
	n, err := Int(conn, linuxopt.IPPROTO_IP, linuxopt.IP_MTU_DISCOVER)
	return MTUDiscovery(n), err
}

// PathMTU returns the MTU of the path to the peer, as far as it is known (IP_MTU).
func PathMTU(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_IP, linuxopt.IP_MTU) }
