package memory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/netduet/netduet/netif/xen/transport"
)

// store is the xenstore: a tree of values, kept as a map of paths.
//
// Every domain may read everything. Domain 0 may write everything, another one
// what is below its own home; the real store's lists of permissions are finer.
type store struct {
	mu      sync.Mutex
	nodes   map[string]*node
	clock   uint64 // counts changes
	watches map[*watch]struct{}
}

type node struct {
	value    string
	children map[string]struct{}
	changed  uint64 // when value last changed
	listed   uint64 // when children last changed
}

func newStore() *store {
	return &store{nodes: map[string]*node{"": {children: make(map[string]struct{})}}, watches: make(map[*watch]struct{})}
}

// Bounds of the real store (xs_wire.h).
const (
	maxPath  = 3072
	maxValue = 4096
)

// domainStore is the store as one domain has it.
type domainStore struct {
	store *store
	id    transport.Domain
	owner *Domain // nil inside a transaction
}

// dead reports whether the domain is: its connection went with it.
func (d *domainStore) dead() bool {
	if d.owner == nil {
		return false
	}
	d.owner.mu.Lock()
	defer d.owner.mu.Unlock()
	return d.owner.closed
}

func (d *domainStore) home() string { return fmt.Sprintf("/local/domain/%d", d.id) }

// clean makes a path absolute, without a slash at its end; the root is "".
func (d *domainStore) clean(path string) (string, error) {
	if d.dead() {
		return "", transport.ErrClosed
	}
	if !strings.HasPrefix(path, "/") {
		path = d.home() + "/" + path
	}
	if path == "/" {
		return "", nil
	}
	if len(path) > maxPath || strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return "", fmt.Errorf("xenstore: bad path %.80q", path)
	}
	for _, r := range path {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-/_@", r) {
			continue
		}
		return "", fmt.Errorf("xenstore: bad path %.80q", path)
	}
	return path, nil
}

// writable is clean for a path that will be changed.
func (d *domainStore) writable(path string) (string, error) {
	p, err := d.clean(path)
	if err != nil {
		return "", err
	}
	if d.id != 0 && !strings.HasPrefix(p, d.home()+"/") {
		return "", fmt.Errorf("xenstore: %s: %w", p, transport.ErrPermission)
	}
	if p == "" {
		return "", errors.New("xenstore: the root cannot be changed")
	}
	return p, nil
}

