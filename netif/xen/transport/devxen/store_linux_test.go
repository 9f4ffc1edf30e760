package devxen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

// daemon speaks the xenstore's protocol over a pipe, with the store of package
// memory behind it.
type daemon struct {
	conn  net.Conn
	store transport.Store
	mu    sync.Mutex // of writing
	txs   map[uint32]transport.Tx
	ws    map[string]transport.Watch
	wg    sync.WaitGroup
	done  chan struct{}
}

func (d *daemon) send(m message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn.Write(m.encode())
}

func (d *daemon) run() {
	defer d.wg.Wait()
	defer close(d.done)
	defer func() {
		for _, w := range d.ws {
			w.Close()
		}
	}()
	for {
		m, err := decode(d.conn)
		if err != nil {
			return
		}
		body, err := d.handle(m)
		switch {
		case errors.Is(err, transport.ErrNotExist):
			m.kind, body = xsError, "ENOENT\x00"
		case errors.Is(err, transport.ErrPermission):
			m.kind, body = xsError, "EACCES\x00"
		case errors.Is(err, transport.ErrAgain):
			m.kind, body = xsError, "EAGAIN\x00"
		case err != nil:
			m.kind, body = xsError, "EINVAL\x00"
		}
		d.send(message{kind: m.kind, tx: m.tx, body: []byte(body)})
	}
}

func (d *daemon) handle(m message) (string, error) {
	parts := strings.Split(string(m.body), "\x00")
	var v transport.View = d.store
	if m.tx != 0 {
		if v = d.txs[m.tx]; v == nil {
			return "", errors.New("no such transaction")
		}
	}
	switch m.kind {
	case xsDirectory:
		l, err := v.List(parts[0])
		if err != nil || len(l) == 0 {
			return "", err
		}
		slices.Reverse(l) // in no order
		return strings.Join(l, "\x00") + "\x00", nil
	case xsRead:
		return v.Read(parts[0])
	case xsWrite:
		return "OK\x00", v.Write(parts[0], parts[1])
	case xsRemove:
		if _, err := v.Read(parts[0]); err != nil {
			return "", err // unlike package transport's
		}
		return "OK\x00", v.Remove(parts[0])
	case xsBegin:
		tx, err := d.store.Begin()
		id := uint32(len(d.txs) + 1)
		d.txs[id] = tx
		return strconv.Itoa(int(id)) + "\x00", err
	case xsEnd:
		tx := d.txs[m.tx]
		if parts[0] == "F" {
			tx.Abort()
			return "OK\x00", nil
		}
		return "OK\x00", tx.Commit()
	case xsWatch:
		w, err := d.store.Watch(parts[0])
		if err != nil {
			return "", err
		}
		d.ws[parts[1]] = w
		d.wg.Go(func() {
			for {
				select {
				case <-w.C():
					d.send(message{kind: xsWatchEvent, body: []byte(parts[0] + "/below\x00" + parts[1] + "\x00")})
				case <-d.done:
					return
				}
			}
		})
		return "OK\x00", nil
	case xsUnwatch:
		return "OK\x00", nil
	}
	return "", errors.New("what?")
}

func dial(t *testing.T) *store {
	t.Helper()
	a, b := net.Pipe()
	d := &daemon{conn: b, store: memory.New().Domain(1).Store(), txs: make(map[uint32]transport.Tx), ws: make(map[string]transport.Watch), done: make(chan struct{})}
	go d.run()
	s := newStore(a)
	t.Cleanup(func() {
		s.close()
		b.Close()
	})
	return s
}

