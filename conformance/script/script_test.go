package script

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everything holds at least one of each construct.
const everything = `#!/usr/bin/env player
// Prose - with dashes -- is no option.
// --tolerance_usecs=10000 --mtu=1400
--local_ip=192.168.0.1
--init_scripts="a b.sh"
-D PORT=8080 --define=NAME="x y"
--strict_segments
` + "`sysctl -q net.ipv4.tcp_sack=0\necho 1 > /proc/sys/net/ipv4/tcp_ecn`" + `
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0 // a comment
+.5 bind(3, {sa_family=AF_INET, sin_port=htons(PORT), sin_addr=inet_addr("192.168.0.1")}, ...) = 0
+0 /* here
 too */ listen(3, 1) = 0
0.5...0.75 accept(3, ..., ...) = 4
+0...0.2 read(4, ..., 1000) = -1 ETIMEDOUT (Connection timed out)
+0 < [ect0] SEW 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
+0 > (noecn) S.E 4294967295:0(1) ack 1 win 5 <mss 1460,nop,wscale 8,TS val any ecr 7,FO 0123abcd,eol>
+0.1~+0.3 > . 1:1(0) ack 1 <nop,nop,sack 1001:2001 3001:4001>
1~2.5 > P. 1:11(10) ack 1 urg 3 <...>
* > FR.U 1:1(0) ack 1 <FOEXP,md5 00112233445566778899aabbccddeeff,ECN e1b 1 ceb 0 e0b 1,kind 253 0a>
+0 < [ce,ttl 3,tos 0x10,flowlabel 0xfffff] - 1:1(0)
+0 > [ect01] P.5 1:2(1) ack 4
+0 > udp (100)
+0 < udp (0)
+0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
+0 < icmpv6 packet_too_big mtu 1280 [udp (8)]
+0 < icmp echo_request
+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)
+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 1000}, {"ab\n\"\x00\\"..., 4}], msg_flags=0}, 0) = 1004
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0
+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, -1) = 1
+0 inet_pton(AF_INET6, "::1", &sin6_addr) = ...
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, {fd=4}}) = 0
+0 getsockopt(4, SOL_TCP, TCP_MAXSEG, [1460], [4]) = 0
+0 foo({}, [], 0xffffffffffffffff, -5, -0x5, 18446744073709551615) = 0
+0 %{ assert tcpi_cwnd == 10, tcpi_cwnd
x = 5 }%
+0 ` + "`sleep 1`\n" + "`cleanup`\n"

