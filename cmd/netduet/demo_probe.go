package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// far is the server under demonstration, seen from the other side of the wire.
type far struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ping measures one echo request; nil where that may not be sent.
	ping func(ctx context.Context, size int) (time.Duration, error)

	tcp, udp, http string // addresses
}

const (
	// patience is how long anything may make no headway. The network is in this
	// machine, so it is there for machines that are busy.
	patience = 20 * time.Second
	// answerTime is how long a ping or datagram is waited for before it is lost.
	answerTime = 2 * time.Second

	pings        = 200
	pingInterval = 5 * time.Millisecond
	roundTrips   = 1000
	connections  = 200
	pages        = 100
)

// probePing sends echo requests.
func probePing(ctx context.Context, r *report, f *far) error {
	if f.ping == nil {
		return nil
	}
	t := trips{what: "ping"}
	for i := range pings {
		r.progress("ping %d of %d", i+1, pings)
		one, cancel := context.WithTimeout(ctx, answerTime)
		d, err := f.ping(one, 56)
		cancel()
		switch {
		case err == nil:
			t.took = append(t.took, d)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			t.lost++
			continue
		default:
			return fmt.Errorf("ping: %w", err)
		}
		if wait := pingInterval - d; wait > 0 {
			time.Sleep(wait)
		}
	}
	r.trips = append(r.trips, t)
	if t.lost > 0 {
		return fmt.Errorf("ping: %d of %d were not answered", t.lost, pings)
	}
	r.say("ping: %d answered", pings)
	return nil
}

// probeConnect opens connections one after the other and exchanges a byte on each;
// then it exchanges many on one.
func probeConnect(ctx context.Context, r *report, f *far) error {
	open := trips{what: "tcp connect"}
	var c net.Conn
	for i := range connections {
		r.progress("connection %d of %d", i+1, connections)
		if c != nil {
			c.Close()
		}
		begin := time.Now()
		var err error
		one, cancel := context.WithTimeout(ctx, patience)
		c, err = f.dial(one, "tcp", f.tcp)
		cancel()
		if err != nil {
			return err
		}
		open.took = append(open.took, time.Since(begin))
		if _, err := roundTrip(c, byte(i)); err != nil {
			return err
		}
	}
	defer c.Close()
	ask := trips{what: "tcp, 1 byte"}
	for i := range roundTrips {
		d, err := roundTrip(c, byte(i))
		if err != nil {
			return err
		}
		ask.took = append(ask.took, d)
	}
	r.trips = append(r.trips, open, ask)
	r.say("tcp: %d connections, %d round trips", connections, roundTrips)
	return nil
}

func roundTrip(c net.Conn, b byte) (time.Duration, error) {
	c.SetDeadline(time.Now().Add(patience))
	begin := time.Now()
	buf := [1]byte{b}
	if _, err := c.Write(buf[:]); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, buf[:]); err != nil {
		return 0, err
	}
	if buf[0] != b {
		return 0, fmt.Errorf("tcp: %d came back as %d", b, buf[0])
	}
	return time.Since(begin), nil
}

// probeBulk sends random bytes to the echo server while it reads them back.
func probeBulk(ctx context.Context, r *report, f *far, total int64) error {
	one, cancel := context.WithTimeout(ctx, patience)
	c, err := f.dial(one, "tcp", f.tcp)
	cancel()
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()

	var sent, got atomic.Int64
	begin := time.Now()
	stop := r.watch(func() string {
		return fmt.Sprintf("tcp: %d of %d MiB sent, %d back, %s", sent.Load()>>20, total>>20, got.Load()>>20, rate(got.Load(), time.Since(begin)))
	})
	defer stop()
	out, in := sha256.New(), sha256.New()
	failed := make(chan error, 1)
	go func() {
		failed <- func() error {
			src := rand.NewChaCha8([32]byte([]byte("a stream that does not compress.")))
			buf := make([]byte, 1<<17)
			for sent.Load() < total {
				b := buf[:min(int64(len(buf)), total-sent.Load())]
				src.Read(b)
				out.Write(b)
				c.SetWriteDeadline(time.Now().Add(patience))
				if _, err := c.Write(b); err != nil {
					return err
				}
				sent.Add(int64(len(b)))
			}
			if half, ok := c.(interface{ CloseWrite() error }); ok {
				return half.CloseWrite()
			}
			return fmt.Errorf("a %T cannot be closed for writing", c)
		}()
	}()
	err = drain(c, in, &got)
	took := time.Since(begin)
	if err != nil {
		c.Close() // the writer may be waiting for room that will not come
	}
	if err = errors.Join(err, <-failed); err != nil {
		return fmt.Errorf("tcp: %d of %d bytes sent, %d came back: %w", sent.Load(), total, got.Load(), err)
	}
	if got.Load() != total || !bytes.Equal(out.Sum(nil), in.Sum(nil)) {
		return fmt.Errorf("tcp: %d bytes were sent, %d came back, and not the same", total, got.Load())
	}
	r.transfers = append(r.transfers, transfer{"tcp echo, there and back", total, took})
	r.say("tcp: %s there and back, SHA-256 the same", size(total))
	return nil
}

