package stacktest

import (
	"context"
	"errors"
	"fmt"
	"go/token"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
)

// outcome is one row of the table of errors: what a call must fail with, down to
// the types, because applications take errors apart. Rows are what the socket
// backend gives on Linux, in the notation of describe.
type outcome struct {
	name string
	want string
	// also is a second form that package net gives when two timers race, if there
	// is one.
	also string
	run  func(h *harness) error
	dns  bool
	need need
}

func errorTests() []test {
	var list []test
	for _, table := range [][]outcome{dialErrors(), listenErrors(), streamErrors(), closedErrors(), udpErrors()} {
		for _, o := range table {
			list = append(list, test{name: o.name, dns: o.dns, need: o.need, run: func(h *harness) {
				if got := describe(h, o.run(h)); got != o.want && (o.also == "" || got != o.also) {
					h.Errorf("got  %s\nwant %s", got, o.want)
				}
			}})
		}
	}
	return list
}

// describe writes an error down without what differs from run to run: the types
// of the chain with their fields, the values that errors.Is finds, whether it is
// a timeout, and its text. HOST stands for the address of either stack, ANY for
// the wildcard, PORT for a port; other addresses are named by the harness.
func describe(h *harness, err error) string {
	if err == nil {
		return "no error"
	}
	var chain []string
	for e := err; e != nil; e = errors.Unwrap(e) {
		chain = append(chain, link(e))
	}
	var is []string
	for _, t := range targets() {
		if errors.Is(err, t.err) {
			is = append(is, t.name)
		}
	}
	flags := ""
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		flags = " timeout"
	}
	s := fmt.Sprintf("%s [%s]%s %q", strings.Join(chain, " > "), strings.Join(is, " "), flags, err)
	return anonymous(h, s)
}

// link describes one error of a chain.
func link(err error) string {
	t, star := reflect.TypeOf(err), ""
	if t.Kind() == reflect.Pointer {
		t, star = t.Elem(), "*"
	}
	name := star + t.String()
	if !token.IsExported(t.Name()) {
		// Another package's type that nobody can name: whose it is, and whether it is
		// a pointer, makes no difference to anybody.
		name = t.Name()
	}
	switch e := err.(type) {
	case *net.OpError:
		return fmt.Sprintf("%s{%s %s %s %s}", name, e.Op, e.Net, endpoint(e.Source), endpoint(e.Addr))
	case *os.SyscallError:
		return fmt.Sprintf("%s{%s}", name, e.Syscall)
	case *net.AddrError:
		return fmt.Sprintf("%s{%q %q}", name, e.Err, e.Addr)
	case *net.DNSError:
		// The server is the host's or ours, as the resolver sees it.
		return fmt.Sprintf("%s{%q %q found=%t temporary=%t}", name, e.Err, e.Name, !e.IsNotFound, e.IsTemporary)
	}
	return name
}

// endpoint describes an address with its type, and tells nil from a nil pointer.
func endpoint(a net.Addr) string {
	switch {
	case a == nil:
		return "-"
	case reflect.ValueOf(a).Kind() == reflect.Pointer && reflect.ValueOf(a).IsNil():
		return fmt.Sprintf("%T(nil)", a)
	}
	name, ok := strings.CutPrefix(fmt.Sprintf("%T", a), "*net.")
	if !ok {
		// A type of package net's own that nobody can name: only its methods count.
		name = a.Network()
	}
	return name + "(" + a.String() + ")"
}

type target struct {
	name string
	err  error
}

// targets are the errors that applications compare with.
func targets() []target {
	return []target{
		{"EADDRINUSE", syscall.EADDRINUSE},
		{"EADDRNOTAVAIL", syscall.EADDRNOTAVAIL},
		{"ECONNREFUSED", syscall.ECONNREFUSED},
		{"ECONNRESET", syscall.ECONNRESET},
		{"EDESTADDRREQ", syscall.EDESTADDRREQ},
		{"EHOSTUNREACH", syscall.EHOSTUNREACH},
		{"EINVAL", syscall.EINVAL},
		{"EMSGSIZE", syscall.EMSGSIZE},
		{"ENETUNREACH", syscall.ENETUNREACH},
		{"ENOTCONN", syscall.ENOTCONN},
		{"EPIPE", syscall.EPIPE},
		{"ETIMEDOUT", syscall.ETIMEDOUT},
		{"EOF", io.EOF},
		{"canceled", context.Canceled},
		{"deadline", context.DeadlineExceeded},
		{"os.deadline", os.ErrDeadlineExceeded},
		{"net.closed", net.ErrClosed},
		{"net.connected", net.ErrWriteToConnected},
	}
}

// anonymous replaces what differs between runs and environments.
func anonymous(h *harness, s string) string {
	// Which server was asked is the resolver's business, that one was is told.
	s = regexp.MustCompile(` on \S+:\d+: `).ReplaceAllString(s, " on SERVER: ")
	if h.hole.IsValid() {
		s = strings.ReplaceAll(s, h.hole.String(), "HOLE:1")
	}
	for _, r := range []struct {
		addr netip.Addr
		name string
	}{
		{h.env.Unreachable, "UNREACHABLE"},
		{h.env.Absent, "ABSENT"},
		{foreign(), "FOREIGN"},
		{h.a.Addr, "HOST"},
		{h.b.Addr, "HOST"},
		{netip.IPv6Unspecified(), "ANY"},
		{netip.IPv4Unspecified(), "ANY"},
	} {
		if !r.addr.IsValid() {
			continue
		}
		text := r.addr.String()
		if r.addr.Is6() {
			text = "[" + text + "]"
		}
		s = strings.ReplaceAll(s, text, r.name)
	}
	return regexp.MustCompile(`(HOST|ANY|HOLE|ABSENT|UNREACHABLE|FOREIGN):\d+`).ReplaceAllString(s, "$1:PORT")
}

// foreign is an address that belongs to no host of any environment: RFC 5737
// keeps it for documentation. Nothing is sent to it. Rows that fail before an
// address matters spell it out.
func foreign() netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, 77}) }
