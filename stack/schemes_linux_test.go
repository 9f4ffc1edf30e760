package stack

import (
	"strings"
	"testing"

	"github.com/netduet/netduet/netif/devices"
)

// The list of schemes that Validate knows, on every backend, is that of the
// drivers. An unknown parameter makes devices.Open refuse before it opens.
func TestDeviceSchemes(t *testing.T) {
	for _, scheme := range append(deviceSchemes(), "nosuch") {
		_, err := devices.Open(t.Context(), scheme+":3?nosuchparameter=1", devices.Options{})
		if err == nil {
			t.Fatalf("%s: a device with an unknown parameter was opened", scheme)
		}
		if unknown := strings.Contains(err.Error(), "unknown scheme"); unknown != (scheme == "nosuch") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	// The message for an unknown one lists them all.
	_, err := devices.Open(t.Context(), "nosuch:3", devices.Options{})
	for _, scheme := range deviceSchemes() {
		if !strings.Contains(err.Error(), scheme+":") {
			t.Errorf("netif/devices does not offer %s: %v", scheme, err)
		}
	}
	if n := strings.Count(err.Error(), `:`) - 3; n > len(deviceSchemes()) {
		t.Errorf("netif/devices offers more than %v: %v", deviceSchemes(), err)
	}
}
