package devxen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Numbers of gntalloc and gntdev (linux: include/uapi/xen): size, kind, number. The
// size in that of ALLOC counts one reference whatever the request's count is.
const (
	gntallocAlloc   = 24<<16 | 'G'<<8 | 5
	gntallocDealloc = 16<<16 | 'G'<<8 | 6
	gntdevMap       = 24<<16 | 'G'<<8 // number 0
	gntdevUnmap     = 16<<16 | 'G'<<8 | 1
	gntdevCopy      = unsafe.Sizeof(copyRequest{})<<16 | 'G'<<8 | 8

	gntallocWritable = 1
	// maxCopy bounds the operations of one call; the kernel splits them further.
	maxCopy = 256

	copySourceRef = 1 // GNTCOPY_source_gref
	copyDestRef   = 2 // GNTCOPY_dest_gref
)

// region is mapped memory of gntalloc or gntdev.
type region struct {
	t       *Transport
	conn    syscall.RawConn
	bytes   []byte
	refs    []transport.Ref
	index   uint64
	release uintptr // the ioctl that ends it
	once    sync.Once
}

func (r *region) Bytes() []byte         { return r.bytes }
func (r *region) Refs() []transport.Ref { return r.refs }

// Close implements transport.Region. gntalloc keeps pages that the other domain
// still has mapped until it lets go.
func (r *region) Close() error {
	var err error
	r.once.Do(func() {
		r.t.forget(r)
		if r.bytes != nil {
			err = unix.Munmap(r.bytes)
		}
		arg := [16]byte{}
		binary.LittleEndian.PutUint64(arg[0:], r.index)
		binary.LittleEndian.PutUint32(arg[8:], uint32(len(r.refs)))
		if _, e := ioctl(r.conn, r.release, unsafe.Pointer(&arg[0])); err == nil && e != nil {
			err = fmt.Errorf("xen: giving pages back: %w", e)
		}
	})
	return err
}

// mmap maps the region's pages.
func (r *region) mmap() error {
	var err error
	if e := r.conn.Control(func(fd uintptr) {
		r.bytes, err = unix.Mmap(int(fd), int64(r.index), len(r.refs)*transport.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}); e != nil {
		err = transport.ErrClosed
	}
	if err == nil && !r.t.keep(r) {
		err = transport.ErrClosed
	}
	if err != nil {
		r.Close()
		return fmt.Errorf("xen: mapping pages: %w", err)
	}
	return nil
}

// Grant implements transport.Transport.
func (t *Transport) Grant(peer transport.Domain, pages int, writable bool) (transport.Region, error) {
	if pages < 1 {
		return nil, fmt.Errorf("xen: granting %d pages", pages)
	}
	conn, err := t.file(&t.gntalloc, "gntalloc", "xen-gntalloc")
	if err != nil {
		return nil, err
	}
	arg := make([]byte, 24+4*pages)
	binary.LittleEndian.PutUint16(arg[0:], uint16(peer))
	if writable {
		binary.LittleEndian.PutUint16(arg[2:], gntallocWritable)
	}
	binary.LittleEndian.PutUint32(arg[4:], uint32(pages))
	if _, err := ioctl(conn, gntallocAlloc, unsafe.Pointer(&arg[0])); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) {
			return nil, transport.ErrGrants
		}
		return nil, fmt.Errorf("xen: granting %d pages: %w", pages, err)
	}
	r := &region{t: t, conn: conn, index: binary.LittleEndian.Uint64(arg[8:]), release: gntallocDealloc}
	for i := range pages {
		r.refs = append(r.refs, transport.Ref(binary.LittleEndian.Uint32(arg[16+4*i:])))
	}
	if err := r.mmap(); err != nil {
		return nil, err
	}
	return r, nil
}

// Map implements transport.Transport.
func (t *Transport) Map(peer transport.Domain, ref transport.Ref) (transport.Region, error) {
	conn, err := t.file(&t.gntdev, "gntdev", "xen-gntdev")
	if err != nil {
		return nil, err
	}
	var arg [24]byte
	binary.LittleEndian.PutUint32(arg[0:], 1)
	binary.LittleEndian.PutUint32(arg[16:], uint32(peer))
	binary.LittleEndian.PutUint32(arg[20:], uint32(ref))
	if _, err := ioctl(conn, gntdevMap, unsafe.Pointer(&arg[0])); err != nil {
		return nil, fmt.Errorf("xen: mapping a page of domain %d: %w", peer, err)
	}
	r := &region{t: t, conn: conn, refs: []transport.Ref{ref}, index: binary.LittleEndian.Uint64(arg[8:]), release: gntdevUnmap}
	if err := r.mmap(); err != nil {
		// The grant is looked at only now.
		return nil, fmt.Errorf("%w: %w", transport.ErrBadGrant, err)
	}
	return r, nil
}

// segment is struct gntdev_grant_copy_segment. An end is a pointer, or a reference,
// an offset and a domain in the same eight bytes.
type segment struct {
	source, dest  uint64
	length, flags uint16
	status        int16
	_             [2]byte
}

// copyRequest is struct ioctl_gntdev_grant_copy.
type copyRequest struct {
	count uint32
	segs  unsafe.Pointer
}

func foreign(peer transport.Domain, o *transport.CopyOp) uint64 {
	return uint64(o.Ref) | uint64(o.Offset)<<32 | uint64(peer)<<48
}

// copier is scratch memory for Copy.
type copier struct {
	segs [maxCopy]segment
	pin  runtime.Pinner
}

// Copy implements transport.Transport.
func (t *Transport) Copy(peer transport.Domain, ops []transport.CopyOp) error {
	conn, err := t.file(&t.gntdev, "gntdev", "xen-gntdev")
	if err != nil {
		return err
	}
	c := t.copiers.Get().(*copier)
	defer t.copiers.Put(c)
	for len(ops) > 0 {
		n := min(len(ops), maxCopy)
		if err := c.run(conn, peer, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

func (c *copier) run(conn syscall.RawConn, peer transport.Domain, ops []transport.CopyOp) error {
	defer c.pin.Unpin()
	n := 0
	for i := range ops {
		o := &ops[i]
		if o.Err = o.Check(); o.Err != nil || len(o.Local) == 0 {
			continue
		}
		// The kernel is given addresses of memory that must not go away meanwhile.
		p := &o.Local[0]
		c.pin.Pin(p)
		local, far := uint64(uintptr(unsafe.Pointer(p))), foreign(peer, o)
		s := segment{source: far, dest: local, length: uint16(len(o.Local)), flags: copySourceRef}
		if o.Write {
			s.source, s.dest, s.flags = local, far, copyDestRef
		}
		c.segs[n] = s
		n++
	}
	if n == 0 {
		return nil
	}
	arg := copyRequest{count: uint32(n), segs: unsafe.Pointer(&c.segs[0])}
	_, err := ioctl(conn, gntdevCopy, unsafe.Pointer(&arg))
	runtime.KeepAlive(c)
	if err != nil {
		return fmt.Errorf("xen: copying: %w", err)
	}
	n = 0
	for i := range ops {
		o := &ops[i]
		if o.Err != nil || len(o.Local) == 0 {
			continue
		}
		if c.segs[n].status != 0 {
			o.Err = transport.ErrBadGrant
		}
		n++
	}
	return nil
}
