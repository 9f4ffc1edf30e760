package netiftest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/netduet/netduet/netif"
)

func checkInfo(l *link) {
	for _, d := range []netif.Device{l.a, l.b} {
		i := d.Info()
		switch {
		case i.Name == "":
			l.Error("Info.Name is empty")
		case i.Link != netif.LinkEthernet && i.Link != netif.LinkIP:
			l.Errorf("%s: unknown link kind %d", i.Name, i.Link)
		case i.MTU < 68:
			l.Errorf("%s: MTU %d; every IPv4 link carries 68 bytes (RFC 791, section 3.2)", i.Name, i.MTU)
		case i.Headroom < 0 || i.MaxFragments < 0:
			l.Errorf("%s: negative headroom or fragments: %+v", i.Name, i)
		case i.Link == netif.LinkIP && i.MAC != netif.MAC{}:
			l.Errorf("%s: an IP link has MAC %x", i.Name, i.MAC)
		case i.Link == netif.LinkEthernet && (i.MAC == netif.MAC{} || i.MAC[0]&1 != 0):
			l.Errorf("%s: MAC %x is not a unicast address", i.Name, i.MAC)
		case i.Offloads&(netif.TxTSO4|netif.TxTSO6) != 0 && !i.Offloads.Has(netif.TxChecksum):
			l.Errorf("%s: segmentation without checksums: %b", i.Name, i.Offloads)
		}
		if len(d.Queues()) == 0 {
			l.Fatalf("%s: no queues", i.Name)
		}
	}
	if l.a.Info().Link != l.b.Info().Link {
		l.Error("the two ends carry different kinds of frames")
	}
	if a, b := l.a.Info().MAC, l.b.Info().MAC; a == b && l.a.Info().Link == netif.LinkEthernet {
		l.Errorf("both ends have MAC %x", a)
	}
	info, queues := l.a.Info(), l.a.Queues()
	l.alive()
	l.a.Close()
	if got := l.a.Info(); got != info {
		l.Errorf("Info changed from %+v to %+v", info, got)
	}
	if !reflect.DeepEqual(queues, l.a.Queues()) {
		l.Error("Queues changed")
	}
}

func checkSizes(l *link) {
	l.both(func(from, to netif.Device) {
		var frames [][]byte
		least, most := headerLen(from.Info())+1, min(maxLen(from.Info()), maxLen(to.Info()))
		for n := least; n <= most; n++ {
			// Every size up to a usual MTU, and both ends of those beyond.
			if n > 2000 && n < most-100 && n%997 != 0 {
				continue
			}
			frames = append(frames, frame(from, to, uint32(n), n))
		}
		l.transfer(from, to, 0, frames)
	})
}

func checkBatches(l *link) {
	l.both(func(from, to netif.Device) {
		r := rand.New(rand.NewPCG(1, 2))
		for queue := range from.Queues() {
			for _, batch := range []int{1, 2, 3, 7, 16, 64, 200} {
				if l.cfg.Lossy {
					batch = min(batch, l.cfg.Window)
				}
				for _, read := range []int{1, 5, 256} {
					var want [][]byte
					var frames []netif.Frame
					for range batch {
						want = append(want, frame(from, to, r.Uint32(), 60+r.IntN(maxLen(from.Info())-60)))
						frames = append(frames, one(want[len(want)-1]))
					}
					done := make(chan error, 1)
					go func() { done <- l.send(from.Queues()[queue], frames) }()
					rd := l.reader(to)
					rd.batch = read
					l.expect(rd, want, false)
					if err := <-done; err != nil {
						l.Fatal(err)
					}
				}
			}
			if n, err := from.Queues()[queue].Write(nil); n != 0 || err != nil {
				l.Errorf("Write of no frames: %d, %v", n, err)
			}
			if n, err := to.Queues()[0].Read(nil); n != 0 || err != nil {
				l.Errorf("Read into no buffers: %d, %v", n, err)
			}
		}
	})
}

func checkFragments(l *link) {
	l.both(func(from, to netif.Device) {
		h, most := headerLen(from.Info()), from.Info().MaxFragments
		limit := most
		if limit == 0 {
			limit = 300
		}
		q := from.Queues()[0]
		r := l.reader(to)
		id := uint32(0)
		for _, parts := range []int{1, 2, 3, 5, 17, limit} {
			parts = min(parts, limit)
			for _, size := range []int{h + 1 + parts, maxLen(from.Info())} {
				if size > maxLen(from.Info()) {
					continue
				}
				id++
				f := frame(from, to, id, size)
				if err := l.send(q, []netif.Frame{split(f, h, parts)}); err != nil {
					l.Fatal(err)
				}
				l.expect(r, [][]byte{f}, false)
			}
		}
		if limit >= 4 {
			f := frame(from, to, 77, 200)
			if err := l.send(q, []netif.Frame{{Fragments: [][]byte{f[:h], nil, f[h:], {}}}}); err != nil {
				l.Fatal(err)
			}
			l.expect(r, [][]byte{f}, false)
		}
		if most > 0 {
			if err := l.send(q, []netif.Frame{split(frame(from, to, 78, h+100+most), h, most+1)}); err != nil {
				l.Fatalf("a frame of too many fragments was not taken: %v", err)
			}
		}
	})
	l.alive()
}

