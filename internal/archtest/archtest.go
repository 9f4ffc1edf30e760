// Package archtest holds the tests of the module's architecture: which package
// may import which, and what the pure packages may not do. It has no code of its
// own; the rules stand in its tests, which read the sources for every system and
// every build tag at once. What a build links is tested in package stack.
package archtest
