#!/bin/bash
# Boots a real Xen and a Linux dom0 under QEMU's emulator (no KVM needed) and runs
# this module's static binaries in dom0, against the kernel's own netback. In the
# quick mode dom0 is its own guest (backend-id 0), so neither xl nor a second kernel
# takes part.
#
#	netif/xen/xentest/run.sh              everything; exit status 0 if all passed
#	XENTEST_MODE=self|guest|all           self (the default): dom0 as its own guest.
#	                                      guest: a PV guest made by xl, whose kernel has
#	                                      no netfront, and which is taken away at the end
#	XENTEST_CACHE=DIR                     where packages and images go (default:
#	                                      ~/.cache/netduet-xen), about 250 MB
#	XENTEST_MIB=64                        how much goes through the echo server
#	XENTEST_MEM=MIB                       memory of the machine (448, with a guest 832)
#	XENTEST_LIMIT=900                     seconds for QEMU
#
# Needs Debian 12 or what has its packages: qemu-system-x86, cpio, gcc's libgcc_s and
# Go installed, and apt-get for the rest, which is downloaded and unpacked, not
# installed: a hypervisor would change the boot loader of this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=${XENTEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netduet-xen}
mode=${XENTEST_MODE:-self}
case $mode in
self) mem=448 ;;
guest | all) mem=832 ;;
*) echo "xentest: XENTEST_MODE is self, guest or all" >&2; exit 2 ;;
esac
mem=${XENTEST_MEM:-$mem} guestmem=192 # an initramfs may fill half of it
began=$SECONDS
say() { echo "xentest: [$((SECONDS - began)) s] $*"; }
die() { echo "xentest: $*" >&2; exit 2; }
for p in qemu-system-x86_64:qemu-system-x86 cpio:cpio go:golang gzip:gzip; do
	command -v "${p%%:*}" >/dev/null || die "${p%%:*} is missing: apt-get install --no-install-recommends ${p##*:}"
done
mkdir -p "$cache"

# --- packages: once
xen=4.17
if [ ! -e "$cache/unpacked-2" ]; then
	command -v apt-get >/dev/null || die "apt-get is missing: unpack the packages into $cache/root by hand"
	# The cloud kernel has no CONFIG_XEN_DOM0.
	kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	[ -n "$kernel" ] || die "apt knows no linux-image-amd64: apt-get update"
	rm -rf "$cache/debs" "$cache/root"
	mkdir -p "$cache/debs" "$cache/root"
	(cd "$cache/debs" && apt-get download -q -o Acquire::Retries=5 "$kernel" busybox-static xen-hypervisor-$xen-amd64 xen-utils-$xen \
		libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 \
		libxenmisc$xen libxenstore4 libxentoolcore1 libxentoollog1 libyajl2 >../download.log 2>&1) ||
		die "apt-get download failed: see $cache/download.log"
	for d in "$cache"/debs/*.deb; do
		case $d in
		*/linux-image-*) # of 400 MB only the kernel and a few modules
			dpkg-deb --fsys-tarfile "$d" | tar -x -C "$cache/root" --wildcards \
				'./boot/vmlinuz-*' '*/kernel/drivers/xen/*' '*/kernel/drivers/net/xen-net*' ;;
		*) dpkg -x "$d" "$cache/root" ;;
		esac
	done
	rm -rf "$cache/debs"
	touch "$cache/unpacked-2"
	say "packages unpacked in $cache"
fi
r=$cache/root
vmlinuz=$(ls "$r"/boot/vmlinuz-* | head -1)
# QEMU loads Xen by multiboot, and wants it unzipped.
gunzip -c "$r"/boot/xen-*-amd64.gz >"$cache/xen.elf"

# --- our binaries
(cd "$root" && CGO_ENABLED=0 go build -trimpath -o "$cache/probe" ./netif/xen/xentest/probe)
(cd "$root" && CGO_ENABLED=0 go build -trimpath -tags netdirect -o "$cache/echo" ./examples/echo)
(cd "$root" && CGO_ENABLED=0 go build -trimpath -tags netdirect -o "$cache/httpd" ./examples/httpd)
(cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags=-s -tags netsocket -o "$cache/netduet" ./cmd/netduet)
say "binaries built"

