package main

import (
	"os"

	"github.com/netduet/netduet/netif"
)

// record puts a recorder in front of the device if there is a file.
func record(d netif.Device, file *os.File) (netif.Device, error) {
	if file == nil {
		return d, nil
	}
	return netif.Capture(d, file, netif.CaptureOptions{})
}
