package script

import "time"

// Pos is a place in a script; lines and columns count from one, columns in bytes.
type Pos struct {
	File         string
	Line, Column int
}

// Script is a whole .pkt file.
type Script struct {
	File    string
	Options []Option
	Init    *Command // the untimed shell block before the events, or nil
	Events  []*Event
	Cleanup *Command // the untimed shell block after the events, or nil
}

// Option is one command-line option that the script carries: "--mtu=1500" is
// {"mtu", "1500"}. A definition, "-D NAME=VALUE" or "--define=NAME=VALUE", is
// {"define", "NAME=VALUE"}.
type Option struct {
	Pos         Pos
	Name, Value string
	HasValue    bool
}

// Command is a block of shell lines, without the back quotes.
type Command struct {
	Pos  Pos
	Text string
}

// Code is a %{ … }% block, without the brackets.
type Code struct {
	Pos  Pos // of the first byte of Text
	Text string
}

// Event is one timed statement; exactly one of Packet, Syscall, Code and Command is
// set.
type Event struct {
	Pos     Pos
	Time    Time
	Packet  *Packet
	Syscall *Syscall
	Code    *Code
	Command *Command
}

// TimeKind says how an event's time is meant.
type TimeKind uint8

const (
	Absolute      TimeKind = iota // 0.5: since the start of the script
	Relative                      // +0.5: since the event before
	AbsoluteRange                 // 0.5~0.7: at any time in between
	RelativeRange                 // +0.5~+0.7
	AnyTime                       // *: whenever it happens
)

// Time is when an event happens. End is the end of a range. For a system call that
// blocks, Blocks is set and Until is when it returns, counted like Start.
type Time struct {
	Kind       TimeKind
	Start, End time.Duration
	Blocks     bool
	Until      time.Duration
}

// Direction tells who sends a packet.
type Direction uint8

const (
	Inbound  Direction = iota // <: the remote host sends, the player injects it
	Outbound                  // >: the stack under test sends, the player checks it
)

// ECN is what a script says of the IP header's ECN field (RFC 3168, section 5).
type ECN uint8

const (
	ECNUnsaid ECN = iota // inbound 00; outbound unchecked
	NoECN                // 00
	ECT1                 // 01
	ECT0                 // 10
	CE                   // 11
	ECT01                // outbound only: ECT(0) or ECT(1)
)

// IPInfo is the bracketed part of a packet, such as [ect0] or [ce,ttl 64].
type IPInfo struct {
	ECN       ECN
	TOS       int // the DSCP and ECN byte as a whole; -1 if unsaid
	TTL       int // TTL or hop limit; -1 if unsaid
	FlowLabel int // IPv6; -1 if unsaid
}

// Unsaid is an IPInfo that says nothing.
func Unsaid() IPInfo { return IPInfo{TOS: -1, TTL: -1, FlowLabel: -1} }

// Packet is one packet; exactly one of TCP, UDP and ICMP is set.
type Packet struct {
	Pos  Pos
	Dir  Direction
	IP   IPInfo
	TCP  *TCP
	UDP  *UDP
	ICMP *ICMP
}

// Flags are the TCP header's flags, with the bit values of its octets 12 and 13.
type Flags uint16

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE // RFC 9768: the bit before CWR
)

// TCP is a TCP segment: flags, Seq:End(Len), ack, win, urg, options.
type TCP struct {
	Flags    Flags
	ACE      bool // AE, CWR and ECE were written as one digit (RFC 9768)
	Seq, End uint32
	Len      int
	Ack      uint32 // meaningful with ACK in Flags
	Win      int    // the header's field, unscaled; -1 if unsaid
	Urg      int    // the urgent pointer; -1 if unsaid
	AnyOpts  bool   // <...>: options are not compared
	Opts     []TCPOption
}

// OptKind is the kind of a TCP option as the script names it.
type OptKind uint8

