package ring

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func pair(t testing.TB, words int, start uint32) (*Front, *Back, []byte) {
	t.Helper()
	page := make([]byte, PageSize)
	f, err := newFrontAt(page, words, start)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBack(page, words)
	if err != nil {
		t.Fatal(err)
	}
	return f, b, page
}

func TestSize(t *testing.T) {
	for words, want := range map[int]int{1: 512, 2: 256, 3: 256} {
		if got := Size(words); got != want {
			t.Errorf("%d words: %d slots, want %d", words, got, want)
		}
	}
	if _, err := NewFront(make([]byte, PageSize-1), 3); err == nil {
		t.Error("a short page was taken")
	}
	if _, err := NewFront(make([]byte, PageSize+4)[1:PageSize+1], 3); err == nil {
		t.Error("an unaligned page was taken")
	}
	if _, err := NewBack(make([]byte, PageSize), 4); err == nil {
		t.Error("slots of 4 words were taken")
	}
}

// starts are where the counts begin: at zero, and so that they wrap in the test.
var starts = []uint32{0, 0xffffffff, 0xfffffff0, 0x7fffffff}

func TestReserveIsWholeOrNothing(t *testing.T) {
	for _, start := range starts {
		f, b, _ := pair(t, 3, start)
		at, ok := f.Reserve(250)
		if !ok || at != start {
			t.Fatal(at, ok)
		}
		if _, ok := f.Reserve(7); ok {
			t.Error("7 slots of 6 were reserved")
		}
		if f.Free() != 6 {
			t.Errorf("a refused reservation left %d slots free, want 6", f.Free())
		}
		if n, _ := b.Requests(); n != 0 {
			t.Errorf("%d reserved requests are visible before Push", n)
		}
		f.Push()
		if n, _ := b.Requests(); n != 250 {
			t.Errorf("%d requests, want 250", n)
		}
		// Answered is not reaped: the slots stay taken until Take.
		for range 250 {
			b.Take()
			b.Put(Slot{})
		}
		b.Push()
		if n, err := f.Responses(); n != 250 || err != nil {
			t.Errorf("%d responses, %v, want 250", n, err)
		}
		if f.Free() != 6 {
			t.Errorf("%d slots are free before the responses are reaped, want 6", f.Free())
		}
		for i := range 250 {
			if at, _, ok := f.Take(); !ok || at != start+uint32(i) {
				t.Fatalf("response %d at %d, %v", i, at, ok)
			}
		}
		if _, _, ok := f.Take(); ok {
			t.Error("251 responses of 250")
		}
		if f.Free() != 256 || f.Unanswered() != 0 {
			t.Errorf("%d free, %d unanswered, want 256, 0", f.Free(), f.Unanswered())
		}
	}
}

func TestSlotsCarryWords(t *testing.T) {
	for words := 1; words <= Words; words++ {
		f, b, _ := pair(t, words, 0xfffffff8)
		n := f.Size()
		for round := range 3 {
			at, ok := f.Reserve(n)
			if !ok {
				t.Fatal("full")
			}
			for i := range n {
				v := uint32(round*n + i)
				f.Put(at+uint32(i), Slot{v, ^v, v * 3})
			}
			f.Push()
			b.Requests()
			for i := range n {
				v := uint32(round*n + i)
				want := Slot{v, ^v, v * 3}
				clear(want[words:])
				if got, ok := b.Take(); !ok || got != want {
					t.Fatalf("request %d: %x, want %x", i, got, want)
				}
				b.Put(Slot{v + 1, v + 2, v + 3})
			}
			b.Push()
			f.Responses()
			for i := range n {
				v := uint32(round*n + i)
				want := Slot{v + 1, v + 2, v + 3}
				clear(want[words:])
				if _, got, ok := f.Take(); !ok || got != want {
					t.Fatalf("response %d: %x, want %x", i, got, want)
				}
			}
		}
	}
}