// split cuts f into n fragments, the first with all headers and a byte more.
func split(f []byte, header, n int) netif.Frame {
	var s netif.Frame
	if n == 1 {
		return one(f)
	}
	s.Fragments = append(s.Fragments, f[:header+1])
	f = f[header+1:]
	for ; n > 2; n-- {
		k := (len(f) + n - 2) / (n - 1)
		if n%2 == 0 {
			k = min(1, len(f)) // odd lengths and odd addresses
		}
		s.Fragments = append(s.Fragments, f[:k:k])
		f = f[k:]
	}
	s.Fragments = append(s.Fragments, f)
	return s
}

func checkBadSizes(l *link) {
	l.both(func(from, to netif.Device) {
		most := maxLen(from.Info())
		bad := []netif.Frame{{}, {Fragments: [][]byte{nil}}, {Fragments: [][]byte{{}, nil, {}}}}
		for _, n := range []int{most + 1, most + 2, most + 100, 2*most + 1, 70000, 200000} {
			f := make([]byte, n)
			copy(f, frame(from, to, uint32(n), most))
			bad = append(bad, one(f), netif.Frame{Fragments: [][]byte{f[:most], f[most:]}})
		}
		if from.Info().Link == netif.LinkEthernet {
			for n := 1; n < etherHeaderLen; n++ {
				bad = append(bad, one(frame(from, to, 0, etherHeaderLen)[:n]))
			}
		}
		// Each in front of a good one, which shows that the bad one was dropped, and
		// all in one batch.
		r := l.reader(to)
		for i, f := range bad {
			good := frame(from, to, uint32(i), 100)
			if err := l.send(from.Queues()[0], []netif.Frame{f, one(good)}); err != nil {
				l.Fatalf("a frame of %d bytes: %v", f.Len(), err)
			}
			l.expect(r, [][]byte{good}, false)
		}
		good := frame(from, to, 12345, most)
		if err := l.send(from.Queues()[0], append(bad, one(good))); err != nil {
			l.Fatal(err)
		}
		l.expect(r, [][]byte{good}, false)
	})
}

func checkBorrowing(l *link) {
	l.both(func(from, to netif.Device) {
		q := from.Queues()[0]
		r := l.reader(to)
		h := headerLen(from.Info())
		for round := range 20 {
			var want [][]byte
			n := 10
			if l.cfg.Lossy {
				n = min(n, l.cfg.Window)
			}
			for i := range n {
				want = append(want, frame(from, to, uint32(round*100+i), 100+40*i))
			}
			done := make(chan error, 1)
			go func() {
				for _, f := range want {
					mine := bytes.Clone(f)
					frames := []netif.Frame{one(mine)}
					if from.Info().MaxFragments != 1 {
						frames[0].Fragments = [][]byte{mine[:h], mine[h:]}
					}
					if err := l.send(q, frames); err != nil {
						done <- err
						return
					}
					if !bytes.Equal(mine, f) {
						done <- errors.New("Write changed a frame that it borrowed")
						return
					}
					// They are ours again: the bytes, the fragments and the frames.
					for i := range mine {
						mine[i] = 0xee
					}
					clear(frames[0].Fragments)
					clear(frames)
				}
				done <- nil
			}()
			l.expect(r, want, false)
			if err := <-done; err != nil {
				l.Fatal(err)
			}
		}
	})
}

