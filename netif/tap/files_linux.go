package tap

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Files opens the tap that cfg describes and returns its name and descriptors, one
// a queue, without driving it: for a supervisor that hands them to a process with
// less privilege, which opens them as Config.FDs. MAC and MTU are then that
// process's to choose; here they and Driver are ignored.
func Files(ctx context.Context, cfg Config) (name string, files []*os.File, err error) {
	if err := cfg.validate(); err != nil {
		return "", nil, err
	}
	if err := validName(cfg.Name); err != nil {
		return "", nil, err
	}
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	fds, err := attach(&cfg)
	if err != nil {
		return "", nil, err
	}
	k, err := examine(fds[0])
	if err == nil && cfg.Persistent {
		if err = unix.IoctlSetInt(fds[0], unix.TUNSETPERSIST, 1); err != nil {
			err = fmt.Errorf("tap: making %s persistent: %w", k.name, err)
		}
	}
	if err != nil {
		closeAll(fds)
		return "", nil, err
	}
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "tap"))
	}
	return k.name, files, nil
}
