package tap

import (
	"errors"
	"os"
	"strings"
)

// open chooses the driver: the native one unless the configuration asks for water.
func open(cfg *Config) (*Device, error) {
	if cfg.Driver == DriverWater {
		return openWater(cfg)
	}
	return openNative(cfg)
}

// machineID returns what tells this machine from others and stays the same.
func machineID() string {
	for _, file := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(file); err == nil {
			if id := strings.TrimSpace(string(b)); id != "" {
				return id
			}
		}
	}
	host, _ := os.Hostname()
	return host
}

// validName refuses what the kernel refuses (dev_valid_name), with a reason.
func validName(name string) error {
	switch {
	case len(name) > 15:
		return errors.New("tap: the interface name " + name + " is longer than 15 bytes")
	case name == "." || name == "..", strings.ContainsAny(name, "/: \t\n\r\v\f\x00"):
		return errors.New("tap: an interface name has no slash, colon or space: " + strings.ToValidUTF8(name, "?"))
	case strings.Contains(name, "%") && (strings.Count(name, "%") != 1 || !strings.Contains(name, "%d")):
		return errors.New(`tap: the only pattern in an interface name is "%d", once: ` + name)
	}
	return nil
}
