//go:build !race

package xen_test

const race = false
