// Package interop runs large third-party programs over every backend: what works
// over package net must work unchanged. It is a module of its own so that their
// dependencies do not become those of the stack's users.
package interop
