package netapi

import (
	"net"
	"strconv"
	"strings"
)

// LookupPort returns the port that service names on network: a number in the
// forms that package net takes ("80", "+80", "" for 0), or a service by name in
// any case, from a table of common services that is part of the program; the
// host's /etc/services is never read. The errors are net's: *net.AddrError
// "invalid port" beyond 0–65535, and *net.DNSError "unknown port" with
// IsNotFound for a name that the table does not hold.
func LookupPort(network, service string) (uint16, error) {
	n, err := ParseNetwork(network)
	if err != nil {
		return 0, &net.AddrError{Err: "unknown network", Addr: network}
	}
	if service == "" {
		return 0, nil
	}
	if digits, negative := signed(service); allDigits(digits) {
		// Longer numbers than an int holds are as invalid as 65536.
		port, err := strconv.ParseUint(digits, 10, 64)
		if digits == "" {
			port, err = 0, nil
		}
		if err != nil || port > 65535 || negative && port > 0 {
			return 0, &net.AddrError{Err: "invalid port", Addr: service}
		}
		return uint16(port), nil
	}
	if port := servicePort(n.TCP, strings.ToLower(service)); port != 0 {
		return port, nil
	}
	return 0, &net.DNSError{Err: "unknown port", Name: n.Transport() + "/" + service, IsNotFound: true}
}

// signed splits a leading sign off.
func signed(s string) (digits string, negative bool) {
	switch s[0] {
	case '+':
		return s[1:], false
	case '-':
		return s[1:], true
	}
	return s, false
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// servicePort is the table, after the IANA Service Name and Transport Protocol
// Port Number Registry: what package net has built in, and what the services
// files of common systems agree on. It returns 0 for an unknown name.
func servicePort(tcp bool, name string) uint16 {
	// Services that are registered for both transports.
	switch name {
	case "echo":
		return 7
	case "discard", "sink", "null":
		return 9
	case "daytime":
		return 13
	case "chargen", "ttytst", "source":
		return 19
	case "time", "timserver":
		return 37
	case "domain":
		return 53
	case "kerberos", "kerberos5", "krb5", "kerberos-sec":
		return 88
	case "sunrpc", "portmapper":
		return 111
	case "ntp":
		return 123
	case "snmp":
		return 161
	case "snmp-trap", "snmptrap":
		return 162
	case "ldap":
		return 389
	case "https":
		return 443
	case "kpasswd":
		return 464
	case "ldaps":
		return 636
	case "domain-s":
		return 853
	case "openvpn":
		return 1194
	case "radius":
		return 1812
	case "radius-acct", "radacct":
		return 1813
	case "nfs":
		return 2049
	case "stun", "turn":
		return 3478
	case "sip":
		return 5060
	case "sip-tls":
		return 5061
	}
	if tcp {
		switch name {
		case "systat", "users":
			return 11
		case "qotd", "quote":
			return 17
		case "ftp-data":
			return 20
		case "ftp":
			return 21
		case "ssh":
			return 22
		case "telnet":
			return 23
		case "smtp", "mail":
			return 25
		case "whois", "nicname":
			return 43
		case "tacacs":
			return 49
		case "gopher":
			return 70
		case "finger":
			return 79
		case "http", "www", "www-http":
			return 80
		case "pop3", "pop-3":
			return 110
		case "auth", "ident", "tap":
			return 113
		case "nntp", "readnews", "untp":
			return 119
		case "imap", "imap2":
			return 143
		case "bgp":
			return 179
		case "irc":
			return 194
		case "imap3":
			return 220
		case "submissions", "ssmtp", "smtps", "urd":
			return 465
		case "shell", "cmd":
			return 514
		case "printer", "spooler":
			return 515
		case "rtsp":
			return 554
		case "nntps", "snntp":
			return 563
		case "submission":
			return 587
		case "ipp":
			return 631
		case "rsync":
			return 873
		case "ftps-data":
			return 989
		case "ftps":
			return 990
		case "telnets":
			return 992
		case "imaps":
			return 993
		case "pop3s":
			return 995
		case "socks":
			return 1080
		case "ms-sql-s":
			return 1433
		case "mqtt":
			return 1883
		case "mysql":
			return 3306
		case "svn", "subversion":
			return 3690
		case "postgresql", "postgres":
			return 5432
		case "amqps":
			return 5671
		case "amqp":
			return 5672
		case "x11", "x11-0":
			return 6000
		case "redis":
			return 6379
		case "ircs-u":
			return 6697
		case "http-alt", "webcache":
			return 8080
		case "secure-mqtt":
			return 8883
		case "git":
			return 9418
		}
		return 0
	}
	switch name {
	case "bootps":
		return 67
	case "bootpc":
		return 68
	case "tftp":
		return 69
	case "netbios-ns":
		return 137
	case "netbios-dgm":
		return 138
	case "isakmp":
		return 500
	case "syslog":
		return 514
	case "route", "router", "routed":
		return 520
	case "ripng":
		return 521
	case "dhcpv6-client":
		return 546
	case "dhcpv6-server":
		return 547
	case "coap":
		return 5683
	case "ipsec-nat-t":
		return 4500
	case "mdns":
		return 5353
	case "vxlan":
		return 4789
	}
	return 0
}
