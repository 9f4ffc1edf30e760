package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Programs run without privilege: this process, started again as "unprivileged",
// gives up users, groups and capabilities on one thread and then becomes the
// program. (SysProcAttr can change the user, but neither the capability bounding
// set nor no_new_privs, and in a user namespace the user stays root.)

const (
	cmdUnprivileged = "unprivileged"
	nobody          = 65534
)

// identity is who the program runs as; -1 leaves it. keep is the set of the only
// capabilities it has.
type identity struct {
	uid, gid int
	keep     uint64
}

// spawnIdentity chooses the user of a program that this process starts. name is a
// user, or empty: whoever called sudo, else nobody; without privilege, ourselves.
func spawnIdentity(name string) (identity, error) {
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			if u, err = user.LookupId(name); err != nil {
				return identity{}, fmt.Errorf("there is no user %q on this machine", name)
			}
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return identity{uid: uid, gid: gid}, errors.Join(err1, err2)
	}
	if os.Geteuid() != 0 || !mapsNobody() {
		return identity{uid: -1, gid: -1}, nil
	}
	uid, err1 := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err1 == nil && err2 == nil && uid > 0 && gid > 0 {
		return identity{uid: uid, gid: gid}, nil
	}
	return identity{uid: nobody, gid: nobody}, nil
}

// mapsNobody reports whether this user namespace has other users than its root.
func mapsNobody() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true
	}
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return false
	}
	n, err := strconv.ParseUint(f[2], 10, 64)
	return err == nil && n > nobody
}

// unprivileged returns the command that runs exe without privilege as who.
func unprivileged(who identity, exe string, args ...string) *exec.Cmd {
	argv := append([]string{cmdUnprivileged, strconv.Itoa(os.Getpid()), strconv.Itoa(who.uid), strconv.Itoa(who.gid), strconv.FormatUint(who.keep, 16), exe}, args...)
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// becomeUnprivileged is that command's inside. It returns only when it failed.
func becomeUnprivileged(args []string) error {
	if len(args) < 5 {
		return fmt.Errorf("%s is for netduet's own use", cmdUnprivileged)
	}
	parent, err0 := strconv.Atoi(args[0])
	uid, err1 := strconv.Atoi(args[1])
	gid, err2 := strconv.Atoi(args[2])
	keep, err3 := strconv.ParseUint(args[3], 16, 64)
	if err := errors.Join(err0, err1, err2, err3); err != nil {
		return err
	}
	exe, args := args[4], args[5:]
	runtime.LockOSThread() // credentials are a thread's; exec keeps the calling thread's
	// Opened with the rights we still have: the program may lie where its user cannot go.
	fd, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: exe, Err: err}
	}
	for c := 0; c <= 63; c++ {
		if keep>>c&1 != 0 {
			continue
		}
		// EINVAL past the last capability, EPERM when there is none to lose.
		if unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0) != nil {
			break
		}
	}
	unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	// What is kept has to outlast the change of users; the next exec clears this.
	unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	if uid >= 0 {
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("giving up groups: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
			return fmt.Errorf("becoming group %d: %w", gid, e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			return fmt.Errorf("becoming user %d: %w", uid, e)
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var kept [2]unix.CapUserData
	for i := range kept {
		set := uint32(keep >> (32 * i))
		kept[i] = unix.CapUserData{Effective: set, Permitted: set, Inheritable: set}
	}
	if err := unix.Capset(&hdr, &kept[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	for c := range uintptr(64) {
		if keep>>c&1 == 0 {
			continue
		}
		// Ambient, since the program's file gives it none.
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fmt.Errorf("keeping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// Changing the user has cleared it.
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	if os.Getppid() != parent {
		return errors.New("the parent is gone")
	}
	err = execFD(fd, append([]string{exe}, args...), os.Environ())
	if err == unix.ENOENT { // a script: its interpreter has to find it by name
		err = unix.Exec(exe, append([]string{exe}, args...), os.Environ())
	}
	return fmt.Errorf("starting %s: %w", filepath.Base(exe), err)
}

// execFD is execveat(2) on an open file.
func execFD(fd int, argv, env []string) error {
	a, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	e, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	var empty [1]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&e[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

// statusOf returns the exit status that a shell would report.
func statusOf(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
