package dnsclient

import (
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxUDPSize is the size of answer offered with EDNS0: it crosses the networks
	// there are without fragments, which are easier to forge (RFC 9715, section 3
	// advises up to 1,400 bytes; package net and DNS Flag Day 2020 use this).
	maxUDPSize = 1232

	// maxChain bounds the CNAME records followed within one answer. Public
	// resolvers give up at 8 to 16.
	maxChain = 16

	// maxAddrs bounds the addresses taken from one answer.
	maxAddrs = 256
)

// newQuery packs q as a recursive query whose identifier is zero.
func newQuery(q dnsmessage.Question, edns bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{RecursionDesired: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if edns {
		if err := b.StartAdditionals(); err != nil {
			return nil, err
		}
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(maxUDPSize, dnsmessage.RCodeSuccess, false); err != nil {
			return nil, err
		}
		if err := b.OPTResource(h, dnsmessage.OPTResource{}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// answers reports whether msg is a response to the query with this identifier
// and question, and whether it was cut short. Only then does anything else in it
// count (RFC 5452, section 9.1).
func answers(msg []byte, id uint16, q dnsmessage.Question) (ok, truncated bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return false, false
	}
	got, err := p.Question()
	if err != nil || got.Type != q.Type || got.Class != q.Class || foldWire(got.Name) != foldWire(q.Name) {
		return false, false
	}
	if p.SkipQuestion() != dnsmessage.ErrSectionDone {
		return false, false
	}
	return true, h.Truncated
}

// foldWire is a name as a comparable value, ASCII case folded (RFC 4343).
func foldWire(n dnsmessage.Name) [255]byte {
	var f [255]byte
	for i, b := range n.Data[:n.Length] {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		f[i] = b
	}
	return f
}

// reply is what a response says to a question for addresses.
type reply struct {
	rcode dnsmessage.RCode // with the extension of EDNS0
	addrs []netip.Addr     // without duplicates, at most maxAddrs
	lame  bool             // neither an answer nor a server that could find one
}

// verdict returns nil if there are addresses, and otherwise what that means:
// errNoSuchHost if the name or its addresses do not exist, another error if
// another server may know better.
func (r reply) verdict() error {
	switch {
	case r.rcode == dnsmessage.RCodeNameError:
		return errNoSuchHost
	case r.rcode == dnsmessage.RCodeServerFailure:
		return errServFail
	case r.rcode != dnsmessage.RCodeSuccess:
		return errMisbehaving
	case len(r.addrs) > 0:
		return nil
	case r.lame:
		return errLameReferral
	}
	return errNoSuchHost
}

// readReply reads a message for which answers holds. The error is errMalformed
// or errInvalid. Any bytes are safe to give it.
func readReply(msg []byte, q dnsmessage.Question) (reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || p.SkipAllQuestions() != nil {
		return reply{}, errMalformed
	}
	type address struct {
		owner [255]byte
		ip    netip.Addr
	}
	var found []address
	aliases := make(map[[255]byte][255]byte)
	empty := true
	for {
		rh, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return reply{}, errMalformed
		}
		empty = false
		owner := foldWire(rh.Name)
		switch {
		case rh.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		case rh.Type == dnsmessage.TypeCNAME && len(aliases) < maxChain:
			var r dnsmessage.CNAMEResource
			if r, err = p.CNAMEResource(); err == nil {
				if _, twice := aliases[owner]; !twice {
					aliases[owner] = foldWire(r.CNAME)
				}
			}
		case rh.Type == dnsmessage.TypeA && q.Type == dnsmessage.TypeA && len(found) < maxAddrs:
			var r dnsmessage.AResource
			if r, err = p.AResource(); err == nil && rh.Length != 4 {
				err = errMalformed // the parser reads the address and trusts the rest
			}
			if err == nil {
				found = append(found, address{owner, netip.AddrFrom4(r.A)})
			}
		case rh.Type == dnsmessage.TypeAAAA && q.Type == dnsmessage.TypeAAAA && len(found) < maxAddrs:
			var r dnsmessage.AAAAResource
			if r, err = p.AAAAResource(); err == nil && rh.Length != 16 {
				err = errMalformed
			}
			if err == nil {
				found = append(found, address{owner, netip.AddrFrom16(r.AAAA)})
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return reply{}, errMalformed
		}
	}

	rcode, more := extendedRCode(p, h.RCode)
	r := reply{rcode: rcode, lame: empty && !more && !h.Authoritative && !h.RecursionAvailable}
	owner := foldWire(q.Name)
	for range maxChain {
		next, ok := aliases[owner]
		if !ok {
			break
		}
		owner = next
	}
	for _, a := range found {
		// A mapped address in an AAAA record would be an IPv4 destination that
		// nobody asked for.
		if a.owner == owner && !a.ip.Is4In6() && !slices.Contains(r.addrs, a.ip) {
			r.addrs = append(r.addrs, a.ip)
		}
	}
	return r, nil
}

// extendedRCode combines the header's code with the bits in an OPT record
// (RFC 6891, section 6.1.3), and reports whether there is any additional record.
func extendedRCode(p dnsmessage.Parser, rcode dnsmessage.RCode) (dnsmessage.RCode, bool) {
	if p.SkipAllAuthorities() != nil {
		return rcode, false
	}
	more := false
	for {
		rh, err := p.AdditionalHeader()
		if err != nil {
			return rcode, more
		}
		more = true
		if rh.Type == dnsmessage.TypeOPT {
			return rh.ExtendedRCode(rcode), more
		}
		if p.SkipAdditional() != nil {
			return rcode, more
		}
	}
}
