package direct

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
)

// converse makes an echo server of far, so that its Read comes before the question.
func converse(t *testing.T, p pair, near, far net.Conn) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			far.Write(buf[:n])
		}
	}()
	one := make([]byte, 1)
	for range 3 * leadRounds {
		synctest.Wait()
		near.Write(one)
		if _, err := near.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	if state, _ := lookAt(p); state != leadReader {
		t.Fatalf("no reader leads the queue: state %d", state)
	}
	return func() { <-done }
}

// lookAt returns who polls the queue of p.b, and whether run sleeps.
func lookAt(p pair) (state leadState, asleep bool) {
	l := &p.b.devices[1].queues[0].lead
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.asleep
}

// What ends a Read ends it when it polls the device as well, and nothing is left.
func TestLeaderIsInterrupted(t *testing.T) {
	for name, end := range map[string]func(p pair, near, far net.Conn){
		"close":      func(_ pair, _, far net.Conn) { far.Close() },
		"deadline":   func(_ pair, _, far net.Conn) { far.SetReadDeadline(time.Now()) },
		"later":      func(_ pair, _, far net.Conn) { far.SetReadDeadline(time.Now().Add(time.Minute)) },
		"close read": func(_ pair, _, far net.Conn) { far.(*TCPConn).CloseRead() },
		"peer":       func(_ pair, near, _ net.Conn) { near.Close() },
		"reset":      func(_ pair, near, _ net.Conn) { near.(*TCPConn).SetLinger(0); near.Close() },
		"stack":      func(p pair, _, _ net.Conn) { p.b.Close() },
		"device":     func(p pair, _, _ net.Conn) { p.b.devices[1].dev.Close(); p.b.Close() },
		"keep-alive": func(p pair, _, _ net.Conn) { p.a.devices[1].dev.Close() },
	} {
		bubble(t, name, func(t *testing.T) {
			p, near, far := benchPair(t, netif.WireConfig{})
			wait := converse(t, p, near, far)
			end(p, near, far)
			wait()
			near.Close()
			far.Close()
			p.a.Close()
			p.b.Close()
			if n := p.b.vacant.Load(); n != 0 {
				t.Errorf("%d queues are still left to readers", n)
			}
		})
	}
}

// abandon has the reader of far lead its queue and go on to something that takes until
// leave is called: the queue is vacant.
func abandon(t *testing.T, p pair, near, far net.Conn) (leave func()) {
	t.Helper()
	converse(t, p, near, far)
	far.SetReadDeadline(time.Now())
	synctest.Wait()
	far.SetReadDeadline(time.Time{})
	p.b.devices[1].queues[0].rx.shun = 0
	busy := make(chan struct{})
	go func() {
		buf := make([]byte, 100)
		for range leadRounds + 5 {
			far.Read(buf)
			far.Write(buf[:1])
		}
		<-busy
	}()
	one := make([]byte, 1)
	for range leadRounds + 5 {
		synctest.Wait()
		near.Write(one)
		if _, err := near.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	if state, _ := lookAt(p); state != leadVacant {
		t.Fatalf("the queue is not vacant: state %d", state)
	}
	return func() { close(busy) }
}

// What a timer waits for may lie in a vacant queue, and then nothing is sent again.
func TestTimerLooksIntoVacantQueue(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{})
		defer p.close(t)
		leave := abandon(t, p, near, far)
		c := far.(*TCPConn)
		p.a.recall()                  // near is not in Read either
		far.Write(make([]byte, 5000)) // is acknowledged into the queue
		synctest.Wait()
		c.mu.Lock()
		due := c.deadline()
		c.mu.Unlock()
		c.expired(due)
		if state, _ := lookAt(p); state != leadRun {
			t.Errorf("the queue is still vacant: state %d", state)
		}
		synctest.Wait()
		if info := c.Info(); info.Retransmits > 0 || info.Unacked > 0 {
			t.Errorf("%d segments were sent again, %d bytes are in flight", info.Retransmits, info.Unacked)
		}
		leave()
		near.Close()
		far.Close()
	})
}

// While nobody polls, because the reader does something else, others wait for two
// ticks at most; and not at all for those who wait for the device themselves.
func TestVacantQueueIsTakenOver(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{})
		defer p.close(t)
		l, err := p.b.Listen(background, "tcp", ":8")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		leave := abandon(t, p, near, far)
		start := time.Now()
		c, err := p.a.DialContext(background, "tcp", "10.0.0.2:8")
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d == 0 || d > 2*leadTick {
			t.Errorf("a connection took %v", d)
		}
		if state, _ := lookAt(p); state != leadRun {
			t.Errorf("the queue is nobody's: state %d", state)
		}
		c.Close()
		leave()
		near.Close()
		far.Close()
	})
}

// A conversation that pauses costs nobody anything: run stops looking.
func TestSleepingLeaderHasNoTicker(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{})
		wait := converse(t, p, near, far)
		time.Sleep(10 * leadTick)
		synctest.Wait()
		if state, asleep := lookAt(p); !asleep || state != leadReader {
			t.Errorf("asleep %v, state %d", asleep, state)
		}
		one := make([]byte, 1)
		near.Write(one)
		if _, err := near.Read(one); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if state, _ := lookAt(p); state != leadRun {
			t.Errorf("state %d after the pause", state)
		}
		near.Close()
		wait()
		far.Close()
		p.close(t)
	})
}

// A deadline that is set while a Read leads holds for that Read.
func TestLeaderDeadline(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{})
		converse(t, p, near, far)
		start := time.Now()
		far.SetReadDeadline(start.Add(time.Minute))
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
		near.Close()
		far.Close()
		p.close(t)
	})
}

// The reader of a stream leads as well: what it reads goes to its buffer, it
// acknowledges, and when it stops reading its queue is run's again.
func TestLeaderOfAStream(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4})
		defer p.close(t)
		defer near.Close()
		defer far.Close()
		const size = 32 << 20
		go func() {
			for at := 0; at < size; at += 1 << 16 {
				near.Write(patterned(at, 1<<16))
			}
		}()
		led, buf := 0, make([]byte, 1<<17)
		for at := 0; at < size; {
			n, err := far.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf[:n], patterned(at, n)) {
				t.Fatalf("wrong bytes behind byte %d", at)
			}
			at += n
			if state, _ := lookAt(p); state == leadVacant {
				led++
			}
		}
		if led == 0 {
			t.Error("the reader never led")
		}
		time.Sleep(2 * leadTick)
		synctest.Wait()
		if state, _ := lookAt(p); state != leadRun {
			t.Errorf("the queue is nobody's: state %d", state)
		}
		if info := near.(*TCPConn).Info(); info.Retransmits > 0 || info.Unacked > 0 {
			t.Errorf("%d segments were sent again, %d bytes are in flight", info.Retransmits, info.Unacked)
		}
	})
}

// A Read with a deadline polls no device, and is not offered one round after round.
func TestNoLeaderWithADeadline(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p, near, far := benchPair(t, netif.WireConfig{})
		defer p.close(t)
		far.SetReadDeadline(time.Now().Add(time.Hour))
		rounds, buf := 3*leadRounds, make([]byte, 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range rounds {
				far.Read(buf)
			}
		}()
		for range rounds {
			synctest.Wait()
			near.Write(buf)
		}
		<-done
		synctest.Wait()
		q := p.b.devices[1].queues[0]
		if state, _ := lookAt(p); state != leadRun || q.rx.shun == 0 {
			t.Errorf("state %d, the queue is left to nobody for %d rounds", state, q.rx.shun)
		}
		near.Close()
		far.Close()
	})
}
