// Package conformance finds .pkt scripts and plays them: packet-level tests of a
// stack, in the language that the field writes them in. The scripts that belong to
// this project lie below scripts/, sorted by what they hold a stack to, and each
// names the section of the RFC it comes from. Every one of them passes on Linux, so
// that what is expected of our stack is not merely what our stack does.
//
// The parts are packages of their own: script is the language, py the blocks of
// Python in it, sysctl the set-up lines, wire the packets, player the interpreter,
// and kernel and direct the stacks it plays against.
package conformance