# --- dom0's initial file system
d=$cache/dom0
rm -rf "$d"
mkdir -p "$d/bin" "$d/modules" "$d/lib64" "$d/lib/x86_64-linux-gnu" "$d/usr/lib/xen-$xen/bin"
cp "$r/bin/busybox" "$d/bin/"
cp "$here/dom0-init" "$d/init"
cp "$cache/probe" "$cache/echo" "$cache/httpd" "$cache/netduet" "$d/"
for m in xenfs xen-privcmd xen-evtchn xen-gntalloc xen-gntdev xen-netback; do
	cp "$(find "$r/lib/modules" -name "$m.ko" | head -1)" "$d/modules/"
done
tools="xenstored"
if [ "$mode" != self ]; then
	tools="xenstored xenconsoled xen-init-dom0 xl"
	u=$cache/guest
	rm -rf "$u"
	mkdir -p "$u/bin" "$u/modules" "$d/guest" "$d/etc/xen/scripts"
	cp "$r/bin/busybox" "$u/bin/"
	cp "$here/guest-init" "$u/init"
	cp "$cache/probe" "$cache/echo" "$cache/netduet" "$u/"
	for m in xen-evtchn xen-gntalloc; do
		cp "$(find "$r/lib/modules" -name "$m.ko" | head -1)" "$u/modules/"
	done
	(cd "$u" && find . | cpio -o -H newc --quiet | gzip -1) >"$d/guest/initrd"
	cp "$vmlinuz" "$d/guest/vmlinuz"
	cp "$here/vif-xentest" "$d/etc/xen/scripts/"
fi
libs=$(for t in $tools; do
	cp "$r/usr/lib/xen-$xen/bin/$t" "$d/usr/lib/xen-$xen/bin/"
	LD_LIBRARY_PATH=$r/usr/lib/x86_64-linux-gnu ldd "$r/usr/lib/xen-$xen/bin/$t"
done | grep -o '/[^ ]*\.so[^ ]*' | sort -u)
# glibc loads libgcc_s by itself when a thread is cancelled.
libs="$libs $(ldconfig -p | grep -o '/[^ ]*x86_64[^ ]*libgcc_s.so.1' | head -1)"
for l in $libs; do
	case $l in
	*/ld-linux-x86-64.so.2) cp -L "$l" "$d/lib64/" ;;
	*) cp -L "$l" "$d/lib/x86_64-linux-gnu/" ;;
	esac
done
(cd "$d" && find . | cpio -o -H newc --quiet | gzip -1) >"$cache/dom0.img"
say "images built"

# --- run
# Emulation only: without -smap the first return to user space dies in QEMU 7.2, and
# without eager FPU switching programs see each other's registers. A comma in an
# argument of a multiboot module would have to be doubled.
log=$cache/console.log
dom0=$((mem - 128))
[ "$mode" = self ] || dom0=$((dom0 - guestmem))
: >"$log"
set +e
timeout -k 5 "${XENTEST_LIMIT:-900}" qemu-system-x86_64 -accel tcg -cpu max,-smap -smp 1 -m "$mem" \
	-machine pc -nodefaults -display none -no-reboot -serial "file:$log" \
	-kernel "$cache/xen.elf" \
	-append "com1=115200,8n1 console=com1 loglvl=warning guest_loglvl=warning dom0_mem=${dom0}M,max:${dom0}M spec-ctrl=eager-fpu" \
	-initrd "$vmlinuz console=hvc0 quiet loglevel=4 panic=1 mode=$mode guestmem=$guestmem mib=${XENTEST_MIB:-64},$cache/dom0.img"
status=$?
set -e
tr -d '\r' <"$log" | grep -a '^XENTEST' || true
say "QEMU ended with status $status"
tr -d '\r' <"$log" | grep -aq '^XENTEST RESULT PASS' && { say "passed"; exit 0; }
say "FAILED: see $log"
exit 1