func TestNotifications(t *testing.T) {
	for _, start := range starts {
		f, b, _ := pair(t, 3, start)
		push := func(n int) bool {
			if _, ok := f.Reserve(n); !ok {
				t.Fatal("no room")
			}
			return f.Push()
		}
		answer := func(n int) bool {
			b.Requests()
			for range n {
				if _, ok := b.Take(); !ok {
					t.Fatal("no request")
				}
				b.Put(Slot{})
			}
			return b.Push()
		}
		reap := func() {
			n, _ := f.Responses()
			for range n {
				f.Take()
			}
		}
		if !push(1) {
			t.Error("the first request is not notified of")
		}
		if push(1) {
			t.Error("a second one is, though nobody asked")
		}
		if ready, err := b.Arm(1); !ready || err != nil {
			t.Errorf("Arm with two requests there: %v, %v", ready, err)
		}
		b.Disarm()
		if !answer(1) {
			t.Error("the first response is not notified of")
		}
		if answer(1) {
			t.Error("a second one is, though nobody asked")
		}
		if ready, err := b.Arm(1); ready || err != nil {
			t.Errorf("Arm with nothing there: %v, %v", ready, err)
		}
		if !push(1) || push(1) {
			t.Error("armed for one request: want one notification")
		}
		answer(2)
		reap()
		// A threshold of 10: nine make no event, the tenth does, an eleventh does not.
		b.Arm(10)
		for i := range 11 {
			if got := push(1); got != (i == 9) {
				t.Errorf("request %d of a threshold of 10: notified %v", i+1, got)
			}
		}
		if ready, _ := f.Arm(5); ready {
			t.Error("no response is there, but Arm says so")
		}
		for i := range 11 {
			if got := answer(1); got != (i == 4) {
				t.Errorf("response %d of a threshold of 5: notified %v", i+1, got)
			}
		}
		if ready, _ := f.Arm(5); !ready {
			t.Error("11 responses are there, but Arm for 5 does not say so")
		}
		reap()
		// A threshold over what is outstanding is one on the last of them.
		push(3)
		f.Arm(100)
		if answer(2) || !answer(1) {
			t.Error("a threshold of 100 with 3 outstanding: want an event at the third")
		}
		reap()
		f.Disarm()
		push(200)
		if answer(200) {
			t.Error("an event, though disarmed")
		}
		reap()
		if b.Push() || f.Push() {
			t.Error("publishing nothing notifies")
		}
		// A jump over the threshold counts.
		b.Arm(2)
		if !push(50) {
			t.Error("a push of 50 over a threshold of 2 does not notify")
		}
	}
}

// Streams of frames through a ring that is nearly or always full: each frame's
// slots lie together, in order, once, whatever the sizes.
func TestFullRing(t *testing.T) {
	for name, size := range map[string]func(*rand.Rand) int{
		"one slot":    func(*rand.Rand) int { return 1 },
		"18 slots":    func(*rand.Rand) int { return 18 },
		"mixed":       func(r *rand.Rand) int { return 1 + r.IntN(18) },
		"one or full": func(r *rand.Rand) int { return 1 + 255*r.IntN(2) },
	} {
		t.Run(name, func(t *testing.T) {
			const seed = 7
			r := rand.New(rand.NewPCG(seed, 1))
			f, b, _ := pair(t, 3, 0xffffff00)
			sent, got, left := uint32(0), uint32(0), 0
			need := size(r)
			for step := 0; got < 20_000; step++ {
				// Fill up: whatever still fits, frame by frame.
				for {
					at, ok := f.Reserve(need)
					if !ok {
						break
					}
					for i := range need {
						f.Put(at+uint32(i), Slot{sent, uint32(need), uint32(i)})
					}
					sent++
					need = size(r)
				}
				f.Push()
				if need > 1 && f.Free() >= need {
					t.Fatal("there is room, but Reserve refused")
				}
				// The other end answers some, as few as one.
				n, err := b.Requests()
				if err != nil || n == 0 {
					t.Fatalf("step %d: deadlock: %d requests, %v, %d free of %d needed", step, n, err, f.Free(), need)
				}
				for range 1 + r.IntN(n) {
					v, _ := b.Take()
					if v[0] != got || v[2] != uint32(left) {
						t.Fatalf("slot %d of frame %d, want %d of %d", v[2], v[0], left, got)
					}
					if left++; left == int(v[1]) {
						left = 0
						got++
					}
					b.Put(v)
				}
				b.Push()
				n, err = f.Responses()
				if err != nil {
					t.Fatal(err)
				}
				for range n {
					f.Take()
				}
			}
		})
	}
}

