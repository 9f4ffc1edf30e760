package player

import (
	"fmt"
	"strings"

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
}

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
