package player

import (
	"fmt"
	"strings"
	"time"

	"github.com/netduet/netduet/conformance/script"
)

// Kind sorts failures.
type Kind uint8

const (
	Mismatch  Kind = iota // a packet that differs, is missing, or is one too many
	Timing                // the right packet or return, at the wrong time
	Call                  // a system call that returned something else
	Assertion             // an assert in a %{ }% block
	BadScript             // a statement with no meaning
	Slow                  // the machine, or the backend, did not keep up: no verdict
)

func (k Kind) String() string {
	return [...]string{"packet", "timing", "system call", "assertion", "script", "slow machine"}[k]
}

// Failure is the first divergence of a run.
type Failure struct {
	Pos              script.Pos
	Kind             Kind
	Text             string
	Expected, Actual string   // in script syntax, or empty
	Trace            []string // the packets and calls so far, in script syntax
	// Lag is how late the player itself had been at worst: after more than a few
	// milliseconds the failure may be the machine's, whatever its kind.
	Lag time.Duration
	// Late says that a call of another goroutine had not returned, or not done its work,
	// when it should have: its turn may have been late, and not the stack.
	Late bool
}

// Doubtful tells whether a failure in real time may be the machine's and not the
// stack's.
func (f *Failure) Doubtful() bool {
	return f.Kind == Timing || f.Kind == Slow || f.Lag > doubt || f.Late
}

// tolerated notes a mismatch that --non_fatal excuses, and reports whether it does.
func (r *run) tolerated(k Kind, text string) bool {
	switch k {
	case Mismatch, Timing:
		if r.event.Packet == nil && !r.plan.NonFatalCalls || r.event.Packet != nil && !r.plan.NonFatalPackets {
			return false
		}
	case Call:
		if !r.plan.NonFatalCalls {
			return false
		}
	default:
		return false
	}
	r.res.Notes = append(r.res.Notes, fmt.Sprintf("line %d: %v, which is not fatal: %s", r.event.Pos.Line, k, text))
	return true
}

const doubt = 4 * time.Millisecond

func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: %s: %s", f.Pos.File, f.Pos.Line, f.Kind, f.Text)
	if f.Expected != "" {
		fmt.Fprintf(&b, "\n    expected: %s", f.Expected)
	}
	if f.Actual != "" {
		fmt.Fprintf(&b, "\n      actual: %s", f.Actual)
	}
	if len(f.Trace) > 0 {
		b.WriteString("\n  so far:")
		for _, t := range f.Trace {
			b.WriteString("\n    " + t)
		}
	}
	return b.String()
}

// Summary is the failure in one line.
func (f *Failure) Summary() string {
	s := fmt.Sprintf("%s:%d: %s: %s", f.Pos.File, f.Pos.Line, f.Kind, f.Text)
	if f.Actual != "" {
		s += "; got " + f.Actual
	}
	return s
}
