package netnstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// MountTun puts a /dev/net of the test's own over the machine's, in which tun has
// the given permissions; 0 leaves it out. The test runs with Options.Mount.
func MountTun(t *testing.T, mode uint32) {
	t.Helper()
	// What is mounted here must not spread to the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatalf("netns: %v", err)
	}
	if err := unix.Mount("netduet", "/dev/net", "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatalf("netns: mounting over /dev/net: %v", err)
	}
	t.Cleanup(func() { unix.Unmount("/dev/net", unix.MNT_DETACH) })
	if mode == 0 {
		return
	}
	const tun = "/dev/net/tun"
	if err := unix.Mknod(tun, unix.S_IFCHR|mode, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatalf("netns: %v", err)
	}
	if err := os.Chmod(tun, os.FileMode(mode)); err != nil { // past the umask
		t.Fatalf("netns: %v", err)
	}
}

// Nobody is the user without any right that AsNobody becomes.
const Nobody = 65534

// AsNobody runs the named test of this binary as user and group Nobody, in the
// namespaces of the caller, with env added to the environment. The caller is root.
func AsNobody(t *testing.T, name string, env ...string) {
	t.Helper()
	// The test binary lies in a directory of root's: pass a copy.
	dir, err := os.MkdirTemp("", "netduet-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "test")
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run", "^"+name+"$", "-test.v", "-test.count=1")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody},
		Pdeathsig:  syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as user %d with %q: %v\n%s", Nobody, env, err, out)
	}
}
