package dnsclient

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func hostQuestion(t dnsmessage.Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName("host.example."), Type: t, Class: dnsmessage.ClassINET}
}

// header packs a DNS header with these counts.
func header(id, flags, qd, an, ns, ar uint16) []byte {
	var b []byte
	for _, v := range []uint16{id, flags, qd, an, ns, ar} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

const wireName = "\x04host\x07example\x00"

// hostile are messages that a careless reader loops on, over-reads or
// over-allocates for.
func hostile() map[string][]byte {
	question := wireName + "\x00\x01\x00\x01"
	with := func(an uint16, tail string) []byte {
		return append(header(7, 0x8180, 1, an, 0, 0), question+tail...)
	}
	self := "\xc0\x1e" // the owner name points at itself: 12 + 18
	return map[string][]byte{
		"counts without records":      append(header(7, 0x8180, 1, 65535, 65535, 65535), question...),
		"compression loop":            with(1, self+"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"),
		"pointer forward":             with(1, "\xff\xff\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"),
		"address of three bytes":      with(1, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x03\x01\x02\x03"),
		"address of five bytes":       with(1, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x05\x01\x02\x03\x04\x05"),
		"length beyond the end":       with(1, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04"),
		"header cut short":            with(1, "\xc0\x0c\x00\x01\x00"),
		"alias that points at itself": with(1, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x2a"),
	}
}

func TestHostileMessages(t *testing.T) {
	q := hostQuestion(dnsmessage.TypeA)
	for name, msg := range hostile() {
		if ok, _ := answers(msg, 7, q); !ok {
			t.Errorf("%s: the test's own message does not answer", name)
		}
		if r, err := readReply(msg, q); err != errMalformed {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestBounds(t *testing.T) {
	// Address records of one name, as many as a message holds.
	const records = 4000
	msg := append(header(7, 0x8180, 1, records, 0, 0), wireName+"\x00\x01\x00\x01"...)
	for i := range records {
		msg = append(msg, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00"...)
		msg = binary.BigEndian.AppendUint16(msg, uint16(i))
	}
	r, err := readReply(msg, hostQuestion(dnsmessage.TypeA))
	if err != nil || len(r.addrs) != maxAddrs {
		t.Errorf("%d addresses, %v", len(r.addrs), err)
	}
}

func FuzzReply(f *testing.F) {
	q := question{id: 7, name: "host.example.", qtype: dnsmessage.TypeA}
	for _, msg := range hostile() {
		f.Add(msg)
	}
	f.Add(respond(q, "host.example. CNAME a.example.; a.example. A 192.0.2.1"))
	f.Add(respond(q, ":badvers"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, qtype := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
			q := hostQuestion(qtype)
			answers(msg, 7, q)
			r, err := readReply(msg, q)
			if err != nil {
				continue
			}
			if len(r.addrs) > maxAddrs {
				t.Errorf("%d addresses", len(r.addrs))
			}
			for _, a := range r.addrs {
				if a.Is4() != (qtype == dnsmessage.TypeA) || !a.IsValid() || a.Is4In6() {
					t.Errorf("address %v for %v", a, qtype)
				}
			}
			if r.verdict() == nil && len(r.addrs) == 0 {
				t.Error("success without addresses")
			}
		}
	})
}

// FuzzForward gives the resolver's own connection any query.
func FuzzForward(f *testing.F) {
	for _, name := range []string{"localhost.", "x.invalid.", "host.example."} {
		query, err := newQuery(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}, true)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(query)
	}
	c, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		msg, err := c.forward(t.Context(), query)
		if err != nil {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(msg)
		if err != nil || !h.Response || h.ID != binary.BigEndian.Uint16(query) {
			t.Errorf("answer %x to %x: %v", msg, query, err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"host.example", ".", "a..b", "-a", "1.2", "_x._tcp.example."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !validName(s) {
			return
		}
		c := Client{cfg: Config{Ndots: 1}, search: []string{"example."}}
		for _, fqdn := range c.candidates(s) {
			if _, err := dnsmessage.NewName(fqdn); err != nil {
				t.Errorf("%q: %v", fqdn, err)
			}
			if _, err := newQuery(dnsmessage.Question{Name: dnsmessage.MustNewName(fqdn), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}, true); err != nil {
				t.Errorf("%q does not pack: %v", fqdn, err)
			}
		}
	})
}
