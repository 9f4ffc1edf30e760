package script

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

type printer struct{ strings.Builder }

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// String prints the script so that parsing it gives the same tree, positions and
// comments aside.
func (s *Script) String() string {
	p := &printer{}
	for _, o := range s.Options {
		p.f("%v\n", o)
	}
	if s.Init != nil {
		p.f("`%s`\n", s.Init.Text)
	}
	for _, e := range s.Events {
		p.f("%v\n", e)
	}
	if s.Cleanup != nil {
		p.f("`%s`\n", s.Cleanup.Text)
	}
	return p.String()
}

func (o Option) String() string {
	if !o.HasValue {
		return "--" + o.Name
	}
	v := o.Value
	if !strings.Contains(v, `"`) && strings.ContainsAny(v, " \t\r") {
		v = `"` + v + `"`
	}
	return "--" + o.Name + "=" + v
}

func (e *Event) String() string {
	switch {
	case e.Packet != nil:
		return e.Time.String() + " " + e.Packet.String()
	case e.Syscall != nil:
		return e.Time.String() + " " + e.Syscall.String()
	case e.Code != nil:
		return e.Time.String() + " %{" + e.Code.Text + "}%"
	case e.Command != nil:
		return e.Time.String() + " `" + e.Command.Text + "`"
	}
	return e.Time.String()
}

func (t Time) String() string {
	var s string
	plus := ""
	switch t.Kind {
	case AnyTime:
		return "*"
	case Relative, RelativeRange:
		plus = "+"
	}
	s = plus + seconds(t.Start)
	if t.Kind == AbsoluteRange || t.Kind == RelativeRange {
		s += "~" + plus + seconds(t.End)
	}
	if t.Blocks {
		s += "..." + seconds(t.Until)
	}
	return s
}

