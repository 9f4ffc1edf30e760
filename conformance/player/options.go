package player

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/netduet/netduet/conformance/script"
	"github.com/netduet/netduet/conformance/sysctl"
)

// Plan is a script with everything that has to be known before a stack is made for
// it.
type Plan struct {
	Script   *script.Script
	Settings *sysctl.Settings // what the shell lines before the events ask for

	IPv6      bool // packets are IPv6
	Mapped    bool // sockets are IPv6, packets IPv4 (RFC 4291, section 2.5.5.2)
	Local     netip.Prefix
	Remote    netip.Addr
	Gateway   netip.Addr
	BindPort  uint16 // where bind(…, ..., ...) binds
	ConnPort  uint16 // where connect(…, ..., ...) connects
	MTU       int
	Tolerance time.Duration
	Percent   float64 // of the time since the event before
	TSTick    time.Duration
	Strict    bool // segment boundaries are compared
	// NonFatalPackets and NonFatalCalls make notes of mismatches, after which the
	// script goes on.
	NonFatalPackets, NonFatalCalls bool
	Defines                        map[string]string
	initScript                     string
}

// Prepare reads a script's options and set-up lines. The error names the option that
// has no meaning.
func Prepare(s *script.Script) (*Plan, error) {
	p := &Plan{
		Script: s, Settings: &sysctl.Settings{},
		BindPort: 8080, ConnPort: 8080, MTU: 1500, Tolerance: 4 * time.Millisecond, Percent: 1,
		Defines: make(map[string]string),
	}
	version := "ipv4"
	given := make(map[string]string)
	for _, o := range s.Options {
		if err := p.option(o, &version, given); err != nil {
			return nil, fmt.Errorf("%s:%d:%d: --%s: %w", o.Pos.File, o.Pos.Line, o.Pos.Column, o.Name, err)
		}
	}
	if err := p.addresses(version, given); err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	dir := filepath.Dir(s.File)
	for name := range strings.SplitSeq(p.initScript, ",") {
		if name != "" {
			p.Settings.Shell(name, dir)
		}
	}
	if s.Init != nil {
		p.Settings.Shell(s.Init.Text, dir)
	}
	return p, nil
}

func (p *Plan) option(o script.Option, version *string, given map[string]string) error {
	number := func(lo, hi int) (int, error) {
		n, err := strconv.ParseInt(o.Value, 0, 64)
		if err != nil || n < int64(lo) || n > int64(hi) {
			return 0, fmt.Errorf("expected a number from %d to %d, found %q", lo, hi, o.Value)
		}
		return int(n), nil
	}
	var n int
	var err error
	switch o.Name {
	case "ip_version":
		switch o.Value {
		case "ipv4", "ipv6", "ipv4-mapped-ipv6":
			*version = o.Value
		default:
			return fmt.Errorf("expected ipv4, ipv6 or ipv4-mapped-ipv6, found %q", o.Value)
		}
	case "local_ip", "remote_ip", "gateway_ip", "netmask_ip":
		given[o.Name] = o.Value
	case "bind_port":
		n, err = number(1, 65535)
		p.BindPort = uint16(n)
	case "connect_port":
		n, err = number(1, 65535)
		p.ConnPort = uint16(n)
	case "mtu":
		p.MTU, err = number(68, 65535)
	case "tolerance_usecs":
		n, err = number(0, 1<<30)
		p.Tolerance = time.Duration(n) * time.Microsecond
	case "tolerance_percent":
		if p.Percent, err = strconv.ParseFloat(o.Value, 64); err != nil || !(p.Percent >= 0 && p.Percent <= 100) {
			return fmt.Errorf("expected a percentage, found %q", o.Value)
		}
	case "tcp_ts_tick_usecs":
		n, err = number(0, 1<<20)
		p.TSTick = time.Duration(n) * time.Microsecond
	case "strict_segments":
		p.Strict = true
	case "define":
		name, value, _ := strings.Cut(o.Value, "=")
		p.Defines[name] = value
	case "init_scripts":
		p.initScript = o.Value
	case "non_fatal":
		for kind := range strings.SplitSeq(o.Value, ",") {
			switch kind {
			case "packet":
				p.NonFatalPackets = true
			case "syscall":
				p.NonFatalCalls = true
			default:
				return fmt.Errorf("expected packet, syscall or both with a comma, found %q", kind)
			}
		}
	default:
		if !ofTheTool(o.Name) {
			p.Settings.Notes = append(p.Settings.Notes, fmt.Sprintf("line %d: the option --%s is not known here", o.Pos.Line, o.Name))
		}
	}
	return err
}

// ofTheTool tells whether an option says how another tool runs, and not what the stack
// does or how it is judged.
func ofTheTool(name string) bool {
	switch name {
	case "code_command", "code_format", "code_sockopt", "debug", "dry_run", "so_filename", "so_flags", "speed", "verbose", "persistent_tun_dev",
		"send_omit_free", "use_pcap", "tcp_ts_ecr_scaled", "mss":
		return true
	}
	return strings.HasPrefix(name, "wire_")
}

func (p *Plan) addresses(version string, given map[string]string) error {
	p.IPv6, p.Mapped = version == "ipv6", version == "ipv4-mapped-ipv6"
	def := map[string]string{"local_ip": "192.168.0.1", "remote_ip": "192.0.2.1", "gateway_ip": "192.168.0.2", "netmask_ip": "255.255.0.0"}
	if p.IPv6 {
		def = map[string]string{"local_ip": "fd3d:0a0b:17d6::1", "remote_ip": "fd3d:fa7b:d17d::1", "gateway_ip": "fd3d:0a0b:17d6:8888::1"}
	}
	get := func(name string) (netip.Addr, error) {
		v := def[name]
		if g, ok := given[name]; ok {
			v = g
		}
		a, err := netip.ParseAddr(v)
		if err != nil || a.Is6() != p.IPv6 || a.Zone() != "" {
			return a, fmt.Errorf("--%s: %q is no address of %s", name, v, version)
		}
		return a, nil
	}
	local, err := get("local_ip")
	if err != nil {
		return err
	}
	if p.Remote, err = get("remote_ip"); err != nil {
		return err
	}
	if p.Gateway, err = get("gateway_ip"); err != nil {
		return err
	}
	bits := 64
	if !p.IPv6 {
		mask, err := get("netmask_ip")
		if err != nil {
			return err
		}
		m := mask.As4()
		v := uint32(m[0])<<24 | uint32(m[1])<<16 | uint32(m[2])<<8 | uint32(m[3])
		for bits = 0; bits < 32 && v<<bits&(1<<31) != 0; bits++ {
		}
		if v<<bits != 0 && bits < 32 {
			return fmt.Errorf("--netmask_ip: %v is no mask", mask)
		}
	}
	p.Local = netip.PrefixFrom(local, bits)
	return nil
}
