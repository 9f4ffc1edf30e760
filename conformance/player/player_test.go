package player

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/conformance/script"
	"github.com/netduet/netduet/conformance/wire"
)

// fake is a backend in virtual time whose stack sends what it is told to, whatever it
// receives, and whose system calls succeed at once.
type fake struct {
	Sockets // calls that no test makes
	now     time.Duration
	late    time.Duration // how long each sleep takes too long
	sends   []Sent
	got     [][]byte
	infos   map[string]int64
	next    int
}

func (f *fake) Now() time.Duration { return f.now }
func (f *fake) SleepUntil(t time.Duration) {
	f.now = max(f.now, t+f.late)
}
func (f *fake) Outbound(until time.Duration) (Sent, bool) {
	if len(f.sends) == 0 || f.sends[0].At > until {
		f.now = max(f.now, until)
		return Sent{}, false
	}
	s := f.sends[0]
	f.sends = f.sends[1:]
	f.now = max(f.now, s.At)
	return s, true
}
func (f *fake) Inject(p []byte) error                     { f.got = append(f.got, p); return nil }
func (f *fake) Do(g func(), _ time.Duration) bool         { g(); return true }
func (f *fake) Go(g func())                               { g() }
func (f *fake) Await(<-chan struct{}, time.Duration) bool { return true }
func (f *fake) Sysctl(string, string) error               { return errors.New("none here") }
func (f *fake) Close() error                              { return nil }
func (f *fake) Socket(int, int, int) (int, error)         { f.next++; return 100 + f.next, nil }
func (f *fake) Bind(int, netip.AddrPort) error            { return nil }
func (f *fake) Listen(int, int) error                     { return nil }
func (f *fake) Accept(int, int) (int, netip.AddrPort, error) {
	return 200, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), firstRemotePort+1), nil
}
func (f *fake) Connect(int, netip.AddrPort) error { return Errno("EINPROGRESS") }
func (f *fake) Recv(_ int, p [][]byte, _, _ int) (Received, error) {
	return Received{N: copy(p[0], "hello")}, nil
}
func (f *fake) TCPInfo(fd int) (map[string]int64, error) {
	if fd != 200 {
		return nil, Errno("EBADF")
	}
	return f.infos, nil
}

// passive and active are the stack's view of the tuple.
var (
	passive = wire.Tuple{Src: netip.MustParseAddrPort("192.168.0.1:8080"), Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), firstRemotePort+1)}
	active  = wire.Tuple{Src: netip.MustParseAddrPort("192.168.0.1:55555"), Dst: netip.MustParseAddrPort("192.0.2.1:8080")}
)

// send is a packet that the fake stack sends, in the numbers of the wire.
func send(t testing.TB, tup wire.Tuple, at time.Duration, line string) Sent {
	t.Helper()
	s, err := script.Parse("sent", []byte("0 > "+line))
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.Encode(s.Events[0].Packet, tup)
	if err != nil {
		t.Fatal(err)
	}
	return Sent{At: at, Packet: b}
}

