package devices

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// spec is a device string taken apart: scheme ":" argument ["?" key "=" value
// {"&" key "=" value}]. Values are literal up to the next "&".
type spec struct {
	whole    string
	scheme   string
	argument string
	params   []param // those not yet taken, in the order written
	asked    []string
	err      error // the first parameter with a bad value
}

type param struct{ key, value string }

// parse takes the string apart and checks its form, not its meaning.
func parse(device string) (*spec, error) {
	if device == "" {
		return nil, fmt.Errorf(`no device: name one, such as "tap:tap0"`)
	}
	for _, r := range device {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return nil, fmt.Errorf("device %q: only printable characters", device)
		}
	}
	scheme, rest, ok := strings.Cut(device, ":")
	if !ok {
		return nil, fmt.Errorf("device %q has no scheme: write \"tap:%s\"", device, device)
	}
	s := &spec{whole: device, scheme: scheme}
	argument, query, has := strings.Cut(rest, "?")
	s.argument = argument
	if !has {
		return s, nil
	}
	for _, p := range strings.Split(query, "&") {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("device %q: parameter %q is not key=value", device, p)
		}
		if slices.ContainsFunc(s.params, func(q param) bool { return q.key == key }) {
			return nil, fmt.Errorf("device %q: parameter %s stands twice", device, key)
		}
		s.params = append(s.params, param{key, value})
	}
	return s, nil
}

// text takes the parameter key out; empty means it is not there.
func (s *spec) text(key string) string {
	s.asked = append(s.asked, key)
	i := slices.IndexFunc(s.params, func(p param) bool { return p.key == key })
	if i < 0 {
		return ""
	}
	v := s.params[i].value
	s.params = slices.Delete(s.params, i, i+1)
	return v
}

// name returns the argument, which must say something.
func (s *spec) name() string {
	if s.argument == "" {
		s.fail("device %q names nothing: write \"%s:tap0\"", s.whole, s.scheme)
	}
	return s.argument
}

// choice is a parameter that is 0 or 1, or not there.
type choice uint8

const (
	unsaid choice = iota
	no
	yes
)

// choice takes such a parameter.
func (s *spec) choice(key string) choice {
	switch v := s.text(key); v {
	case "":
		return unsaid
	case "0":
		return no
	case "1":
		return yes
	default:
		s.fail("device %q: %s=%s is neither 0 nor 1", s.whole, key, v)
		return unsaid
	}
}

// flag takes a parameter that is 0 unless it is there and 1.
func (s *spec) flag(key string) bool { return s.choice(key) == yes }

// number takes a parameter that is a count of at least one; 0 means it is not
// there.
func (s *spec) number(key string) int {
	v := s.text(key)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		s.fail("device %q: %s=%s is not a number from 1 to 65535", s.whole, key, v)
		return 0
	}
	return int(n)
}

// addresses takes a parameter that is a list of IP addresses.
func (s *spec) addresses(key string) []netip.Addr {
	v := s.text(key)
	if v == "" {
		return nil
	}
	var list []netip.Addr
	for _, t := range strings.Split(v, ",") {
		a, err := netip.ParseAddr(t)
		if err != nil || a.Zone() != "" {
			s.fail("device %q: %q is not an IP address: write %s=192.0.2.1,192.0.2.2", s.whole, t, key)
			return nil
		}
		list = append(list, a)
	}
	return list
}

// descriptors reads the argument as a list of open descriptors.
func (s *spec) descriptors() []int {
	var fds []int
	for _, v := range strings.Split(s.argument, ",") {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			s.fail("device %q: %q is not a descriptor: write \"fd:3\", or \"fd:3,4\" for two queues", s.whole, v)
			return nil
		}
		if n < 3 {
			s.fail("device %q: descriptor %d is standard input or output: inherited ones begin at 3", s.whole, n)
			return nil
		}
		if slices.Contains(fds, int(n)) {
			s.fail("device %q: descriptor %d stands twice", s.whole, n)
			return nil
		}
		fds = append(fds, int(n))
	}
	return fds
}

func (s *spec) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// rest reports the first error of the parameters: a bad value, or one that nobody
// took.
func (s *spec) rest() error {
	if s.err == nil && len(s.params) > 0 {
		slices.Sort(s.asked)
		s.fail("device %q: unknown parameter %q: %s has %s", s.whole, s.params[0].key, s.scheme, strings.Join(s.asked, ", "))
	}
	return s.err
}