const (
	OptEOL OptKind = iota
	OptNOP
	OptMSS
	OptWScale
	OptSACKOK
	OptSACK
	OptTS
	OptFO     // RFC 7413; Data is the cookie, empty for a request
	OptFOExp  // the experimental form of the same, kind 254, magic 0xF989
	OptMD5    // RFC 2385; Data is the digest
	OptAccECN // RFC 9768
	OptOther  // any other kind: Num is the kind, Data what follows the length
)

// Block is a SACK block, Left inclusive, Right exclusive.
type Block struct{ Left, Right uint32 }

// Counter is one byte counter of an AccECN option, by its name in the script:
// "e0b", "ceb" or "e1b".
type Counter struct {
	Name  string
	Value uint32
}

// TCPOption is one option of a segment.
type TCPOption struct {
	Kind           OptKind
	Num            uint32 // mss, wscale; the kind of OptOther
	Val, Ecr       uint32 // TS
	AnyVal, AnyEcr bool   // TS val any, ecr any
	Blocks         []Block
	Data           []byte
	Counters       []Counter
}

// UDP is a datagram of Len bytes of payload.
type UDP struct{ Len int }

// ICMP is a message of ICMP or ICMPv6.
type ICMP struct {
	V6         bool
	Type, Code string // names as in the script; Code may be empty
	MTU        int    // -1 if unsaid
	Echo       *Echo  // the embedded packet, or nil
}

// Echo is the packet that an ICMP error carries.
type Echo struct {
	UDP      bool
	Seq, End uint32 // of TCP
	Len      int
}

// Syscall is a system call, its arguments and what it must return.
type Syscall struct {
	Pos    Pos
	Name   string
	Args   []Expr
	Result Result
}

// Result is what a system call must return: a value, or -1 with an errno.
type Result struct {
	Value Expr   // an *Int, *Ident, *Or or *Ellipsis
	Errno string // "EAGAIN", or empty
	Note  string // the text in brackets, not compared
}

// Expr is an argument or a part of one.
type Expr interface {
	At() Pos
	print(p *printer)
}

type (
	// Int is an integer; Hex keeps how it was written.
	Int struct {
		Pos   Pos
		Value int64
		Hex   bool
	}
	// String is a string; More says that "..." followed it.
	String struct {
		Pos   Pos
		Value string
		More  bool
	}
	// Ident is a symbolic constant or a name from a definition.
	Ident struct {
		Pos  Pos
		Name string
	}
	// Or is A|B|C.
	Or struct {
		Pos   Pos
		Terms []Expr
	}
	// List is [a, b].
	List struct {
		Pos   Pos
		Items []Expr
	}
	// Struct is {name=value, value, …}.
	Struct struct {
		Pos    Pos
		Fields []Field
	}
	// Ellipsis is "...": not given, or not compared.
	Ellipsis struct{ Pos Pos }
	// Call is htons(80), inet_addr("192.0.2.1") and the like.
	Call struct {
		Pos  Pos
		Name string
		Args []Expr
	}
	// AddrOf is &name.
	AddrOf struct {
		Pos  Pos
		Name string
	}
)

// Field is a member of a Struct. Name is empty for a positional one; Count is the
// expression in msg_iov(1)=…, or nil.
type Field struct {
	Name  string
	Count Expr
	Value Expr
}

func (e *Int) At() Pos      { return e.Pos }
func (e *String) At() Pos   { return e.Pos }
func (e *Ident) At() Pos    { return e.Pos }
func (e *Or) At() Pos       { return e.Pos }
func (e *List) At() Pos     { return e.Pos }
func (e *Struct) At() Pos   { return e.Pos }
func (e *Ellipsis) At() Pos { return e.Pos }
func (e *Call) At() Pos     { return e.Pos }
func (e *AddrOf) At() Pos   { return e.Pos }

// Field returns the value of the named member, or nil.
func (e *Struct) Field(name string) Expr {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}
