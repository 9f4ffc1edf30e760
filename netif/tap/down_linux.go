package tap

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isDown reports whether a frame was lost because the link is down.
func isDown(err error) bool { return errors.Is(err, unix.EIO) }
