// Package stacktest is the conformance suite of package stack: what every backend
// promises to the applications written against it. The host's kernel, through the
// socket backend, is the specification; the suite is proven on it first, and the
// other backends pass the same tests without an exception.
//
// It is not a test of protocols: it sees nothing but the common interface, and
// asserts what kernels promise, not how one of them is tuned. Packets are the
// business of package conformance.
//
// A backend runs it from a test of its own, which must not be parallel to others
// because goroutines are counted:
//
//	func TestStack(t *testing.T) {
//		stacktest.Run(t, stacktest.Env{New: func(t testing.TB, o stacktest.Options) *stacktest.Pair { … }})
//	}
package stacktest

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/netduet/netduet/stack"
)

// Host is one stack and an address of it that the other can reach.
type Host struct {
	Stack stack.Stack
	Addr  netip.Addr
}

// Pair is two stacks that reach each other. They may be the same network, as two
// sockets stacks of one host are: no test relies on a port of one being free on
// the other.
type Pair struct {
	A, B Host
}

// Options is what a test asks of the pair made for it.
type Options struct {
	// DNS, if set, is called when B is open and before A is made; A looks names up
	// with the servers that it returns.
	DNS func(b Host) []netip.AddrPort
}

// Env is a way to run a backend.
type Env struct {
	// New makes a fresh pair. The suite closes both stacks; what else the pair is
	// made of belongs to t.Cleanup. New also works outside a bubble when Virtual is
	// set.
	New func(t testing.TB, o Options) *Pair
	// Virtual runs the tests in bubbles of testing/synctest, one a test. All
	// goroutines and channels of a pair must be made by New.
	Virtual bool
	// GivesUp says that A's connection attempts end by themselves within seconds, as
	// a kernel can be tuned to; in virtual time they always may.
	GivesUp bool
	// Blackhole returns an address that A can send to and that never answers a
	// connection attempt. Tests that need what is missing here are left out, and Run
	// logs which.
	Blackhole func(t testing.TB, p *Pair) netip.AddrPort
	// Unreachable is an address that A has no route to: connecting to it fails with
	// ENETUNREACH at once.
	Unreachable netip.Addr
	// Absent is an address on A's link that nobody has: connecting to it fails with
	// EHOSTUNREACH once neighbour discovery has given up.
	Absent netip.Addr
	// Conns is how many connections the test of many opens at once; 0 means 200.
	Conns int
}

// test is one test of the suite.
type test struct {
	name string
	run  func(h *harness)
	// dns makes A resolve names with the suite's server on B.
	dns bool
	// need names what the test asks of Env beside New.
	need need
}

type need uint8

const (
	needBlackhole need = 1 << iota
	needUnreachable
	needAbsent
	// needGivesUp: it takes minutes, unless time or the kernel is tuned.
	needGivesUp
)

// missing returns what Env lacks of n, or "".
func (e *Env) missing(n need) string {
	switch {
	case n&needBlackhole != 0 && e.Blackhole == nil:
		return "an address that swallows connection attempts"
	case n&needUnreachable != 0 && !e.Unreachable.IsValid():
		return "an address without a route"
	case n&needAbsent != 0 && !e.Absent.IsValid():
		return "an address that nobody on the link has"
	case n&needGivesUp != 0 && !e.Virtual && !e.GivesUp:
		return "connection attempts that give up soon"
	}
	return ""
}

// Run runs the whole suite as subtests of t.
func Run(t *testing.T, env Env) {
	if env.Conns == 0 {
		env.Conns = 200
	}
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Conn", connTests()},
		{"Concurrent", concurrentTests()},
		{"Deadline", deadlineTests()},
		{"Close", closeTests()},
		{"HalfClose", halfCloseTests()},
		{"Ports", portTests()},
		{"Option", optionTests()},
		{"UDP", udpTests()},
		{"Names", nameTests()},
		{"HTTP", httpTests()},
		{"Error", errorTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				if what := env.missing(tt.need); what != "" {
					t.Logf("%s is left out: the environment has not got %s", tt.name, what)
					continue
				}
				t.Run(tt.name, func(t *testing.T) { runOne(t, &env, tt) })
			}
		})
	}
	t.Run("NetTest", func(t *testing.T) { runNetTest(t, &env) })
}

func runOne(t *testing.T, env *Env, tt test) {
	if env.Virtual {
		// The bubble ends when its goroutines have ended, and fails when one can't:
		// that is the test that nothing is left behind.
		synctest.Test(t, func(t *testing.T) { tt.run(newHarness(t, env, tt)) })
		return
	}
	checkGoroutines(t)
	tt.run(newHarness(t, env, tt))
}