func mustParse(t testing.TB, src string) *Script {
	t.Helper()
	s, err := Parse("x.pkt", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := mustParse(t, everything)
	var opts []string
	for _, o := range s.Options {
		opts = append(opts, o.String())
	}
	want := `--tolerance_usecs=10000 --mtu=1400 --local_ip=192.168.0.1 --init_scripts="a b.sh" --define=PORT=8080 --define=NAME="x y" --strict_segments`
	if got := strings.Join(opts, " "); got != want {
		t.Errorf("options\n%s, want\n%s", got, want)
	}
	if s.Options[3].Value != "a b.sh" || s.Options[5].Value != `NAME="x y"` {
		t.Errorf("quotes: %+v", s.Options)
	}
	if s.Init == nil || !strings.HasPrefix(s.Init.Text, "sysctl -q") || s.Cleanup == nil || s.Cleanup.Text != "cleanup" {
		t.Errorf("blocks: %+v, %+v", s.Init, s.Cleanup)
	}
	// What the events read as, one by one.
	for i, want := range map[int]string{
		1:  `+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0`,
		2:  `+0.5 bind(3, {sa_family=AF_INET, sin_port=htons(PORT), sin_addr=inet_addr("192.168.0.1")}, ...) = 0`,
		4:  `0.5...0.75 accept(3, ..., ...) = 4`,
		5:  `+0...0.2 read(4, ..., 1000) = -1 ETIMEDOUT (Connection timed out)`,
		6:  `+0 < [ect0] SEW 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>`,
		7:  `+0 > [noecn] SE. 4294967295:0(1) ack 1 win 5 <mss 1460,nop,wscale 8,TS val any ecr 7,FO 0123abcd,eol>`,
		8:  `+0.1~+0.3 > . 1:1(0) ack 1 <nop,nop,sack 1001:2001 3001:4001>`,
		9:  `1~2.5 > P. 1:11(10) ack 1 urg 3 <...>`,
		11: `+0 < [ce,tos 0x10,ttl 3,flowlabel 0xfffff] - 1:1(0)`,
		15: `+0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]`,
		20: `+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 1000}, {"ab\n\"\x00\\"..., 4}], msg_flags=0}, 0) = 1004`,
	} {
		if got := s.Events[i].String(); got != want {
			t.Errorf("event %d: %s\nwant %s", i, got, want)
		}
	}
	if e := s.Events[4]; !e.Time.Blocks || e.Time.Start != 500*time.Millisecond || e.Time.Until != 750*time.Millisecond {
		t.Errorf("blocking time: %+v", e.Time)
	}
	if f := s.Events[12].Packet.TCP.Flags; f != PSH|ACK|AE|ECE {
		t.Errorf("P.5 is %b", f)
	}
	if p := s.Events[2].Pos; p.Line != 12 || p.Column != 1 {
		t.Errorf("position %+v", p)
	}
}

// scrub zeroes every position, by reflection, so that trees can be compared.
func scrub(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			scrub(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scrub(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Pos]() {
			if v.CanSet() {
				v.SetZero()
			}
			return
		}
		for i := range v.NumField() {
			scrub(v.Field(i))
		}
	}
}

func roundTrip(t testing.TB, s *Script) {
	t.Helper()
	text := s.String()
	again, err := Parse(s.File, []byte(text))
	if err != nil {
		t.Fatalf("the printed script does not parse: %v\n%s", err, text)
	}
	scrub(reflect.ValueOf(s))
	scrub(reflect.ValueOf(again))
	if !reflect.DeepEqual(s, again) {
		t.Fatalf("printed\n%s\nread back\n%s", text, again)
	}
}

func TestRoundTrip(t *testing.T) {
	roundTrip(t, mustParse(t, everything))
	files, _ := filepath.Glob("../scripts/*/*.pkt")
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(f, src)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, s)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"0x < . 1:1(0)", `x.pkt:1:2: expected a space after the time, found "x"`},
		{"0 < S 0:0(0) win 65536", `x.pkt:1:18: expected a window that fits 16 bits, found "65536"`},
		{"0 < S 0:5(4)", `x.pkt:1:9: expected 4, the sum of the first sequence number and the length 4, found "5"`},
		{"0 < Sx 0:0(0)", `x.pkt:1:5: expected TCP flags (letters of "SFRPUAEW.", "-" for none), udp, icmp or icmpv6, found "Sx"`},
		{"0 < S. 0:0(0)", `x.pkt:1:14: expected "ack" and a number, as the flags say, found the end of the file`},
		{"0 < S 0:0(0) ack 1", `x.pkt:1:17: expected no ack: the flags lack the dot that stands for ACK, found " "`},
		{"\n 0 < S 0:0(0) <mss>", `x.pkt:2:19: expected a segment size, found ">"`},
		{"0 < S 0:0(0) <mts 5>", `x.pkt:1:15: expected a TCP option: mss, wscale, sackOK, sack, TS, FO, FOEXP, ECN, md5, nop, eol or kind, found "mts"`},
		{"0 < . 1:1(0) ack 1 <sack>", `x.pkt:1:25: expected a SACK block, first:last, found ">"`},
		{"0 > icmp unreachable port_unreach", `x.pkt:1:22: expected an ICMP code: net_unreachable,`},
		{"0 > icmp unreach", `x.pkt:1:10: expected an ICMP type: echo_reply, unreachable,`},
		{"0 socket(..., 1) 3", `x.pkt:1:18: expected "=" and what the call must return, found "3"`},
		{"0 socket(..., 1 = 3", `x.pkt:1:17: expected "," or ")", found "="`},
		{"0 f(\"abc", `x.pkt:1:9: expected a closing '"', found the end of the file`},
		{"0 f(\"\\q\") = 0", `x.pkt:1:7: expected an escape`},
		{"* < S 0:0(0)", `x.pkt:1:1: expected a time for an inbound packet`},
		{"0...1 < S 0:0(0)", `x.pkt:1:1: expected a system call, which alone can last`},
		{"2~1 > S 0:0(0)", `x.pkt:1:4: expected a range that ends after it begins, found " "`},
		{"0 %{ x", `x.pkt:1:3: expected }% to close this block, found the end of the file`},
		{"`sysctl", "x.pkt:1:1: expected a second ` to close this shell block, found the end of the file"},
		{"0 /* x", `x.pkt:1:3: expected */ to close this comment, found the end of the file`},
		{"socket()", `x.pkt:1:1: expected a time in seconds, found "socket"`},
		{"-- 5", `x.pkt:1:3: expected the name of an option, found " "`},
		{"--define=5", `x.pkt:1:1: expected --define=NAME=VALUE, found "--define=5"`},
		{"0 f(" + strings.Repeat("[", 40), `expected less deeply nested brackets`},
		{"0 < [ect2] . 1:1(0) ack 1", `x.pkt:1:6: expected noecn, ect0, ect1, ect01, ce, tos N, ttl N or flowlabel N, found "ect2"`},
		{"0 < . 1:70001(70000) ack 1", `x.pkt:1:15: expected a payload length that fits 16 bits`},
	} {
		s, err := Parse("x.pkt", []byte(c.src))
		if err == nil || s != nil {
			t.Errorf("%q parsed", c.src)
			continue
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %T", c.src, err)
		}
		got := strings.ReplaceAll(err.Error(), `found "--define=5"`, `found "--define=5"`)
		want := strings.ReplaceAll(c.want, `found "--define=5"`, `found --define=5`)
		if !strings.Contains(got, want) {
			t.Errorf("%q:\n got %s\nwant %s", c.src, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	for line := range strings.Lines(everything) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("fuzz.pkt", src)
		if err != nil {
			if s != nil {
				t.Fatal("a script and an error")
			}
			return
		}
		roundTrip(t, s)
	})
}
