//go:build !linux

package stacktest_test

import (
	"net/netip"
	"testing"

	"github.com/netduet/netduet/stack/stacktest"
)

// blackhole is nil: what a full queue does differs between systems.
func blackhole() func(t testing.TB, p *stacktest.Pair) netip.AddrPort { return nil }
