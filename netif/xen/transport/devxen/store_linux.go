package devxen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Messages of the xenstore (xen/io/xs_wire.h).
const (
	xsDirectory  = 1
	xsRead       = 2
	xsWatch      = 4
	xsUnwatch    = 5
	xsBegin      = 6
	xsEnd        = 7
	xsWrite      = 11
	xsRemove     = 13
	xsWatchEvent = 15
	xsError      = 16

	maxPayload = 4096
)

// message is one message.
type message struct {
	kind, tx uint32
	body     []byte
}

func (m *message) encode() []byte {
	b := make([]byte, 16, 16+len(m.body))
	binary.LittleEndian.PutUint32(b[0:], m.kind)
	binary.LittleEndian.PutUint32(b[8:], m.tx)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(m.body)))
	return append(b, m.body...)
}

// decode reads one message.
func decode(r io.Reader) (message, error) {
	var h [16]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return message{}, err
	}
	n := binary.LittleEndian.Uint32(h[12:])
	if n > maxPayload {
		return message{}, fmt.Errorf("xenstore: a message of %d bytes", n)
	}
	m := message{kind: binary.LittleEndian.Uint32(h[0:]), tx: binary.LittleEndian.Uint32(h[8:]), body: make([]byte, n)}
	_, err := io.ReadFull(r, m.body)
	return m, err
}

// store speaks to the xenstore: one request at a time, whose reply the reading
// goroutine hands over, while it hands watch events to their watches itself.
type store struct {
	conn    io.ReadWriteCloser
	replies chan message
	ended   chan struct{} // closed when the reading goroutine has ended

	asking sync.Mutex // one request at a time

	mu      sync.Mutex
	watches map[string]*watch // by token
	tokens  uint64
}

func openStore() (*store, error) {
	f, err := device("xenbus", "xenfs")
	if err != nil {
		return nil, err
	}
	return newStore(f), nil
}

func newStore(conn io.ReadWriteCloser) *store {
	s := &store{conn: conn, replies: make(chan message), ended: make(chan struct{}), watches: make(map[string]*watch)}
	go s.read()
	return s
}

func (s *store) close() error {
	err := s.conn.Close()
	<-s.ended
	return err
}

func (s *store) read() {
	defer close(s.ended)
	for {
		m, err := decode(s.conn)
		if err != nil {
			s.mu.Lock()
			for _, w := range s.watches {
				w.report()
			}
			s.mu.Unlock()
			return
		}
		if m.kind == xsWatchEvent {
			if parts := strings.Split(string(m.body), "\x00"); len(parts) >= 2 {
				s.mu.Lock()
				if w := s.watches[parts[1]]; w != nil {
					w.report()
				}
				s.mu.Unlock()
			}
			continue
		}
		s.replies <- m
	}
}

// named returns the errors that callers tell apart.
func named(errno string) error {
	switch errno {
	case "ENOENT":
		return transport.ErrNotExist
	case "EACCES", "EPERM":
		return transport.ErrPermission
	case "EAGAIN":
		return transport.ErrAgain
	}
	return nil
}

// ask sends a request and returns its reply.
func (s *store) ask(kind, tx uint32, what string, body string) (string, error) {
	if len(body) > maxPayload {
		return "", fmt.Errorf("xenstore: %.80s: %d bytes are too many", what, len(body))
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	select {
	case <-s.ended:
		return "", fmt.Errorf("xenstore: %.80s: %w", what, transport.ErrClosed)
	default:
	}
	m := message{kind: kind, tx: tx, body: []byte(body)}
	// The kernel collects what is written until a message is whole.
	if _, err := s.conn.Write(m.encode()); err != nil {
		return "", fmt.Errorf("xenstore: %.80s: %w", what, err)
	}
	var r message
	select {
	case r = <-s.replies:
	case <-s.ended:
		return "", fmt.Errorf("xenstore: %.80s: %w", what, transport.ErrClosed)
	}
	text := string(r.body)
	switch r.kind {
	case kind:
		return text, nil
	case xsError:
		name := strings.TrimRight(text, "\x00")
		if err := named(name); err != nil {
			return "", fmt.Errorf("xenstore: %.80s: %w", what, err)
		}
		return "", fmt.Errorf("xenstore: %.80s: %.40s", what, name)
	}
	return "", fmt.Errorf("xenstore: %.80s: a reply of kind %d", what, r.kind)
}

// view is the store as a transaction sees it; 0 is none.
type view struct {
	s  *store
	id uint32
}

func (v view) Read(path string) (string, error) { return v.s.ask(xsRead, v.id, path, path+"\x00") }

func (v view) List(path string) ([]string, error) {
	text, err := v.s.ask(xsDirectory, v.id, path, path+"\x00")
	if err != nil || text == "" {
		return nil, err
	}
	names := strings.Split(strings.TrimRight(text, "\x00"), "\x00")
	slices.Sort(names)
	return names, nil
}

func (v view) Write(path, value string) error {
	_, err := v.s.ask(xsWrite, v.id, path, path+"\x00"+value)
	return err
}

func (v view) Remove(path string) error {
	_, err := v.s.ask(xsRemove, v.id, path, path+"\x00")
	if errors.Is(err, transport.ErrNotExist) {
		return nil
	}
	return err
}

func (s *store) Read(path string) (string, error)   { return view{s, 0}.Read(path) }
func (s *store) List(path string) ([]string, error) { return view{s, 0}.List(path) }
func (s *store) Write(path, value string) error     { return view{s, 0}.Write(path, value) }
func (s *store) Remove(path string) error           { return view{s, 0}.Remove(path) }

// tx is a transaction.
type tx struct {
	view
	done bool
}

func (s *store) Begin() (transport.Tx, error) {
	text, err := s.ask(xsBegin, 0, "transaction", "\x00")
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(strings.TrimRight(text, "\x00"), 10, 32)
	if err != nil || id == 0 {
		return nil, fmt.Errorf("xenstore: transaction %.40q", text)
	}
	return &tx{view: view{s, uint32(id)}}, nil
}

func (t *tx) end(how string) error {
	if t.done {
		return transport.ErrClosed
	}
	t.done = true
	_, err := t.s.ask(xsEnd, t.id, "transaction", how+"\x00")
	return err
}

func (t *tx) Commit() error { return t.end("T") }
func (t *tx) Abort()        { t.end("F") }

// watch is a transport.Watch.
type watch struct {
	s           *store
	path, token string
	c           chan struct{}
}

func (w *watch) report() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

func (w *watch) C() <-chan struct{} { return w.c }

func (s *store) Watch(path string) (transport.Watch, error) {
	s.mu.Lock()
	s.tokens++
	w := &watch{s: s, path: path, token: strconv.FormatUint(s.tokens, 10), c: make(chan struct{}, 1)}
	s.watches[w.token] = w
	s.mu.Unlock()
	if _, err := s.ask(xsWatch, 0, path, path+"\x00"+w.token+"\x00"); err != nil {
		s.mu.Lock()
		delete(s.watches, w.token)
		s.mu.Unlock()
		return nil, err
	}
	return w, nil
}

func (w *watch) Close() error {
	_, err := w.s.ask(xsUnwatch, 0, w.path, w.path+"\x00"+w.token+"\x00")
	w.s.mu.Lock()
	delete(w.s.watches, w.token)
	w.s.mu.Unlock()
	return err
}