// The two ends run at once, sleep when there is nothing to do, and are woken by
// events alone: if one is lost, this hangs.
func TestNoLostWakeup(t *testing.T) {
	const total = 20_000
	f, b, _ := pair(t, 3, 0xfffff000)
	toBack, toFront := make(chan struct{}, 1), make(chan struct{}, 1)
	notify := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	failed := make(chan error, 1)
	go func() {
		r := rand.New(rand.NewPCG(3, 4))
		for done := 0; done < total; {
			n, err := b.Requests()
			if err != nil {
				failed <- err
				return
			}
			if n == 0 {
				if ready, _ := b.Arm(1 + r.IntN(3)); !ready {
					<-toBack
				}
				continue
			}
			for range 1 + r.IntN(n) {
				v, _ := b.Take()
				if v[0] != uint32(done) {
					failed <- errors.New("a request out of order")
					return
				}
				b.Put(Slot{v[0]})
				done++
			}
			if b.Push() {
				notify(toFront)
			}
		}
		failed <- nil
	}()
	r := rand.New(rand.NewPCG(5, 6))
	sent, reaped := 0, 0
	for reaped < total {
		n, err := f.Responses()
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			_, v, _ := f.Take()
			if v[0] != uint32(reaped) {
				t.Fatalf("response %d, want %d", v[0], reaped)
			}
			reaped++
		}
		// The other end arms for up to three requests, so at least three are kept there
		// until the end: a threshold is met or everything was sent.
		want := min(3+r.IntN(20), total-sent, f.Free())
		if at, ok := f.Reserve(want); ok && want > 0 {
			for i := range want {
				f.Put(at+uint32(i), Slot{uint32(sent)})
				sent++
			}
			if f.Push() {
				notify(toBack)
			}
			continue
		}
		if sent == total {
			notify(toBack) // it may wait for more than what is left
		}
		if reaped < total {
			if ready, _ := f.Arm(1 + r.IntN(5)); !ready {
				<-toFront
			}
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func TestHostileCounts(t *testing.T) {
	for _, start := range starts {
		for _, lie := range []uint32{1, 5, 256, 257, 1 << 31, 0xfffffff0} {
			f, _, _ := pair(t, 3, start)
			f.Reserve(4)
			f.Push()
			f.store(offRspProd, start+4+lie)
			if n, err := f.Responses(); !errors.Is(err, ErrPeer) || n != 0 {
				t.Errorf("4 requests and %d responses: %d, %v", 4+lie, n, err)
			}
			if _, _, ok := f.Take(); ok {
				t.Error("a response can be taken from a broken ring")
			}
			if _, ok := f.Reserve(1); ok || f.Push() {
				t.Error("a broken ring still takes requests")
			}
			if _, err := f.Arm(1); !errors.Is(err, ErrPeer) || f.Err() == nil {
				t.Error("Arm on a broken ring is no error")
			}
		}
		// Counts that go back.
		f, b, _ := pair(t, 3, start)
		f.Reserve(4)
		f.Push()
		b.Requests()
		for range 4 {
			b.Take()
			b.Put(Slot{})
		}
		b.Push()
		f.Responses()
		f.store(offRspProd, start+3)
		if _, err := f.Responses(); !errors.Is(err, ErrPeer) {
			t.Errorf("responses were taken back: %v", err)
		}
		f, b, _ = pair(t, 3, start)
		f.Reserve(4)
		f.Push()
		b.Requests()
		b.store(offReqProd, start+3)
		if _, err := b.Requests(); !errors.Is(err, ErrPeer) {
			t.Errorf("requests were taken back: %v", err)
		}
		_, b, _ = pair(t, 3, start)
		b.store(offReqProd, start+257)
		if n, err := b.Requests(); !errors.Is(err, ErrPeer) || n != 0 {
			t.Errorf("257 requests in 256 slots: %d, %v", n, err)
		}
		b.Put(Slot{})
		if b.Push() {
			t.Error("a broken ring answers")
		}
	}
	page := make([]byte, PageSize)
	page[offReqProd+1] = 2 // 512 requests
	if _, err := NewBack(page, 3); !errors.Is(err, ErrPeer) {
		t.Errorf("joining a ring of 512 requests: %v", err)
	}
}

func TestBackRejoins(t *testing.T) {
	f, b, page := pair(t, 3, 10)
	f.Reserve(5)
	f.Push()
	b.Requests()
	b.Take()
	b.Take()
	b.Put(Slot{1})
	b.Push()
	// It restarts: what it has not answered it takes again.
	b, err := NewBack(page, 3)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := b.Requests(); n != 4 {
		t.Errorf("%d requests to answer after a restart, want 4", n)
	}
}

// FuzzHostilePeer plays both ends from the script while a peer scribbles over the
// page: whatever it does, counts stay within the ring.
func FuzzHostilePeer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x80, 0, 0x81, 7, 0x90, 255}, uint32(0))
	f.Add([]byte{0x10, 18, 0x20, 0x30, 0x40, 0x80, 2, 0x83, 200, 0x50}, uint32(0xfffffff0))
	f.Fuzz(func(t *testing.T, script []byte, start uint32) {
		page := make([]byte, PageSize)
		front, err := newFrontAt(page, 3, start)
		if err != nil {
			t.Fatal(err)
		}
		back, err := NewBack(page, 3)
		if err != nil {
			t.Fatal(err)
		}
		for len(script) >= 2 {
			op, arg := script[0], script[1]
			script = script[2:]
			switch op & 0x8f {
			case 0:
				if at, ok := front.Reserve(int(arg)); ok {
					for i := range uint32(arg) {
						front.Put(at+i, Slot{at, uint32(arg)})
					}
				}
			case 1:
				front.Push()
			case 2:
				front.Responses()
			case 3:
				front.Take()
			case 4:
				front.Arm(int(arg))
			case 5:
				back.Requests()
			case 6:
				back.Take()
			case 7:
				back.Put(Slot{uint32(arg)})
			case 8:
				back.Push()
			case 9:
				back.Arm(int(arg))
			case 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87:
				page[int(op&7)*2] += arg // a count or a threshold
			default:
				page[int(op&0x7f)<<5|int(arg)&31] ^= arg
			}
			for what, n := range map[string]int{
				"front.Free": front.Free(), "front.Unanswered": front.Unanswered(), "back.Unanswered": back.Unanswered(),
			} {
				if n < 0 || n > 256 {
					t.Fatalf("%s is %d", what, n)
				}
			}
			if n, err := front.Responses(); err == nil && (n < 0 || n > front.Unanswered()) {
				t.Fatalf("%d responses to %d requests", n, front.Unanswered())
			}
			if n, err := back.Requests(); err == nil && (n < 0 || n > 256) {
				t.Fatalf("%d requests in 256 slots", n)
			}
		}
	})
}

func TestNoAllocations(t *testing.T) {
	f, b, _ := pair(t, 3, 0)
	if n := testing.AllocsPerRun(1000, func() { turn(f, b, 4) }); n != 0 {
		t.Errorf("%v allocations a turn, want 0", n)
	}
}

// turn takes n requests through the ring and back.
func turn(f *Front, b *Back, n int) {
	at, _ := f.Reserve(n)
	for i := range n {
		f.Put(at+uint32(i), Slot{uint32(i)})
	}
	f.Push()
	k, _ := b.Requests()
	for range k {
		v, _ := b.Take()
		b.Put(v)
	}
	b.Push()
	b.Arm(1)
	k, _ = f.Responses()
	for range k {
		f.Take()
	}
	f.Arm(1)
}

func BenchmarkRing(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "32": 32} {
		b.Run(name, func(b *testing.B) {
			front, back, _ := pair(b, 3, 0)
			b.ReportAllocs()
			for range b.N {
				turn(front, back, n)
			}
		})
	}
}
