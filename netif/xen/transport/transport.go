// Package transport is what a paravirtual driver needs of the hypervisor: granted
// pages, event channels and the xenstore. Nothing above it knows whether that is
// Linux's /dev/xen (package devxen), several domains in one process (package
// memory), or a bare-metal kernel's own hypercalls.
//
// It is not a hypercall interface: what all drivers would otherwise repeat
// (waiting for an event, retrying a transaction, coalescing watches) is behind it.
//
// All methods are safe for concurrent use. Close of a Transport releases whatever
// was made through it.
package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// PageSize is the unit of grants.
const PageSize = 4096

// Domain is a domain's number; 0 is the first, which usually has the back ends.
type Domain uint16

// Ref is a reference into the granting domain's grant table, to be told to the
// domain that the page is granted to.
type Ref uint32

// Port is one end of an event channel, in the numbering of the domain that has it.
type Port uint32

// Errors that callers tell apart.
var (
	// ErrAgain: a transaction met a change by somebody else. Update repeats it.
	ErrAgain = errors.New("xenstore: the transaction must be repeated")
	// ErrNotExist: no such path. It is fs.ErrNotExist.
	ErrNotExist = fs.ErrNotExist
	// ErrPermission: the domain may not. It is fs.ErrPermission.
	ErrPermission = fs.ErrPermission
	// ErrGrants: the domain, or the driver in its kernel, has no grants left.
	ErrGrants = errors.New("xen: no grants left")
	// ErrBadGrant: no such grant, not for us, or not for that use.
	ErrBadGrant = errors.New("xen: no such grant to us")
	// ErrClosed: the object, or its transport, was closed.
	ErrClosed = fs.ErrClosed
)

// Transport is one domain's way to its hypervisor.
type Transport interface {
	// Grant allocates zeroed pages that peer may map or copy, and write to if
	// writable.
	Grant(peer Domain, pages int, writable bool) (Region, error)
	// Map maps one page that peer granted to us, for reading and writing.
	Map(peer Domain, ref Ref) (Region, error)
	// Copy carries out all of ops, each with a result of its own. An error means
	// that none was tried.
	Copy(peer Domain, ops []CopyOp) error
	// Listen makes an event channel whose other end peer may bind.
	Listen(peer Domain) (Channel, error)
	// Bind joins the channel that peer listens on at port.
	Bind(peer Domain, port Port) (Channel, error)
	// Store is the xenstore, with this domain's permissions.
	Store() Store
	// Close releases everything.
	Close() error
}

// Region is memory shared with another domain: whole pages, which that domain may
// change at any time.
type Region interface {
	// Bytes is the memory, PageSize for each page. It must not be touched after
	// Close.
	Bytes() []byte
	// Refs are the grants, one for each page, in the order of the pages.
	Refs() []Ref
	// Close ends the sharing. Pages that the other domain still holds are not used
	// for anything else until it lets go of them. A second Close does nothing.
	Close() error
}

// CopyOp is a copy between a page granted to us and our own memory. It stays
// inside the page.
type CopyOp struct {
	Ref    Ref
	Offset uint16
	// Local is our memory; its length is that of the copy.
	Local []byte
	// Write copies from Local to the granted page, else the other way.
	Write bool
	// Err is the result: nil, ErrBadGrant, or why the range is wrong. Copy sets it.
	Err error
}

// Check validates what needs no hypervisor.
func (o *CopyOp) Check() error {
	if int(o.Offset)+len(o.Local) > PageSize {
		return fmt.Errorf("xen: a copy of %d bytes at %d crosses its page", len(o.Local), o.Offset)
	}
	return nil
}

// Channel is our end of an event channel. An event carries nothing: several that
// come before the handler runs are one, and a handler may run for none.
type Channel interface {
	// Port is our port, to be told to the other end.
	Port() Port
	// Notify makes an event at the other end. On a channel that the other end has
	// left it does nothing.
	Notify() error
	// Handle sets the handler, once, and lets events in; one that came before is
	// delivered then. The handler must not block, call Notify or hold locks that
	// callers of Notify hold: it may run in the goroutine of the other end's Notify.
	// It never runs twice at once, and an event that comes while it runs makes it run
	// again. It does not run after Close has returned.
	Handle(func())
	// Close unbinds the port. A second Close does nothing. It must not be called from
	// the handler.
	Close() error
}

// View is the xenstore as it is at once, or as a transaction sees it. Paths are
// absolute, or relative to the domain's home, /local/domain/N.
type View interface {
	Read(path string) (string, error)
	// List returns the names below path, sorted.
	List(path string) ([]string, error)
	// Write sets the value at path, and makes what is missing above it.
	Write(path, value string) error
	// Remove removes path and all below. What is not there is no error.
	Remove(path string) error
}

// Store is the xenstore.
type Store interface {
	View
	// Begin starts a transaction.
	Begin() (Tx, error)
	// Watch reports changes at path and below. The first is reported at once, as the
	// xenstore does, so that whoever reads after each report misses nothing.
	Watch(path string) (Watch, error)
}

// Tx is a transaction: nobody sees its writes before Commit, and then all.
type Tx interface {
	View
	// Commit ends the transaction. ErrAgain means that nothing was written.
	Commit() error
	// Abort ends it without effect; after Commit it does nothing.
	Abort()
}

// Watch is one registered watch.
type Watch interface {
	// C holds a token if something changed since the last one was taken.
	C() <-chan struct{}
	Close() error
}

// maxTries bounds how often Update repeats a transaction. Real stores refuse a few
// in a row under load; a hundred mean that somebody writes all the time.
const maxTries = 100

// Update runs f in a transaction, again and again while others interfere.
func Update(s Store, f func(View) error) error {
	for range maxTries {
		tx, err := s.Begin()
		if err != nil {
			return err
		}
		if err := f(tx); err != nil {
			tx.Abort()
			if errors.Is(err, ErrAgain) {
				continue
			}
			return err
		}
		if err := tx.Commit(); !errors.Is(err, ErrAgain) {
			return err
		}
	}
	return fmt.Errorf("xenstore: a transaction was refused %d times: somebody writes there all the time", maxTries)
}

// ReadUint reads a decimal number of at most the given number of bits.
func ReadUint(v View, path string, bits int) (uint64, error) {
	s, err := v.Read(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("xenstore: %s is %.40q, not a number of %d bits", path, s, bits)
	}
	return n, nil
}

// ReadFlag reports whether path is there and "1": features that are not mentioned
// are not there.
func ReadFlag(v View, path string) bool {
	s, err := v.Read(path)
	return err == nil && s == "1"
}