// drain reads to the end, hashes and counts.
func drain(c net.Conn, h hash.Hash, n *atomic.Int64) error {
	buf := make([]byte, 1<<17)
	for {
		c.SetReadDeadline(time.Now().Add(patience))
		k, err := c.Read(buf)
		h.Write(buf[:k])
		n.Add(int64(k))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// probeDatagrams exchanges datagrams of all sizes, some of them in fragments.
func probeDatagrams(ctx context.Context, r *report, f *far) error {
	c, err := f.dial(ctx, "udp", f.udp)
	if err != nil {
		return err
	}
	defer c.Close()
	t := trips{what: "udp"}
	src := rand.NewChaCha8([32]byte([]byte("datagrams that do not compress..")))
	out, in := make([]byte, 8000), make([]byte, 1<<16)
	for i := range roundTrips {
		r.progress("udp: datagram %d of %d", i+1, roundTrips)
		n := 4 + i*1468/roundTrips
		if i%50 == 49 {
			n = 8000
		}
		b := out[:n]
		src.Read(b)
		b[0], b[1] = byte(i>>8), byte(i) // so that a late one is told from the next
		begin := time.Now()
		if _, err := c.Write(b); err != nil {
			return err
		}
		c.SetReadDeadline(begin.Add(answerTime))
		for {
			k, err := c.Read(in)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.lost++
				break
			}
			if err != nil {
				return err
			}
			if bytes.Equal(in[:k], b) {
				t.took = append(t.took, time.Since(begin))
				break
			}
			if k >= 2 && in[0] == b[0] && in[1] == b[1] {
				return fmt.Errorf("udp: a datagram of %d bytes came back changed", n)
			}
		}
	}
	r.trips = append(r.trips, t)
	if t.lost > 0 {
		return fmt.Errorf("udp: %d of %d datagrams did not come back", t.lost, roundTrips)
	}
	r.say("udp: %d datagrams there and back, up to %d bytes", roundTrips, len(out))
	return nil
}

// probeHTTP gets a page often, and a large body once.
func probeHTTP(ctx context.Context, r *report, f *far, total int64) error {
	tr := &http.Transport{DialContext: f.dial}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	t := trips{what: "http page"}
	var text string
	for i := range pages {
		r.progress("http: page %d of %d", i+1, pages)
		begin := time.Now()
		var page bytes.Buffer
		if _, err := get(ctx, client, "http://"+f.http+"/", &page); err != nil {
			return err
		}
		t.took = append(t.took, time.Since(begin))
		text = page.String()
	}
	r.trips = append(r.trips, t)
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	r.say("http: %q, %d times", line, pages)

	h := sha256.New()
	var n atomic.Int64
	begin := time.Now()
	stop := r.watch(func() string {
		return fmt.Sprintf("http: %d of %d MiB, %s", n.Load()>>20, total>>20, rate(n.Load(), time.Since(begin)))
	})
	header, err := get(ctx, client, fmt.Sprintf("http://%s/bytes?n=%d", f.http, total), writerFunc(func(b []byte) (int, error) {
		n.Add(int64(len(b)))
		return h.Write(b)
	}))
	took := time.Since(begin)
	stop()
	if err != nil {
		return err
	}
	want := "sha-256=:" + base64.StdEncoding.EncodeToString(h.Sum(nil)) + ":"
	if n.Load() != total || header.Get("Repr-Digest") != want {
		return fmt.Errorf("http: %d of %d bytes came, with the digest %s where %s was announced", n.Load(), total, want, header.Get("Repr-Digest"))
	}
	r.transfers = append(r.transfers, transfer{"http download", total, took})
	r.say("http: %s, SHA-256 as announced", size(total))
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// get copies the body of url to w.
func get(ctx context.Context, client *http.Client, url string, w io.Writer) (http.Header, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(patience, cancel)
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("http: %s: %s", url, resp.Status)
	}
	buf := make([]byte, 1<<17)
	for {
		stall.Reset(patience)
		n, err := resp.Body.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return nil, err
		}
		if err == io.EOF {
			return resp.Header, nil
		}
		if err != nil {
			return nil, fmt.Errorf("http: %s: %w", url, err)
		}
	}
}
