package devices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/netduet/netduet/netif"
)

// capture opens a device and, if file is not empty, records its frames there. The
// device comes first, so that one that cannot be opened leaves no file behind.
func capture(ctx context.Context, file string, open opener) (netif.Device, error) {
	dev, err := open(ctx)
	if err != nil || file == "" {
		return dev, err
	}
	f, err := captureFile(file)
	if err == nil {
		var c *netif.Captured
		if c, err = netif.Capture(dev, f, netif.CaptureOptions{}); err == nil {
			return &recorded{c, f}, nil
		}
		f.Close()
	}
	dev.Close()
	return nil, fmt.Errorf("pcap=%s: %w", file, err)
}

// captureFile creates the file, or takes the inherited descriptor N of "fd:N",
// which is written from where it stands: a parent may have several programs record
// into one file, one after the other, since sections of pcapng may follow each
// other.
func captureFile(file string) (*os.File, error) {
	number, inherited := strings.CutPrefix(file, "fd:")
	if !inherited {
		return os.Create(file)
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || n < 3 {
		return nil, fmt.Errorf("%q is not an inherited descriptor, 3 or above", number)
	}
	f := os.NewFile(uintptr(n), file)
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not open: the parent passes it on", n)
	}
	if info.Mode()&os.ModeDevice != 0 {
		return nil, fmt.Errorf("descriptor %d is a device, not a file", n)
	}
	return f, nil
}

// recorded closes the file with the device.
type recorded struct {
	*netif.Captured
	file *os.File
}

// Close implements netif.Device. It returns the errors of the device, the recording
// and the file.
func (r *recorded) Close() error {
	err := r.Captured.Close()
	if e := r.file.Close(); !errors.Is(e, os.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}
