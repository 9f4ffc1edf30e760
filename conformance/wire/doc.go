// Package wire turns packets of the .pkt language into IP packets and back. It is
// strict about what it reads (lengths, checksums, options), because what it reads is
// the output of the stack under test, and it writes whatever a script asks for,
// sensible or not.
//
// It knows nothing about connections: sequence numbers, timestamps and ports are
// those of the wire.
package wire
