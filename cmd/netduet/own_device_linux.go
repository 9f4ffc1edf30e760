package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

// Some devices cannot be opened here and passed on as descriptors: a vif of Xen's is
// many mappings and event channels, and packet sockets are made for the addresses
// that a stack has. The program opens those itself, and keeps the right to, and no
// other.

// ownScheme returns the scheme of a device that the program opens itself, or "" if
// dev is not one.
func ownScheme(dev string) string {
	scheme, _, ok := strings.Cut(dev, ":")
	if ok && (scheme == "xen" || scheme == "packet") {
		return scheme
	}
	return ""
}

// xenDevices are what a front end opens. They are root's unless somebody gave them
// away.
var xenDevices = [...]string{"/dev/xen/xenbus", "/dev/xen/evtchn", "/dev/xen/gntalloc"}

// permit checks that the device can be there at all, and adds to who the rights
// without which the program could not open it. note says what the program keeps.
func (c *runConfig) permit(who identity) (_ identity, note string, err error) {
	switch c.scheme {
	case "xen":
		if err := devxen.Check(); err != nil {
			return who, "", fmt.Errorf("run: %w", err)
		}
		if who.uid > 0 && c.user == "" && !mayOpen(who, xenDevices[:]) {
			// Handing the devices to the user would outlast the program; being root
			// without capabilities does not.
			who.uid, who.gid = 0, 0
			return who, "the program is root without capabilities, since /dev/xen is root's", nil
		}
	case "packet":
		if who.uid >= 0 {
			who.keep = 1 << unix.CAP_NET_RAW
			return who, "the program keeps CAP_NET_RAW, and nothing else", nil
		}
	}
	return who, "", nil
}

// mayOpen reports whether the files' modes let the user read and write them. Groups
// but the user's own are given up before the program starts.
func mayOpen(who identity, files []string) bool {
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return false
		}
		rights := info.Mode().Perm()
		switch {
		case int(st.Uid) == who.uid:
			rights >>= 6
		case int(st.Gid) == who.gid:
			rights >>= 3
		}
		if rights&6 != 6 {
			return false
		}
	}
	return true
}
