package devices

import (
	"context"
	"runtime"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	s, err := parse("tap:tap0?driver=water&queues=2&persist=1&pcap=a=b?c")
	if err != nil {
		t.Fatal(err)
	}
	if s.scheme != "tap" || s.argument != "tap0" || s.text("driver") != "water" || s.number("queues") != 2 ||
		!s.flag("persist") || s.flag("vnet") || s.text("pcap") != "a=b?c" || s.rest() != nil {
		t.Errorf("%+v", s)
	}
	s, _ = parse("fd:3,14")
	if fds := s.descriptors(); len(fds) != 2 || fds[0] != 3 || fds[1] != 14 || s.rest() != nil {
		t.Errorf("descriptors %v, %v", fds, s.err)
	}
}

// What cannot be meant so is refused before anything is opened, in one line that
// says what to write.
func TestBadStrings(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the schemes are Linux's")
	}
	for device, want := range map[string]string{
		"":                             `"tap:tap0"`,
		"tap0":                         `"tap:tap0"`,
		"tap:":                         "names nothing",
		"eth:eth0":                     `unknown scheme "eth": this platform has "tap:tap0", "fd:3", "packet:eth0" and "xen:0"`,
		"tap:tap0?":                    "key=value",
		"tap:tap0?vnet":                "key=value",
		"tap:tap0?vnet=":               "key=value",
		"tap:tap0?=1":                  "key=value",
		"tap:tap0?vnet=yes":            "neither 0 nor 1",
		"tap:tap0?vnet=1&vnet":         "key=value",
		"tap:a?vnet=1&vnet=1":          "twice",
		"tap:tap0?queues=0":            "1 to 65535",
		"tap:tap0?queues=many":         "1 to 65535",
		"tap:tap0?speed=9":             `unknown parameter "speed": tap has driver, offload, pcap, persist, queues, vnet`,
		"tap:tap0?driver=best":         "unknown driver",
		"tap:tap\n0":                   "printable",
		"tap:tap\x000":                 "printable",
		"tap:a-name-too-long0":         "longer than 15",
		"fd:":                          "not a descriptor",
		"fd:-3":                        "not a descriptor",
		"fd:3;4":                       "not a descriptor",
		"fd:3,":                        "not a descriptor",
		"fd:99999999999":               "not a descriptor",
		"fd:1":                         "standard",
		"fd:3,3":                       "twice",
		"fd:3?vnet=1":                  `unknown parameter "vnet": fd has offload, pcap`,
		"tap:a?vnet=0&offload=1":       "needs the header",
		"tap:a?offload=2":              "neither 0 nor 1",
		"tap:a?offload=1&driver=water": "no virtio header",
		"packet:":                      `"packet:eth0"`,
		"packet:no-such?queues=0":      "1 to 65535",
		"packet:no-such":               "no interface no-such",
		"packet:lo":                    "not an Ethernet",
		"packet:x?addr=10.0.0.0/8":     "not an IP address",
		"packet:x?addr=10.0.0.1,":      "not an IP address",
		"packet:x?addr=fe80::1%1":      "not an IP address",
		"packet:x?vnet=1":              `packet has addr, pcap, promisc, queues`,
		"fd:1000":                      "not open",
	} {
		d, err := Open(context.Background(), device, Options{})
		if err == nil {
			d.Close()
			t.Errorf("%q opened", device)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", device, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tap:tap0", "tap:tap0?driver=water&vnet=1", "fd:3,4?pcap=x", "a:b:c?d=e=f", "::??&&=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, device string) {
		s, err := parse(device)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("more than a line: %q", err)
			}
			return
		}
		// Put together again, it is the same string.
		again := s.scheme + ":" + s.argument
		for i, p := range s.params {
			again += map[bool]string{true: "?", false: "&"}[i == 0] + p.key + "=" + p.value
		}
		if again != device {
			t.Fatalf("%q became %q", device, again)
		}
		for _, fd := range s.descriptors() {
			if fd < 3 {
				t.Fatalf("descriptor %d", fd)
			}
		}
		s.flag("vnet")
		s.number("queues")
		s.addresses("addr")
		if err := s.rest(); err != nil && strings.ContainsAny(err.Error(), "\n\x00") {
			t.Fatalf("more than a line: %q", err)
		}
	})
}
