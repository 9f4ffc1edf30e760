// Package dnsclient is a DNS stub resolver over a stack's own connections
// (RFC 1034, section 5.3.1; RFC 1035; EDNS0, RFC 6891; TCP, RFC 7766).
//
// It asks recursive servers for addresses and trusts their answer as far as it
// belongs to the question. It is no recursive resolver, no cache, and does not
// validate DNSSEC. It never asks the host: neither /etc/hosts nor resolv.conf is
// read; what a program would find there stands in [Config].
//
// Invariants: an answer counts only if it comes over the connection that asked,
// carries the query's unpredictable identifier and repeats its question
// (RFC 5452, section 9); addresses count only if their owner is the name asked
// for or the end of a chain of CNAME records that starts there; nothing in a
// message can make it loop, panic or hold more than [maxAddrs] addresses; every
// lookup ends within its context, and leaves no goroutine or connection behind.
package dnsclient
