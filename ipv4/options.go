package ipv4

// Option types (RFC 791, section 3.1; RFC 2113 for the router alert). The top bit
// says that the option is copied into every fragment.
const (
	OptionEnd         = 0
	OptionNop         = 1
	OptionRecordRoute = 7
	OptionTimestamp   = 68
	OptionSecurity    = 130
	OptionLSRR        = 131
	OptionStreamID    = 136
	OptionSSRR        = 137
	OptionRouterAlert = 148

	optionCopied = 0x80
)

// NextOption returns the first option of opts, type and length bytes included, and
// what follows it. opt is empty at the end of the options. err is ErrOptions when
// the option doesn't fit.
//
// Since each call but the last takes at least one byte of at most MaxOptionsLen, a
// walk ends whatever the bytes.
func NextOption(opts []byte) (opt, rest []byte, err error) {
	if len(opts) == 0 || opts[0] == OptionEnd {
		return nil, nil, nil
	}
	if opts[0] == OptionNop {
		return opts[:1], opts[1:], nil
	}
	if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
		return nil, nil, ErrOptions
	}
	n := int(opts[1])
	return opts[:n], opts[n:], nil
}

// CheckOptions walks opts. It returns ErrSourceRoute for a source route, which a
// host must not act on and need not receive (RFC 7126, sections 4.3 and 4.4), and
// ErrOptions when the options or the pointers in them are malformed (RFC 1122,
// section 3.2.1.8: a bad option must not crash or hang anything). Options that only
// collect addresses or times on the way are no business of the receiving host's,
// and unknown ones are to be ignored.
func CheckOptions(opts []byte) error {
	for {
		opt, rest, err := NextOption(opts)
		if err != nil || len(opt) == 0 {
			return err
		}
		switch opt[0] {
		case OptionLSRR, OptionSSRR:
			return ErrSourceRoute
		case OptionRecordRoute:
			// Type, length, pointer (from 4), addresses.
			if len(opt) < 3 || opt[2] < 4 || (len(opt)-3)%4 != 0 {
				return ErrOptions
			}
		case OptionTimestamp:
			// Type, length, pointer (from 5), overflow and flags, timestamps.
			if len(opt) < 4 || opt[2] < 5 {
				return ErrOptions
			}
		case OptionRouterAlert:
			if len(opt) != 4 {
				return ErrOptions
			}
		}
		opts = rest
	}
}

// appendCopied appends those options of opts that go into every fragment (RFC 791,
// section 3.1, "copied flag"), padded to a multiple of 4 bytes. opts must be well
// formed; what isn't ends the walk.
func appendCopied(b, opts []byte) []byte {
	start := len(b)
	for {
		opt, rest, err := NextOption(opts)
		if err != nil || len(opt) == 0 {
			break
		}
		if opt[0]&optionCopied != 0 {
			b = append(b, opt...)
		}
		opts = rest
	}
	for (len(b)-start)%4 != 0 {
		b = append(b, OptionEnd)
	}
	return b
}
