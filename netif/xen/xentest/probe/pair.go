package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

// pair joins a Frontend and a Backend of this domain over real grants and event
// channels. The kernel's netback must not be loaded yet: it would serve the vif.
func pair([]string) error {
	v := vif()
	v.Index = 7
	front, err := devxen.Open()
	if err != nil {
		return err
	}
	defer front.Close()
	back, err := devxen.Open()
	if err != nil {
		return err
	}
	defer back.Close()
	if err := v.Plug(front.Store()); err != nil {
		return err
	}
	defer v.Unplug(front.Store())
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	b, err := xen.OpenBackend(ctx, xen.BackendConfig{Transport: back, Domain: 0, Index: 7, Queues: 2, Recovery: -1, Timeout: patience})
	if err != nil {
		return err
	}
	defer b.Close()
	for round := range 3 {
		f, err := xen.OpenFrontend(ctx, xen.FrontendConfig{Transport: front, Index: 7, Queues: 1 + round%2, Recovery: -1, Timeout: patience})
		if err != nil {
			return err
		}
		if err := b.Connected(ctx); err != nil {
			return err
		}
		begin := time.Now()
		total := 0
		for _, dir := range [][2]netif.Device{{f, b}, {b, f}} {
			for i := range 400 {
				n, err := across(ctx, dir[0], dir[1], i)
				if err != nil {
					return fmt.Errorf("round %d, frame %d from %s: %w", round, i, dir[0].Info().Name, err)
				}
				total += n
			}
		}
		fmt.Printf("round %d: %d queues, 800 frames of %d bytes in all in %v\n", round, len(f.Queues()), total, time.Since(begin).Round(time.Millisecond))
		if err := f.Close(); err != nil {
			return err
		}
		if s := f.Stats(); s != (xen.Stats{Connects: 1}) {
			return fmt.Errorf("front end: %+v", s)
		}
	}
	if s := b.Stats(); s != (xen.Stats{Connects: 3}) {
		return fmt.Errorf("back end: %+v", s)
	}
	return nil
}

// across sends one frame, of a size that i chooses, and compares what arrives.
func across(ctx context.Context, from, to netif.Device, i int) (int, error) {
	payload := make([]byte, 1+(i*977)%1446)
	large := i%4 == 3
	if large {
		payload = make([]byte, 1449+(i*1319)%60000)
	}
	for k := range payload {
		payload[k] = byte(k*7 + i)
	}
	h := make([]byte, 54)
	dst, src := to.Info().MAC, from.Info().MAC
	copy(h, dst[:])
	copy(h[6:], src[:])
	h[12], h[14], h[22], h[23], h[46] = 8, 0x45, 64, 6, 5<<4
	total := 40 + len(payload)
	h[16], h[17] = byte(total>>8), byte(total)
	m := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16}
	if large {
		m.GSO, m.HeaderLen, m.SegmentSize = netif.GSOTCP4, 54, 1448
	}
	q := from.Queues()[i%len(from.Queues())]
	n, err := q.Write([]netif.Frame{{Fragments: [][]byte{h, payload}, Meta: m}})
	if err != nil || n != 1 {
		return 0, fmt.Errorf("a write took %d frames: %w", n, err)
	}
	var bufs [1]*netif.Buf
	for range 2000 {
		for _, q := range to.Queues() {
			n, err := q.Read(bufs[:])
			if err != nil {
				return 0, err
			}
			if n == 0 {
				continue
			}
			b := bufs[0]
			defer b.Release()
			if !bytes.HasPrefix(b.Data, h) || !bytes.Equal(b.Data[54:], payload) || b.Meta != m {
				return 0, fmt.Errorf("%d bytes with %+v arrived, sent were %d with %+v", len(b.Data), b.Meta, 54+len(payload), m)
			}
			return len(b.Data), nil
		}
		// The frame comes out of one of the queues: each is waited for a while.
		for _, q := range to.Queues() {
			short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			err := q.Wait(short)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				return 0, err
			}
		}
	}
	return 0, errors.New("it did not arrive")
}