func checkOwnership(l *link) {
	l.both(func(from, to netif.Device) {
		n := 12
		if l.cfg.Lossy {
			n = min(n, l.cfg.Window)
		}
		q := from.Queues()[0]
		r := l.reader(to)
		ctx, cancel := l.timeout()
		defer cancel()
		var held []*netif.Buf
		var want [][]byte
		receive := func(id uint32) {
			f := frame(from, to, id, 300)
			if err := l.send(q, []netif.Frame{one(f)}); err != nil {
				l.Fatal(err)
			}
			b, err := r.next(ctx)
			if err != nil {
				l.Fatal(err)
			}
			if !bytes.Equal(b.Data, f) {
				l.Fatalf("want %s, got %s", brief(f), brief(b.Data))
			}
			held, want = append(held, b), append(want, f)
		}
		for i := range n {
			receive(uint32(i))
		}
		// Whatever an owner does to its frame, up to the end of its memory, is its own
		// business.
		for i := 0; i < n; i += 2 {
			all := held[i].Data[:cap(held[i].Data)]
			for j := range all {
				all[j] = 0xdd
			}
			for j := range held[i].Store() {
				held[i].Store()[j] = 0xdd
			}
		}
		for i := 1; i < n; i += 2 {
			if !bytes.Equal(held[i].Data, want[i]) {
				l.Fatal("two frames share memory")
			}
		}
		// Released elsewhere, some of them, while others are held and traffic goes on.
		var wg sync.WaitGroup
		for i := 0; i < n; i += 2 {
			b := held[i]
			wg.Go(b.Release)
		}
		for i := range 3 * n {
			receive(uint32(1000 + i))
			b := held[len(held)-1]
			wg.Go(b.Release)
		}
		for i := 1; i < n; i += 2 {
			if !bytes.Equal(held[i].Data, want[i]) {
				l.Fatal("a frame changed while we owned it")
			}
			wg.Go(held[i].Release)
		}
		wg.Wait()
	})
	l.alive()
}

func checkReleaseAfterClose(l *link) {
	l.both(func(from, to netif.Device) {
		var bufs []*netif.Buf
		ctx, cancel := l.timeout()
		defer cancel()
		r := l.reader(to)
		var want [][]byte
		for i := range 8 {
			f := frame(from, to, uint32(i), 500)
			want = append(want, f)
			if err := l.send(from.Queues()[0], []netif.Frame{one(f)}); err != nil {
				l.Fatal(err)
			}
			b, err := r.next(ctx)
			if err != nil {
				l.Fatal(err)
			}
			bufs = append(bufs, b)
		}
		to.Close()
		var wg sync.WaitGroup
		for i, b := range bufs {
			if !bytes.Equal(b.Data, want[i]) {
				l.Error("a frame that we owned changed with Close")
			}
			for j := range b.Data {
				b.Data[j] = 0
			}
			wg.Go(b.Release)
		}
		wg.Wait()
		from.Close()
		l.open()
	})
}

func checkShortWrite(l *link) {
	l.both(func(from, to netif.Device) {
		const most = 1 << 14
		q := from.Queues()[0]
		size := min(200, maxLen(from.Info()))
		var want [][]byte
		var frames []netif.Frame
		for i := range most {
			want = append(want, frame(from, to, uint32(i), size))
			frames = append(frames, one(want[i]))
		}
		// Nobody reads: sooner or later the device has no room, or it drops.
		taken := 0
		for taken < most {
			batch := frames[taken:min(taken+50, most)]
			n, err := q.Write(batch)
			if err != nil {
				l.Fatal(err)
			}
			taken += n
			if n < len(batch) {
				break
			}
		}
		short := taken < most
		if short && !l.cfg.Lossy {
			l.checkNoSpin(q, frames[taken:])
		}
		if !short {
			if !l.cfg.Lossy {
				l.Logf("%s took %d frames without being short; nothing to resume", from.Info().Name, taken)
			}
			taken = most
		}
		// A short Write is worth repeating once somebody reads. The channel is asked for
		// while the device is full: a sender that is slower than the reader below never
		// has to wait for it.
		free := q.Writable()
		rest := frames[taken:min(taken+500, most)]
		total := taken + len(rest)
		end := frame(from, to, 1<<30, size)
		done := make(chan error, 1)
		go func() { done <- l.send(q, rest) }()
		r := l.reader(to)
		if !l.cfg.Lossy {
			l.expect(r, want[:total], false)
			if err := <-done; err != nil {
				l.Fatal(err)
			}
		} else {
			l.drain(r, done, want[:total], q, end)
		}
		if short {
			l.becomes(free, "everything was read and the full device is not writable again")
		}
	})
}

// becomes waits for a channel to be closed.
func (l *link) becomes(closed <-chan struct{}, otherwise string) {
	l.Helper()
	ctx, cancel := l.timeout()
	defer cancel()
	select {
	case <-closed:
	case <-ctx.Done():
		l.Fatal(otherwise)
	}
}

// checkNoSpin sees to it that a full device does not call itself writable all the
// time: whoever believes it would spin.
func (l *link) checkNoSpin(q netif.Queue, frames []netif.Frame) {
	l.Helper()
	for tries := 0; ; tries++ {
		select {
		case <-q.Writable():
		default:
			return
		}
		n, err := q.Write(frames[:1])
		if err != nil {
			l.Fatal(err)
		}
		if n > 0 {
			l.Fatal("a Write was short, the next one was not, and nobody had read")
		}
		if tries == 1000 {
			l.Fatal("Writable is closed all the time while no frame is taken")
		}
	}
}

