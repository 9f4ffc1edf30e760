package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

// bad speaks to netback without the driver, which cannot be made to send what is
// wrong: 1,000 malformed requests, each followed by a good one.
func bad([]string) error {
	t, err := devxen.Open()
	if err != nil {
		return err
	}
	defer t.Close()
	s := t.Store()
	const front = "device/vif/0"
	back, err := s.Read(front + "/backend")
	if err != nil {
		return err
	}
	id, err := transport.ReadUint(s, front+"/backend-id", 16)
	if err != nil {
		return err
	}
	domain := transport.Domain(id)
	await := func(want string) error {
		for begin := time.Now(); time.Since(begin) < patience; {
			if st, _ := s.Read(back + "/state"); st == want {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
		return fmt.Errorf("the back end's state is not %s", want)
	}
	if err := s.Write(front+"/state", "1"); err != nil {
		return err
	}
	if err := await("2"); err != nil {
		return err
	}
	rings, err := t.Grant(domain, 2, true)
	if err != nil {
		return err
	}
	page, err := t.Grant(domain, 1, false)
	if err != nil {
		return err
	}
	tx, err := ring.NewFront(rings.Bytes()[:ring.PageSize], 3)
	if err != nil {
		return err
	}
	if _, err = ring.NewFront(rings.Bytes()[ring.PageSize:], 2); err != nil {
		return err
	}
	ch, err := t.Listen(domain)
	if err != nil {
		return err
	}
	num := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	if err := transport.Update(s, func(w transport.View) error {
		for _, k := range []string{"queue-0", "queue-1", "multi-queue-num-queues", "event-channel-tx", "event-channel-rx"} {
			w.Remove(front + "/" + k)
		}
		for _, kv := range [][2]string{
			{"tx-ring-ref", num(uint32(rings.Refs()[0]))}, {"rx-ring-ref", num(uint32(rings.Refs()[1]))},
			{"event-channel", num(uint32(ch.Port()))}, {"request-rx-copy", "1"}, {"feature-rx-notify", "1"}, {"state", "4"},
		} {
			if err := w.Write(front+"/"+kv[0], kv[1]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := await("4"); err != nil {
		return err
	}
	// An ARP request, that is.
	copy(page.Bytes(), "\xff\xff\xff\xff\xff\xff\x00\x16\x3e\x09\x00\x02\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x00\x16\x3e\x09\x00\x02\x0a\x09\x00\x02\x00\x00\x00\x00\x00\x00\x0a\x09\x00\x01")
	ref := uint32(page.Refs()[0])
	event := make(chan struct{}, 1)
	ch.Handle(func() {
		select {
		case event <- struct{}{}:
		default:
		}
	})
	// ask makes one request and returns its status.
	ask := func(ref, id, size uint32) (int16, error) {
		at, ok := tx.Reserve(1)
		if !ok {
			return 0, fmt.Errorf("the ring is full")
		}
		tx.Put(at, ring.Slot{ref, 0, id | size<<16})
		if tx.Push() {
			ch.Notify()
		}
		for {
			if n, err := tx.Responses(); err != nil {
				return 0, err
			} else if n > 0 {
				_, r, _ := tx.Take()
				if uint16(r[0]) != uint16(id) {
					return 0, fmt.Errorf("id %d came back as %d", id, uint16(r[0]))
				}
				return int16(r[0] >> 16), nil
			}
			if ready, err := tx.Arm(1); ready || err != nil {
				continue
			}
			select {
			case <-event:
			case <-time.After(patience):
				return 0, fmt.Errorf("no response in %v", patience)
			}
		}
	}
	for i := range uint32(1000) {
		r, size := ref, uint32(0)
		switch i % 4 {
		case 1:
			size = i % 14
		case 2:
			r, size = 4000+i, 42 // a grant that nobody made
		case 3:
			size = 13
		}
		if st, err := ask(r, i, size); err != nil || st != -1 {
			return fmt.Errorf("malformed request %d: status %d, %v", i, st, err)
		}
		if st, err := ask(ref, i+1, 42); err != nil || st != 0 {
			return fmt.Errorf("a good request after malformed ones: status %d, %v", st, err)
		}
	}
	fmt.Println("1,000 malformed requests were refused, and 1,000 good ones among them taken")
	s.Write(front+"/state", "5")
	if err := await("5"); err != nil {
		return err
	}
	s.Write(front+"/state", "6")
	return await("6")
}