// seconds prints a time with as many places as it needs.
func seconds(d time.Duration) string {
	s := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// String prints the packet as the script has it, from the arrow on.
func (k *Packet) String() string {
	p := &printer{}
	if k.Dir == Inbound {
		p.f("<")
	} else {
		p.f(">")
	}
	k.IP.print(p)
	switch {
	case k.TCP != nil:
		k.TCP.print(p)
	case k.UDP != nil:
		p.f(" udp (%d)", k.UDP.Len)
	case k.ICMP != nil:
		k.ICMP.print(p)
	}
	return p.String()
}

func (i IPInfo) print(p *printer) {
	var parts []string
	if i.ECN != ECNUnsaid {
		parts = append(parts, [...]string{"", "noecn", "ect1", "ect0", "ce", "ect01"}[i.ECN])
	}
	if i.TOS >= 0 {
		parts = append(parts, fmt.Sprintf("tos 0x%02x", i.TOS))
	}
	if i.TTL >= 0 {
		parts = append(parts, fmt.Sprintf("ttl %d", i.TTL))
	}
	if i.FlowLabel >= 0 {
		parts = append(parts, fmt.Sprintf("flowlabel 0x%x", i.FlowLabel))
	}
	if len(parts) > 0 {
		p.f(" [%s]", strings.Join(parts, ","))
	}
}

// String prints the flags as a flag word.
func (f Flags) String() string {
	var b []byte
	for _, l := range flagLetters {
		if f&l.flag != 0 {
			b = append(b, l.letter)
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

func (t *TCP) print(p *printer) {
	if t.ACE {
		// The digit cannot come first, where it would read as a number.
		rest := (t.Flags &^ (AE | CWR | ECE)).String()
		d := byte('0')
		for i, f := range [...]Flags{ECE, CWR, AE} {
			if t.Flags&f != 0 {
				d += 1 << i
			}
		}
		p.f(" %s%c", rest, d)
	} else {
		p.f(" %v", t.Flags)
	}
	p.f(" %d:%d(%d)", t.Seq, t.End, t.Len)
	if t.Flags&ACK != 0 {
		p.f(" ack %d", t.Ack)
	}
	if t.Win >= 0 {
		p.f(" win %d", t.Win)
	}
	if t.Urg >= 0 {
		p.f(" urg %d", t.Urg)
	}
	switch {
	case t.AnyOpts:
		p.f(" <...>")
	case len(t.Opts) > 0:
		s := make([]string, len(t.Opts))
		for i, o := range t.Opts {
			s[i] = o.String()
		}
		p.f(" <%s>", strings.Join(s, ","))
	}
}

// String prints the option as it stands between the commas.
func (o TCPOption) String() string {
	withData := func(name string) string {
		if len(o.Data) == 0 {
			return name
		}
		return name + " " + hex.EncodeToString(o.Data)
	}
	stamp := func(v uint32, any bool) string {
		if any {
			return "any"
		}
		return strconv.FormatUint(uint64(v), 10)
	}
	switch o.Kind {
	case OptEOL:
		return "eol"
	case OptNOP:
		return "nop"
	case OptMSS:
		return fmt.Sprintf("mss %d", o.Num)
	case OptWScale:
		return fmt.Sprintf("wscale %d", o.Num)
	case OptSACKOK:
		return "sackOK"
	case OptSACK:
		s := "sack"
		for _, b := range o.Blocks {
			s += fmt.Sprintf(" %d:%d", b.Left, b.Right)
		}
		return s
	case OptTS:
		return "TS val " + stamp(o.Val, o.AnyVal) + " ecr " + stamp(o.Ecr, o.AnyEcr)
	case OptFO:
		return withData("FO")
	case OptFOExp:
		return withData("FOEXP")
	case OptMD5:
		return withData("md5")
	case OptAccECN:
		s := "ECN"
		for _, c := range o.Counters {
			s += fmt.Sprintf(" %s %d", c.Name, c.Value)
		}
		return s
	}
	return withData(fmt.Sprintf("kind %d", o.Num))
}

func (m *ICMP) print(p *printer) {
	p.f(" icmp")
	if m.V6 {
		p.f("v6")
	}
	p.f(" %s", m.Type)
	if m.Code != "" {
		p.f(" %s", m.Code)
	}
	if m.MTU >= 0 {
		p.f(" mtu %d", m.MTU)
	}
	if e := m.Echo; e != nil {
		if e.UDP {
			p.f(" [udp (%d)]", e.Len)
		} else {
			p.f(" [%d:%d(%d)]", e.Seq, e.End, e.Len)
		}
	}
}

// String prints the call as the script has it.
func (s *Syscall) String() string {
	p := &printer{}
	p.f("%s(", s.Name)
	printList(p, s.Args)
	p.f(") = ")
	s.Result.Value.print(p)
	if s.Result.Errno != "" {
		p.f(" %s", s.Result.Errno)
	}
	if s.Result.Note != "" {
		p.f(" (%s)", s.Result.Note)
	}
	return p.String()
}

// ExprString prints an expression.
func ExprString(e Expr) string {
	p := &printer{}
	e.print(p)
	return p.String()
}

func printList(p *printer, list []Expr) {
	for i, e := range list {
		if i > 0 {
			p.f(", ")
		}
		e.print(p)
	}
}

func (e *Int) print(p *printer) {
	switch {
	case e.Hex && e.Value < 0 && e.Value != -e.Value:
		p.f("-0x%x", -e.Value)
	case e.Hex:
		p.f("0x%x", uint64(e.Value))
	case e.Value < 0 && e.Value == -e.Value:
		p.f("%d", uint64(e.Value)) // the lexer reads it back as the same 64 bits
	default:
		p.f("%d", e.Value)
	}
}

func (e *String) print(p *printer) {
	p.f(`"`)
	for i := range len(e.Value) {
		switch b := e.Value[i]; {
		case b == '"' || b == '\\':
			p.f(`\%c`, b)
		case b == '\n':
			p.f(`\n`)
		case b < ' ' || b >= 0x7f:
			p.f(`\x%02x`, b)
		default:
			p.WriteByte(b)
		}
	}
	p.f(`"`)
	if e.More {
		p.f("...")
	}
}

func (e *Ident) print(p *printer)    { p.f("%s", e.Name) }
func (e *Ellipsis) print(p *printer) { p.f("...") }
func (e *AddrOf) print(p *printer)   { p.f("&%s", e.Name) }

func (e *Or) print(p *printer) {
	for i, t := range e.Terms {
		if i > 0 {
			p.f("|")
		}
		t.print(p)
	}
}

func (e *List) print(p *printer) {
	p.f("[")
	printList(p, e.Items)
	p.f("]")
}

func (e *Call) print(p *printer) {
	p.f("%s(", e.Name)
	printList(p, e.Args)
	p.f(")")
}

func (e *Struct) print(p *printer) {
	p.f("{")
	for i, f := range e.Fields {
		if i > 0 {
			p.f(", ")
		}
		if f.Name != "" {
			p.f("%s", f.Name)
			if f.Count != nil {
				p.f("(")
				f.Count.print(p)
				p.f(")")
			}
			p.f("=")
		}
		f.Value.print(p)
	}
	p.f("}")
}
