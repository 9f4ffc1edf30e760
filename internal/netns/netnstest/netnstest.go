// Package netnstest runs a test inside a network namespace of its own, so that a
// test may make taps and addresses without touching the machine's. Like package
// netns it has content on Linux only: tests that use it stand in files with the
// suffix _linux_test.go.
package netnstest
