// Package netns makes Linux network namespaces for the demo and for tests, and
// sets up what lives in them: links, addresses, routes, taps, sysctls. It talks to
// the kernel directly (clone flags, rtnetlink, ioctl), so no other program need be
// installed, and it works without root wherever the kernel lets a user make a user
// namespace.
//
// It never changes the namespace of the running process, because a namespace
// belongs to a thread and goroutines move between threads: who wants to be inside
// one re-executes itself with the attributes that [Attr] returns. The functions
// that set things up therefore act on the namespace the process was started in.
//
// It is not a container runtime: the file system, the process table and the users
// stay the machine's. Package netnstest beside it wraps a test.
//
// Everything in it exists on Linux only; elsewhere the package is empty.
package netns