func plan(t testing.TB, src string) *Plan {
	t.Helper()
	s, err := script.Parse("t.pkt", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const server = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
`

// TestTranslation holds that what the script says and what is on the wire differ as
// they must: the stack's numbers by its first SYN, its timestamps by the first seen.
func TestTranslation(t *testing.T) {
	f := &fake{infos: map[string]int64{"tcpi_snd_cwnd": 10}}
	f.sends = []Sent{
		send(t, passive, 0, "S. 4000000000:4000000000(0) ack 501 win 100 <mss 1460,TS val 777000 ecr 9,sackOK>"),
		send(t, passive, 200*time.Millisecond, "P. 4000000001:4000000011(10) ack 501 win 100 <nop,nop,TS val 777200 ecr 9>"),
	}
	_, err := Run(plan(t, "--tcp_ts_tick_usecs=1000\n"+server+`
+0 < S 500:500(0) win 1000 <mss 1000,TS val 9 ecr 0,sackOK>
+0 > S. 0:0(0) ack 501 <mss 1460,TS val 100 ecr 9,sackOK>
+.1 < . 501:501(0) ack 1 win 1000 <nop,nop,TS val 9 ecr 100>
+0 accept(3, ..., ...) = 7
+0 read(7, "hello", 5) = 5
+.1 > P. 1:11(10) ack 501 <nop,nop,TS val 300 ecr 9>
+0 < . 501:501(0) ack 11 win 1000 <nop,nop,TS val 9 ecr 300,sack 1:11>
+0 %{ assert tcpi_snd_cwnd == 10 }%
`), f, Config{StrictEnd: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range f.got {
		d, err := wire.Decode(b, false)
		if err != nil {
			t.Fatal(err)
		}
		if d.Tuple != passive.Reverse() {
			t.Errorf("injected on %v", d.Tuple)
		}
		d.Packet.IP = script.Unsaid()
		got = append(got, d.Packet.String()[2:])
	}
	want := []string{
		"S 500:500(0) win 1000 <mss 1000,TS val 9 ecr 0,sackOK>",
		". 501:501(0) ack 4000000001 win 1000 <nop,nop,TS val 9 ecr 777000>",
		". 501:501(0) ack 4000000011 win 1000 <nop,nop,TS val 9 ecr 777200,sack 4000000001:4000000011>",
	}
	for i := range got { // padding to a word
		got[i] = strings.TrimSuffix(strings.TrimSuffix(got[i], ">"), ",eol") + ">"
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("injected\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestVerdicts plays one exchange against stacks that get it wrong, each in one way.
func TestVerdicts(t *testing.T) {
	const src = server + `+0 < S 0:0(0) win 1000 <mss 1000>
+.5 > [ect0] S. 0:0(0) ack 1 win 100 <mss 1460,nop,nop,nop,nop>
`
	const right = "[ect0] S. 9:9(0) ack 1 win 100 <mss 1460,nop,nop,nop,nop>"
	at := 500 * time.Millisecond
	for _, c := range []struct {
		at         time.Duration
		tuple      wire.Tuple
		line, want string
		kind       Kind
	}{
		{at, passive, right, "", 0},
		{at + 4900*time.Microsecond, passive, right, "", 0}, // 1 % of 500 ms
		{at + 5100*time.Microsecond, passive, right, "the packet came at 505.1ms instead of 500ms (tolerance 5ms)", Timing},
		{at - 5100*time.Microsecond, passive, right, "the packet came at 494.9ms", Timing},
		{at + time.Second, passive, right, "no packet was sent until 605ms", Mismatch},
		{at, active, right, "no packet was sent", Mismatch},
		{at, passive, "S. 9:9(0) ack 1 win 100 <mss 1460,nop,nop,nop,nop>", "the ECN field differs", Mismatch},
		{at, passive, "[ect0] SP. 9:9(0) ack 1 win 100 <mss 1460,nop,nop,nop,nop>", "the flags are SP. instead of S.", Mismatch},
		{at, passive, "[ect0] S. 9:9(0) ack 2 win 100 <mss 1460,nop,nop,nop,nop>", "the acknowledgment number is 2 instead of 1", Mismatch},
		{at, passive, "[ect0] S. 9:9(0) ack 1 win 101 <mss 1460,nop,nop,nop,nop>", "the window is 101 instead of 100", Mismatch},
		{at, passive, "[ect0] S. 9:19(10) ack 1 win 100 <mss 1460,nop,nop,nop,nop>", "the payload has 10 bytes instead of 0", Mismatch},
		{at, passive, "[ect0] S. 9:9(0) ack 1 win 100 <mss 1461,nop,nop,nop,nop>", "the option mss 1461 is there instead of mss 1460", Mismatch},
		{at, passive, "[ect0] S. 9:9(0) ack 1 win 100 <mss 1460>", "the option nop is missing", Mismatch},
		{at, passive, "[ect0] S. 9:9(0) ack 1 win 100 <mss 1460,nop,nop,nop,nop,sackOK,nop,nop>", "the option sackOK is not expected", Mismatch},
	} {
		f := &fake{sends: []Sent{send(t, c.tuple, c.at, c.line)}}
		_, err := Run(plan(t, src), f, Config{StrictEnd: true})
		if c.want == "" {
			if err != nil {
				t.Errorf("%v %s: %v", c.at, c.line, err)
			}
			continue
		}
		var fail *Failure
		if !errors.As(err, &fail) || !strings.Contains(fail.Text, c.want) || fail.Kind != c.kind || fail.Pos.Line != 5 {
			t.Errorf("%v %s:\n%v\nwant %s", c.at, c.line, err, c.want)
		}
	}
	// What is left over counts with StrictEnd only.
	for _, strict := range []bool{false, true} {
		f := &fake{sends: []Sent{send(t, passive, at, right), send(t, passive, at, "[ect0] . 10:10(0) ack 1 win 100")}}
		if _, err := Run(plan(t, src), f, Config{StrictEnd: strict}); (err != nil) != strict {
			t.Errorf("StrictEnd %v: %v", strict, err)
		}
	}
}

// TestSegments holds that boundaries of segments count only if they are meant to.
func TestSegments(t *testing.T) {
	const head = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0)
+0 < S. 0:0(0) ack 1 win 1000
`
	syn := send(t, active, 0, "S 7:7(0) win 1")
	one := []Sent{syn, send(t, active, 0, "P. 8:3008(3000) ack 1 win 1")}
	three := []Sent{syn, send(t, active, 0, ". 8:1008(1000) ack 1 win 1"), send(t, active, 0, ". 1008:2008(1000) ack 1 win 1"), send(t, active, 0, "P. 2008:3008(1000) ack 1 win 1")}
	scriptOne := head + "+0 > P. 1:3001(3000) ack 1\n"
	scriptThree := head + "+0 > . 1:1001(1000) ack 1\n+0 > . 1001:2001(1000) ack 1\n+0 > P. 2001:3001(1000) ack 1\n"
	for _, c := range []struct {
		src    string
		sends  []Sent
		strict bool
		ok     bool
	}{
		{scriptOne, one, true, true}, {scriptThree, three, true, true},
		{scriptOne, three, false, true}, {scriptThree, one, false, true},
		{scriptOne, three, true, false}, {scriptThree, one, true, false},
		{scriptOne, three[:3], false, false},
	} {
		f := &fake{sends: append([]Sent(nil), c.sends...)}
		if _, err := Run(plan(t, c.src), f, Config{StrictSegments: c.strict, StrictEnd: true}); (err == nil) != c.ok {
			t.Errorf("strict %v: %v\n%s", c.strict, err, c.src)
		}
	}
}

func TestSwitches(t *testing.T) {
	sends := []Sent{send(t, active, 0, "PS 7:7(0) win 1 <nop,nop,sackOK,mss 1460>")}
	p := plan(t, "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 connect(3, ..., ...) = -1\n+0 > S 0:0(0) <mss 1460,sackOK,nop,nop>\n")
	if _, err := Run(p, &fake{sends: sends}, Config{IgnorePSH: true, IgnoreOptionOrder: true}); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{IgnorePSH: true}, {IgnoreOptionOrder: true}} {
		if _, err := Run(p, &fake{sends: sends}, c); err == nil {
			t.Errorf("%+v: no difference", c)
		}
	}
}

