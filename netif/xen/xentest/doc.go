// Package xentest runs this module's programs on a real Xen: run.sh boots the
// hypervisor and a Linux dom0 under QEMU's emulator, from Debian's packages, and
// dom0-init runs the probe and the echo example there against the kernel's own
// netback.
//
// It is no part of an ordinary `go test ./...`: the test has the build tag xentest,
// since it needs packages and a minute.
//
//	go test -tags xentest -v ./netif/xen/xentest
package xentest
