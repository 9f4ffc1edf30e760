// Package sysctl turns the shell lines by which a .pkt script sets a stack up into
// assignments of sysctls, and those into a neutral configuration: what the kernel
// player writes below /proc/sys, another stack reads from [Config].
//
// It is not a shell. It knows the forms that scripts use (sysctl -q -w a=b, echo x >
// /proc/sys/…, a set-up script by name or path) and runs nothing. What it does not
// know it notes, because most such lines (tc, ip, modprobe, a sleep) do not change
// what a stack sends.
package sysctl
