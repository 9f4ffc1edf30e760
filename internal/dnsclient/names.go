package dnsclient

import "strings"

// validName reports whether s is a domain name in the form that package net
// looks up: letters, digits, hyphens and underscores in labels of 1 to 63 bytes
// that neither begin nor end with a hyphen, not digits alone, 253 bytes without
// the trailing dot (RFC 1035, sections 2.3.1 and 2.3.4; underscores as in SRV
// names). The root "." is one.
func validName(s string) bool {
	if s == "." {
		return true
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	letters := false
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			switch b := label[i]; {
			case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', b == '_', b == '-':
				letters = true
			case '0' <= b && b <= '9':
			default:
				return false
			}
		}
	}
	return letters
}

// foldName is the form in which names are compared: RFC 4343 folds ASCII alone,
// and validName lets nothing else through.
func foldName(s string) string {
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// neverAsk reports whether a folded name lies under a top-level domain that has
// no hosts and whose lookup would only tell the server what somebody looks for:
// onion (RFC 7686, section 2) and invalid (RFC 6761, section 6.4).
func neverAsk(folded string) bool {
	tld := folded[strings.LastIndexByte(folded, '.')+1:]
	return tld == "onion" || tld == "invalid"
}

// candidates returns the rooted names that host may stand for, in the order to
// try them.
func (c *Client) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	rooted := host + "."
	dotted := strings.Count(host, ".") >= c.cfg.Ndots
	names := make([]string, 0, 1+len(c.search))
	if dotted {
		names = append(names, rooted)
	}
	for _, domain := range c.search {
		if fqdn := rooted + domain; len(fqdn) <= 254 && !neverAsk(foldName(fqdn)) {
			names = append(names, fqdn)
		}
	}
	if !dotted {
		names = append(names, rooted)
	}
	return names
}
