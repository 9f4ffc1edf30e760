package player

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/netduet/netduet/conformance/script"
)

// resolve replaces a name by its definition.
func (r *run) resolve(e script.Expr) script.Expr {
	for range 8 { // definitions may name definitions
		id, ok := e.(*script.Ident)
		if !ok {
			return e
		}
		def, ok := r.plan.Defines[id.Name]
		if !ok {
			return e
		}
		s, err := script.Parse(r.plan.Script.File, []byte("0 define("+def+") = 0"))
		if err != nil || len(s.Events) != 1 || s.Events[0].Syscall == nil || len(s.Events[0].Syscall.Args) != 1 {
			r.fail(BadScript, "the definition %s=%s is no expression", id.Name, def)
		}
		e = s.Events[0].Syscall.Args[0]
	}
	return e
}

func (r *run) int(e script.Expr) int64 {
	switch x := r.resolve(e).(type) {
	case *script.Int:
		return x.Value
	case *script.Ident:
		if v, ok := Symbol(x.Name); ok {
			return v
		}
		r.fail(BadScript, "%s is no constant that is known here", x.Name)
	case *script.Or:
		v := int64(0)
		for _, t := range x.Terms {
			v |= r.int(t)
		}
		return v
	case *script.List:
		if len(x.Items) == 1 {
			return r.int(x.Items[0])
		}
	case *script.Call:
		if (x.Name == "htons" || x.Name == "htonl") && len(x.Args) == 1 {
			return r.int(x.Args[0])
		}
	}
	r.fail(BadScript, "expected a number, found %s", script.ExprString(e))
	return 0
}

func (r *run) str(e script.Expr) string {
	if s, ok := r.resolve(e).(*script.String); ok {
		return s.Value
	}
	r.fail(BadScript, "expected a string, found %s", script.ExprString(e))
	return ""
}

func ignored(e script.Expr) bool {
	_, ok := e.(*script.Ellipsis)
	return ok
}

func (r *run) list(e script.Expr) []script.Expr {
	if l, ok := r.resolve(e).(*script.List); ok {
		return l.Items
	}
	r.fail(BadScript, "expected [a list], found %s", script.ExprString(e))
	return nil
}

func (r *run) structure(e script.Expr) *script.Struct {
	x := r.resolve(e)
	if l, ok := x.(*script.List); ok && len(l.Items) == 1 {
		x = r.resolve(l.Items[0])
	}
	if s, ok := x.(*script.Struct); ok {
		return s
	}
	r.fail(BadScript, "expected {a struct}, found %s", script.ExprString(e))
	return nil
}

// field returns the first of the named members, or nil.
func field(s *script.Struct, names ...string) script.Expr {
	for _, n := range names {
		if e := s.Field(n); e != nil {
			return e
		}
	}
	return nil
}

// addr reads a socket address; "..." and 0 give an invalid one.
func (r *run) addr(e script.Expr) netip.AddrPort {
	e = r.resolve(e)
	if ignored(e) {
		return netip.AddrPort{}
	}
	if i, ok := e.(*script.Int); ok && i.Value == 0 {
		return netip.AddrPort{}
	}
	if id, ok := e.(*script.Ident); ok && id.Name == "NULL" {
		return netip.AddrPort{}
	}
	s := r.structure(e)
	a := netip.IPv4Unspecified()
	if f := field(s, "sa_family", "sin_family", "sin6_family"); f != nil && !ignored(f) {
		switch r.int(f) {
		case 10:
			a = netip.IPv6Unspecified()
		case 0:
			return netip.AddrPort{} // AF_UNSPEC
		}
	}
	port := int64(0)
	if f := field(s, "sin_port", "sin6_port"); f != nil {
		port = r.int(f)
	}
	text := ""
	if f := field(s, "sin_addr", "sin6_addr"); f != nil {
		switch c := r.resolve(f).(type) {
		case *script.Call:
			if c.Name == "inet_addr" && len(c.Args) == 1 {
				text = r.str(c.Args[0])
			} else if c.Name == "inet_pton" && len(c.Args) >= 2 {
				text = r.str(c.Args[1])
			} else if r.int(c) != 0 {
				r.fail(BadScript, "expected inet_addr(…), found %s", script.ExprString(f))
			}
		case *script.String:
			text = c.Value
		default:
			if r.int(f) != 0 {
				r.fail(BadScript, "expected inet_addr(…), found %s", script.ExprString(f))
			}
		}
	}
	for _, f := range s.Fields {
		if c, ok := f.Value.(*script.Call); ok && f.Name == "" && c.Name == "inet_pton" && len(c.Args) >= 2 {
			text = r.str(c.Args[1])
		}
	}
	if text != "" {
		p, err := netip.ParseAddr(text)
		if err != nil {
			r.fail(BadScript, "%q is no IP address", text)
		}
		a = p
	}
	if port < 0 || port > 65535 {
		r.fail(BadScript, "%d is no port", port)
	}
	return netip.AddrPortFrom(a, uint16(port))
}

