package devices

import (
	"strings"
	"testing"
)

// The form of "xen:0" is looked at before anything is opened; what is missing on a
// machine that is no Xen domain is said in one line.
func TestXenStrings(t *testing.T) {
	for device, want := range map[string]string{
		"xen:":             "not the number of a vif",
		"xen:eth0":         "not the number of a vif",
		"xen:-1":           "not the number of a vif",
		"xen:65536":        "not the number of a vif",
		"xen:0?queues=0":   "1 to 65535",
		"xen:0?speed=9":    `unknown parameter "speed": xen has pcap, queues`,
		"xen:0?queues=999": "xen: ",
		"xen:60000":        "xen: ",
	} {
		_, err := Open(t.Context(), device, Options{})
		if err == nil {
			t.Errorf("%s was opened", device)
			continue
		}
		if s := err.Error(); !strings.Contains(s, want) || strings.Contains(s, "\n") {
			t.Errorf("%s: %q does not say %q", device, s, want)
		}
	}
}
