// Package trial holds tests of whole programs against the Linux kernel over a real
// tap: what a user would see from outside. It has no code of its own.
package trial
