package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

// vif is dom0's own: it is both ends.
func vif() xen.Vif {
	return xen.Vif{Frontend: 0, Backend: 0, Index: 0, MAC: netif.MAC{0x00, 0x16, 0x3e, 0x09, 0x00, 0x02}, MTU: 1500}
}

// plug does what a toolstack and its hotplug script do.
func plug([]string) error {
	t, err := devxen.Open()
	if err != nil {
		return err
	}
	defer t.Close()
	v := vif()
	if err := v.Plug(t.Store()); err != nil {
		return err
	}
	const name = "vif0.0"
	for n := 0; ; n++ {
		if _, err := os.Stat("/sys/class/net/" + name); err == nil {
			break
		}
		if n == 600 {
			return fmt.Errorf("netback made no %s", name)
		}
		time.Sleep(100 * time.Millisecond)
	}
	// netback's own 32 frames would overflow with the first burst.
	if err := os.WriteFile("/sys/class/net/"+name+"/tx_queue_len", []byte("1000"), 0); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"ip", "addr", "add", "10.9.0.1/24", "dev", name},
		{"ip", "link", "set", name, "up"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
	}
	// Without this the back end never connects.
	if err := t.Store().Write(v.BackendPath()+"/hotplug-status", "connected"); err != nil {
		return err
	}
	keys, err := t.Store().List(v.BackendPath())
	fmt.Println("the back end has", keys)
	return err
}

// write writes one key of the xenstore.
func write(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("write PATH VALUE")
	}
	t, err := devxen.Open()
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Store().Write(args[0], args[1])
}
