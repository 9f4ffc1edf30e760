package player

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/netduet/netduet/conformance/script"
)

// differ compares a packet of the stack with the expected one, both in the script's
// numbers, and returns what differs first, or "".
func (r *run) differ(want, got *script.Packet) string {
	if s := differIP(want.IP, got.IP); s != "" {
		return s
	}
	switch {
	case want.TCP != nil && got.TCP != nil:
		return r.differTCP(want.TCP, got.TCP)
	case want.UDP != nil && got.UDP != nil:
		if want.UDP.Len != got.UDP.Len {
			return fmt.Sprintf("the payload has %d bytes instead of %d", got.UDP.Len, want.UDP.Len)
		}
		return ""
	case want.ICMP != nil && got.ICMP != nil:
		return differICMP(want.ICMP, got.ICMP)
	}
	return "another protocol"
}

func differIP(want, got script.IPInfo) string {
	switch {
	case want.ECN == script.ECT01 && got.ECN != script.ECT0 && got.ECN != script.ECT1,
		want.ECN != script.ECNUnsaid && want.ECN != script.ECT01 && want.ECN != got.ECN:
		return "the ECN field differs"
	case want.TOS >= 0 && want.TOS != got.TOS:
		return fmt.Sprintf("the TOS is 0x%02x instead of 0x%02x", got.TOS, want.TOS)
	case want.TTL >= 0 && want.TTL != got.TTL:
		return fmt.Sprintf("the TTL is %d instead of %d", got.TTL, want.TTL)
	case want.FlowLabel >= 0 && want.FlowLabel != got.FlowLabel:
		return fmt.Sprintf("the flow label is 0x%x instead of 0x%x", got.FlowLabel, want.FlowLabel)
	}
	return ""
}

func (r *run) differTCP(want, got *script.TCP) string {
	wf, gf := want.Flags, got.Flags
	if r.cfg.IgnorePSH {
		wf, gf = wf&^script.PSH, gf&^script.PSH
	}
	switch {
	case wf != gf:
		return fmt.Sprintf("the flags are %v instead of %v", got.Flags, want.Flags)
	case want.Seq != got.Seq:
		return fmt.Sprintf("the sequence number is %d instead of %d", got.Seq, want.Seq)
	case want.Len != got.Len:
		return fmt.Sprintf("the payload has %d bytes instead of %d", got.Len, want.Len)
	case want.Flags&script.ACK != 0 && want.Ack != got.Ack:
		return fmt.Sprintf("the acknowledgment number is %d instead of %d", got.Ack, want.Ack)
	case want.Win >= 0 && want.Win != got.Win:
		return fmt.Sprintf("the window is %d instead of %d", got.Win, want.Win)
	case want.Urg >= 0 && want.Urg != max(got.Urg, 0):
		return fmt.Sprintf("the urgent pointer is %d instead of %d", max(got.Urg, 0), want.Urg)
	case want.AnyOpts:
		return ""
	}
	w, g := want.Opts, got.Opts
	if r.cfg.IgnoreOptionOrder {
		w, g = inOrder(w), inOrder(g)
	}
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			return fmt.Sprintf("the option %v is not expected", g[i])
		case i >= len(g):
			return fmt.Sprintf("the option %v is missing", w[i])
		case !sameOption(w[i], g[i]):
			return fmt.Sprintf("the option %v is there instead of %v", g[i], w[i])
		}
	}
	return ""
}

// inOrder sorts options by kind and drops the padding between them.
func inOrder(opts []script.TCPOption) []script.TCPOption {
	var list []script.TCPOption
	for _, o := range opts {
		if o.Kind != script.OptNOP && o.Kind != script.OptEOL {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b script.TCPOption) int { return int(a.Kind) - int(b.Kind) })
	return list
}

func sameOption(want, got script.TCPOption) bool {
	return want.Kind == got.Kind && want.Num == got.Num &&
		(want.AnyVal || want.Val == got.Val) && (want.AnyEcr || want.Ecr == got.Ecr) &&
		slices.Equal(want.Blocks, got.Blocks) && bytes.Equal(want.Data, got.Data) && slices.Equal(want.Counters, got.Counters)
}

func differICMP(want, got *script.ICMP) string {
	wt, _ := script.ICMPType(want.V6, want.Type)
	gt, _ := script.ICMPType(got.V6, got.Type)
	wc, _ := script.ICMPCode(want.V6, want.Type, want.Code)
	gc, _ := script.ICMPCode(got.V6, got.Type, got.Code)
	switch {
	case want.V6 != got.V6 || wt != gt || wc != gc:
		return "another ICMP message"
	case want.MTU >= 0 && want.MTU != got.MTU:
		return fmt.Sprintf("the MTU is %d instead of %d", got.MTU, want.MTU)
	case want.Echo != nil && (got.Echo == nil || *want.Echo != *got.Echo):
		return "another packet inside"
	}
	return ""
}

// mergeable tells whether a segment of data begins the expected one, so that the
// rest may follow in further segments.
func mergeable(want, got *script.Packet) bool {
	w, g := want.TCP, got.TCP
	return w != nil && g != nil && g.Len > 0 && g.Len < w.Len && g.Seq == w.Seq &&
		g.Flags&^script.PSH == w.Flags&^(script.PSH|script.FIN)
}

// splittable tells whether a segment of data holds the expected one and more.
func splittable(want, got *script.Packet) bool {
	w, g := want.TCP, got.TCP
	return w != nil && g != nil && w.Len > 0 && g.Len > w.Len && g.Seq == w.Seq &&
		g.Flags&^(script.PSH|script.FIN) == w.Flags&^script.PSH
}