func (d *domainStore) Read(path string) (string, error) {
	p, err := d.clean(path)
	if err != nil {
		return "", err
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	n := d.store.nodes[p]
	if n == nil {
		return "", fmt.Errorf("xenstore: %s: %w", p, transport.ErrNotExist)
	}
	return n.value, nil
}

func (d *domainStore) List(path string) ([]string, error) {
	p, err := d.clean(path)
	if err != nil {
		return nil, err
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	n := d.store.nodes[p]
	if n == nil {
		return nil, fmt.Errorf("xenstore: %s: %w", p, transport.ErrNotExist)
	}
	return n.names(), nil
}

func (n *node) names() []string {
	var names []string
	for c := range n.children {
		names = append(names, c)
	}
	slices.Sort(names)
	return names
}

func (d *domainStore) Write(path, value string) error {
	p, err := d.writable(path)
	if err != nil {
		return err
	}
	if len(value) > maxValue {
		return fmt.Errorf("xenstore: a value of %d bytes, at most %d", len(value), maxValue)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.write(p, value)
	return nil
}

func (d *domainStore) Remove(path string) error {
	p, err := d.writable(path)
	if err != nil {
		return err
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.remove(p)
	return nil
}

func split(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:i], p[i+1:]
}

// makeNode makes a path and what is above it.
func (s *store) makeNode(p string) *node {
	if n := s.nodes[p]; n != nil {
		return n
	}
	dir, name := split(p)
	parent := s.makeNode(dir)
	parent.children[name] = struct{}{}
	parent.listed = s.clock
	n := &node{children: make(map[string]struct{}), changed: s.clock, listed: s.clock}
	s.nodes[p] = n
	return n
}

func (s *store) write(p, value string) {
	s.clock++
	n := s.makeNode(p)
	n.value, n.changed = value, s.clock
	s.fire(p, false)
}

func (s *store) remove(p string) {
	n := s.nodes[p]
	if n == nil {
		return
	}
	s.clock++
	s.drop(p, n)
	dir, name := split(p)
	delete(s.nodes[dir].children, name)
	s.nodes[dir].listed = s.clock
	s.fire(p, true)
}

func (s *store) drop(p string, n *node) {
	for c := range n.children {
		s.drop(p+"/"+c, s.nodes[p+"/"+c])
	}
	delete(s.nodes, p)
}

// fire reports a change at p to who watches p or above, and below p too if all
// that is gone.
func (s *store) fire(p string, removed bool) {
	for w := range s.watches {
		if p == w.path || strings.HasPrefix(p, w.path+"/") || removed && strings.HasPrefix(w.path, p+"/") {
			w.report()
		}
	}
}

// forget ends the watches of a domain.
func (s *store) forget(d *Domain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watches {
		if w.owner == d {
			delete(s.watches, w)
		}
	}
}

// watch is a transport.Watch.
type watch struct {
	store *store
	owner *Domain
	path  string
	c     chan struct{}
}

func (w *watch) report() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

func (w *watch) C() <-chan struct{} { return w.c }

func (w *watch) Close() error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	delete(w.store.watches, w)
	return nil
}

func (d *domainStore) Watch(path string) (transport.Watch, error) {
	p, err := d.clean(path)
	if err != nil {
		return nil, err
	}
	w := &watch{store: d.store, owner: d.owner, path: p, c: make(chan struct{}, 1)}
	w.report()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.watches[w] = struct{}{}
	return w, nil
}

// tx is a transaction. It keeps what it has read, to find out whether somebody
// changed that, and plays its changes at the end.
type tx struct {
	d       *domainStore
	view    *domainStore // a private copy of the store
	read    map[string]uint64
	listed  map[string]uint64
	changes []change
	done    bool
}

type change struct {
	path, value string
	remove      bool
}

func (d *domainStore) Begin() (transport.Tx, error) {
	if d.dead() {
		return nil, transport.ErrClosed
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	c := newStore()
	c.clock = d.store.clock
	for p, n := range d.store.nodes {
		k := *n
		k.children = make(map[string]struct{}, len(n.children))
		for name := range n.children {
			k.children[name] = struct{}{}
		}
		c.nodes[p] = &k
	}
	return &tx{d: d, view: &domainStore{store: c, id: d.id}, read: make(map[string]uint64), listed: make(map[string]uint64)}, nil
}

// note remembers the state of a path as the transaction found it. What it wrote
// itself has a time past the real store's then, and must not be noted.
func (t *tx) note(path string, list bool) {
	p, err := t.d.clean(path)
	if err != nil || t.wrote(p) {
		return
	}
	into := t.read
	if list {
		into = t.listed
	}
	if _, ok := into[p]; ok {
		return
	}
	var at uint64
	if n := t.view.store.nodes[p]; n != nil {
		at = n.changed
		if list {
			at = n.listed
		}
	}
	into[p] = at
}

func (t *tx) wrote(p string) bool {
	return slices.ContainsFunc(t.changes, func(c change) bool {
		return c.path == p || strings.HasPrefix(c.path, p+"/") || strings.HasPrefix(p, c.path+"/")
	})
}

func (t *tx) Read(path string) (string, error) {
	t.note(path, false)
	return t.view.Read(path)
}

func (t *tx) List(path string) ([]string, error) {
	t.note(path, true)
	return t.view.List(path)
}

func (t *tx) Write(path, value string) error {
	if err := t.view.Write(path, value); err != nil {
		return err
	}
	p, _ := t.d.clean(path)
	t.changes = append(t.changes, change{path: p, value: value})
	return nil
}

func (t *tx) Remove(path string) error {
	if err := t.view.Remove(path); err != nil {
		return err
	}
	p, _ := t.d.clean(path)
	t.changes = append(t.changes, change{path: p, remove: true})
	return nil
}

func (t *tx) Abort() { t.done = true }

func (t *tx) Commit() error {
	if t.done {
		return transport.ErrClosed
	}
	t.done = true
	if t.d.dead() {
		return transport.ErrClosed
	}
	s := t.d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, at := range t.read {
		if now := s.nodes[p]; now == nil && at != 0 || now != nil && now.changed != at {
			return transport.ErrAgain
		}
	}
	for p, at := range t.listed {
		if now := s.nodes[p]; now == nil && at != 0 || now != nil && now.listed != at {
			return transport.ErrAgain
		}
	}
	for _, c := range t.changes {
		if c.remove {
			s.remove(c.path)
		} else {
			s.write(c.path, c.value)
		}
	}
	return nil
}
