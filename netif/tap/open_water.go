//go:build darwin || windows

package tap

import (
	"errors"
	"os"
	"runtime"
)

// open has one driver here: water.
func open(cfg *Config) (*Device, error) {
	if cfg.Driver == DriverNative {
		return nil, errors.New("tap: the native driver is Linux's; " + runtime.GOOS + " has the driver water")
	}
	return openWater(cfg)
}

// machineID returns what tells this machine from others and stays the same.
func machineID() string {
	host, _ := os.Hostname()
	return host
}