// maxBuffer bounds the buffers of one call.
const maxBuffer = 64 << 20

func (r *run) size(e script.Expr) int {
	n := r.int(e)
	if n < 0 || n > maxBuffer {
		r.fail(BadScript, "a buffer of %d bytes", n)
	}
	return int(n)
}

// buffer makes a buffer of n bytes with the string's at its beginning.
func (r *run) buffer(e script.Expr, n int) []byte {
	b := make([]byte, n)
	if e = r.resolve(e); !ignored(e) {
		if s, ok := e.(*script.String); ok {
			copy(b, s.Value)
		}
	}
	return b
}

// checkBuffer compares what was read into b with the script's string.
func (r *run) checkBuffer(e script.Expr, b []byte) {
	s, ok := r.resolve(e).(*script.String)
	if !ok {
		return
	}
	n := min(len(s.Value), len(b))
	if string(b[:n]) != s.Value[:n] || !s.More && len(s.Value) < len(b) {
		r.failWith(Call, script.ExprString(s), script.ExprString(&script.String{Value: string(b[:min(len(b), 256)])}), "other bytes were read")
	}
}

// iov makes the buffers of a list of struct iovec.
func (r *run) iov(e script.Expr) (bufs [][]byte, exprs []script.Expr) {
	total := 0
	for _, item := range r.list(e) {
		s := r.structure(item)
		if len(s.Fields) != 2 {
			r.fail(BadScript, "expected {buffer, length}, found %s", script.ExprString(item))
		}
		n := r.size(s.Fields[1].Value)
		if total += n; total > maxBuffer {
			r.fail(BadScript, "buffers of %d bytes", total)
		}
		bufs = append(bufs, r.buffer(s.Fields[0].Value, n))
		exprs = append(exprs, s.Fields[0].Value)
	}
	return bufs, exprs
}

func (r *run) checkIOV(bufs [][]byte, exprs []script.Expr, n int) {
	for i, b := range bufs {
		k := min(n, len(b))
		n -= k
		if k > 0 {
			r.checkBuffer(exprs[i], b[:k])
		}
	}
}

// option encodes the value of a socket option of n bytes.
func (r *run) option(e script.Expr, n int) []byte {
	e = r.resolve(e)
	switch x := e.(type) {
	case *script.String:
		b := []byte(x.Value)
		for len(b) < n {
			b = append(b, 0)
		}
		return b[:min(n, len(b))]
	case *script.Struct:
		if sec := field(x, "tv_sec"); sec != nil {
			b := binary.LittleEndian.AppendUint64(nil, uint64(r.int(sec)))
			usec := int64(0)
			if f := field(x, "tv_usec", "tv_nsec"); f != nil {
				usec = r.int(f)
			}
			return binary.LittleEndian.AppendUint64(b, uint64(usec))
		}
		var b []byte
		for _, f := range x.Fields { // struct linger, struct ip_mreq and their like: ints
			b = binary.LittleEndian.AppendUint32(b, uint32(r.int(f.Value)))
		}
		return b
	case *script.List:
		if len(x.Items) > 1 {
			var b []byte
			for _, i := range x.Items {
				b = binary.LittleEndian.AppendUint32(b, uint32(r.int(i)))
			}
			return b
		}
		if len(x.Items) == 1 {
			if _, ok := r.resolve(x.Items[0]).(*script.Int); !ok {
				if _, ok := r.resolve(x.Items[0]).(*script.Struct); ok {
					return r.option(x.Items[0], n)
				}
			}
		}
	}
	v := r.int(e)
	b := binary.LittleEndian.AppendUint64(nil, uint64(v))
	if n <= 0 || n > 8 {
		n = 4
	}
	return b[:n]
}

// littleInt reads an integer as wide as b, sign extended.
func littleInt(b []byte) int64 {
	var v uint64
	for i := min(len(b), 8) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	if len(b) == 4 {
		return int64(int32(v))
	}
	return int64(v)
}

// fd returns the socket of a script's file descriptor; a number that is not open has
// live -1.
func (r *run) fd(e script.Expr) *sock {
	n := r.int(e)
	if s, ok := r.fds[n]; ok {
		return s
	}
	return &sock{live: -1}
}

func (r *run) small(e script.Expr) int {
	n := r.int(e)
	if n < math.MinInt32 || n > math.MaxUint32 {
		r.fail(BadScript, "%d does not fit an int", n)
	}
	return int(n)
}
