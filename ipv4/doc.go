// Package ipv4 is the Internet Protocol, version 4 (RFC 791), without I/O: headers
// and their options, the address tests that a host owes (RFC 1122), identification
// values, fragmentation and reassembly.
//
// It is not an engine: it has no interfaces, no routes (package route) and no
// sockets, and knows the transports above it by number only.
//
// [Header] is a decoded header, not a view: the fields of one that Parse returned
// are validated, and reading them never fails. Slices in it and payloads alias the
// packet. Parse functions never panic, whatever the bytes; Encode methods write
// into the caller's slice, return the number of bytes written, and panic when it
// is shorter than that, which is a bug of the caller's.
//
// Nothing here is safe for concurrent use unless it says so.
package ipv4