// TestBadScripts holds that a statement without meaning is a failure with its line.
func TestBadScripts(t *testing.T) {
	for _, c := range []struct {
		src, want string
		kind      Kind
	}{
		{"0 frobnicate(3) = 0", "the system call frobnicate is none", BadScript},
		{"0 listen(3) = 0", "listen takes 2 arguments, not 1", BadScript},
		{"0 listen(3, FROB) = 0", "FROB is no constant", BadScript},
		{"0 listen(3, 1) = 5", "the call returned 0", Call},
		{"0 bind(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr(\"x\")}, ...) = 0", `"x" is no IP address`, BadScript},
		{"0 read(3, ..., 99999999999) = 0", "a buffer of 99999999999 bytes", BadScript},
		{"0 read(3, \"jello\", 5) = 5", "other bytes were read", Call},
		{"0 socket(..., SOCK_STREAM, 0) = 3\n+0 connect(3, ..., ...) = -1 EAGAIN", "the call returned -1 EINPROGRESS", Call},
		{"0 %{ assert 1 == 2, 'no' }%", "the assertion 1 == 2 does not hold: no", Assertion},
		{"0 listen(3, 1) = 0\n+0 %{ assert ( }%", "expected a value", BadScript},
		{"0 %{ assert tcpi_rtt == 1 }%", "no TCP socket is open", BadScript},
		{"--define=X=1+1\n0 listen(3, X) = 0", "is no expression", BadScript},
	} {
		_, err := Run(plan(t, c.src), &fake{}, Config{})
		var f *Failure
		if !errors.As(err, &f) || f.Kind != c.kind || !strings.Contains(f.Text, c.want) {
			t.Errorf("%s: %v", c.src, err)
		}
	}
	// A machine that is too slow gives no verdict, by a kind of its own.
	_, err := Run(plan(t, "+.1 listen(3, 1) = 0"), &fake{late: 100 * time.Millisecond}, Config{})
	var f *Failure
	if !errors.As(err, &f) || f.Kind != Slow || !f.Doubtful() {
		t.Errorf("late: %v", err)
	}
}

func TestPrepare(t *testing.T) {
	p := plan(t, `--ip_version=ipv6 --local_ip=2001:db8::1 --mtu=1280 --tolerance_usecs=10 --bind_port=9 -D A=B
`+"`sysctl -q net.ipv4.tcp_sack=0`"+"\n0 listen(3, 1) = 0")
	if !p.IPv6 || p.Local.String() != "2001:db8::1/64" || p.MTU != 1280 || p.Tolerance != 10*time.Microsecond || p.BindPort != 9 || p.Defines["A"] != "B" {
		t.Errorf("%+v", p)
	}
	if v, _ := p.Settings.Get("net.ipv4.tcp_sack"); v != "0" {
		t.Errorf("%+v", p.Settings)
	}
	for _, src := range []string{"--mtu=x\n", "--ip_version=5\n", "--local_ip=::1\n", "--netmask_ip=255.0.255.0\n", "--tolerance_percent=-1\n", "--bind_port=0\n"} {
		s, err := script.Parse("t.pkt", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Prepare(s); err == nil {
			t.Errorf("%s was accepted", src)
		}
	}
}