func TestStoreProtocol(t *testing.T) {
	s := dial(t)
	if err := s.Write("a/x", "1"); err != nil {
		t.Fatal(err)
	}
	s.Write("a/y", "")
	if v, err := s.Read("a/x"); v != "1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if l, err := s.List("a"); !slices.Equal(l, []string{"x", "y"}) || err != nil {
		t.Errorf("%q, %v", l, err)
	}
	if l, err := s.List("a/y"); len(l) != 0 || err != nil {
		t.Errorf("an empty directory: %q, %v", l, err)
	}
	if _, err := s.Read("nothing"); !errors.Is(err, transport.ErrNotExist) || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("%v", err)
	}
	if err := s.Remove("nothing"); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
	if err := s.Write("/local/domain/0/x", ""); !errors.Is(err, transport.ErrPermission) {
		t.Errorf("%v", err)
	}
	if err := s.Write("a b", ""); err == nil || !strings.Contains(err.Error(), "EINVAL") {
		t.Errorf("%v", err)
	}
	if err := s.Write("a/z", strings.Repeat("z", 5000)); err == nil {
		t.Error("5000 bytes were written")
	}
	if err := transport.Update(s, func(v transport.View) error {
		n, err := transport.ReadUint(v, "a/x", 8)
		if err != nil {
			return err
		}
		if n == 1 {
			s.Write("a/x", "2") // somebody else
		}
		return v.Write("a/x", strconv.Itoa(int(n)+10))
	}); err != nil {
		t.Error(err)
	}
	if v, _ := s.Read("a/x"); v != "12" {
		t.Errorf("after a repeated transaction: %s, want 12", v)
	}
	if err := transport.Update(s, func(v transport.View) error {
		v.Write("a/x", "99")
		return errors.New("no")
	}); err == nil || err.Error() != "no" {
		t.Error(err)
	}
	if v, _ := s.Read("a/x"); v != "12" {
		t.Errorf("an aborted transaction wrote %s", v)
	}
	w, err := s.Watch("a")
	if err != nil {
		t.Fatal(err)
	}
	<-w.C() // its registration
	s.Write("a/x", "3")
	<-w.C()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	// Many at once: each gets its own answer.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key, val := "k/"+strconv.Itoa(i), strconv.Itoa(i*i)
			for range 50 {
				s.Write(key, val)
				if v, err := s.Read(key); v != val || err != nil {
					t.Errorf("%s is %q, %v", key, v, err)
				}
			}
		})
	}
	wg.Wait()
	s.close()
	if _, err := s.Read("a/x"); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

// A store that ends wakes who watches it, and who asks.
func TestStoreEnds(t *testing.T) {
	a, b := net.Pipe()
	s := newStore(a)
	asked := make(chan error)
	go func() { _, err := s.Read("x"); asked <- err }()
	if _, err := decode(b); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := <-asked; err == nil {
		t.Error("no error from a dead store")
	}
	<-s.ended
}

func FuzzDecode(f *testing.F) {
	f.Add((&message{kind: xsRead, body: []byte("a\x00")}).encode())
	f.Add(binary.LittleEndian.AppendUint32(make([]byte, 12), 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(m.body) > maxPayload {
			t.Fatalf("%d bytes", len(m.body))
		}
		// req_id is not kept.
		again, err := decode(bytes.NewReader(m.encode()))
		if err != nil || again.kind != m.kind || again.tx != m.tx || !bytes.Equal(again.body, m.body) {
			t.Fatalf("%+v, %v", again, err)
		}
		if _, err := decode(io.LimitReader(bytes.NewReader(b), 15)); err == nil {
			t.Fatal("a message without its end")
		}
	})
}

// What is missing is said in one line.
func TestMissing(t *testing.T) {
	for _, name := range []string{"nosuchdevice"} {
		_, err := device(name, "xen-nosuch")
		if err == nil {
			t.Fatal("opened")
		}
		if s := err.Error(); strings.Contains(s, "\n") || !strings.Contains(s, name) || !strings.Contains(s, "no Xen domain") && !strings.Contains(s, "modprobe xen-nosuch") {
			t.Errorf("%q", s)
		}
	}
	if err := Held(65535); err != nil {
		t.Errorf("a vif that is not there: %v", err)
	}
}