// drain reads what a flood left of want, in order, until a last frame that is sent
// once more whenever nothing comes after the sender is done.
func (l *link) drain(r *reader, done chan error, want [][]byte, q netif.Queue, end []byte) {
	l.Helper()
	ctx, cancel := l.timeout()
	defer cancel()
	got, at, sent := 0, 0, false
	for {
		b, err := r.poll()
		if err == nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			l.Fatalf("%d of %d frames arrived, then: %v", got, len(want), err)
		}
		if b == nil {
			select {
			case err := <-done:
				if err != nil {
					l.Fatal(err)
				}
				sent = true
			default:
			}
			if sent {
				if _, err := q.Write([]netif.Frame{one(end)}); err != nil {
					l.Fatal(err)
				}
			}
			soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			if err := waitAny(soon, r.dev.Queues()); err != nil && soon.Err() == nil {
				l.Fatal(err)
			}
			cancel()
			continue
		}
		if bytes.Equal(b.Data, end) {
			b.Release()
			break
		}
		skip := 0
		for at+skip < len(want) && !bytes.Equal(b.Data, want[at+skip]) {
			skip++
		}
		if at+skip == len(want) {
			l.Fatalf("a frame arrived changed, twice or out of order: %s", brief(b.Data))
		}
		at += skip + 1
		got++
		b.Release()
	}
	if least := min(len(want), l.cfg.Window/2); got < least {
		l.Errorf("%d of %d frames arrived, want at least %d", got, len(want), least)
	}
	// What is left are repetitions of the last one.
	for {
		b, err := r.poll()
		if err != nil {
			l.Fatal(err)
		}
		if b == nil {
			return
		}
		if !bytes.Equal(b.Data, end) {
			l.Fatalf("a frame arrived twice: %s", brief(b.Data))
		}
		b.Release()
	}
}

func checkConcurrentWriters(l *link) {
	l.both(func(from, to netif.Device) {
		const writers, each = 8, 200
		// A lossy link gets a new frame for each that was received.
		var tokens chan struct{}
		if l.cfg.Lossy {
			tokens = make(chan struct{}, l.cfg.Window)
			for range l.cfg.Window {
				tokens <- struct{}{}
			}
		}
		want := make(map[uint32][]byte)
		var wg sync.WaitGroup
		failed := make(chan error, writers)
		stop := make(chan struct{})
		for w := range writers {
			var mine []netif.Frame
			for i := range each {
				id := uint32(w<<16 | i)
				f := frame(from, to, id, 64+(w*131+i*17)%(maxLen(from.Info())-64))
				want[id] = f
				h := headerLen(from.Info())
				mine = append(mine, netif.Frame{Fragments: [][]byte{f[:h+1], f[h+1:]}})
				if from.Info().MaxFragments == 1 {
					mine[i] = one(f)
				}
			}
			q := from.Queues()[w%len(from.Queues())]
			wg.Go(func() {
				for len(mine) > 0 {
					n := min(len(mine), 1+w)
					if tokens != nil {
						n = 1
						select {
						case <-tokens:
						case <-stop:
							return
						}
					}
					if err := l.send(q, mine[:n]); err != nil {
						failed <- err
						return
					}
					mine = mine[n:]
				}
			})
		}
		ctx, cancel := l.timeout()
		defer cancel()
		defer wg.Wait()
		defer close(stop)
		r := l.reader(to)
		var last [writers]int
		for len(want) > 0 {
			b, err := r.next(ctx)
			if err != nil {
				select {
				case err = <-failed:
				default:
				}
				l.Fatalf("%d frames of %d writers have not arrived: %v", len(want), writers, err)
			}
			if len(b.Data) < headerLen(from.Info())+4 {
				l.Fatalf("a frame of %d bytes arrived; the shortest sent had 64", len(b.Data))
			}
			id := l.id(b.Data)
			if f, ok := want[id]; !ok || !bytes.Equal(f, b.Data) {
				l.Fatalf("a frame arrived changed, mixed with another, or twice: %s", brief(b.Data))
			}
			delete(want, id)
			w, i := id>>16, int(id&0xffff)
			if i < last[w] {
				l.Errorf("frame %d of writer %d came after frame %d", i, w, last[w])
			}
			last[w] = i
			b.Release()
			if tokens != nil {
				tokens <- struct{}{}
			}
		}
	})
}
