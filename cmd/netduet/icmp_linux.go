package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// kernelPing returns a function that has the kernel send an echo request to dst and
// waits for the reply: through an unprivileged ICMP socket where the machine has
// them, else through a raw one.
func kernelPing(dst netip.Addr) (func(ctx context.Context, size int) (time.Duration, error), error) {
	var to net.Addr = &net.UDPAddr{IP: dst.AsSlice()}
	c, err := icmp.ListenPacket("udp4", "0.0.0.0")
	if err != nil {
		to = &net.IPAddr{IP: dst.AsSlice()}
		var raw error
		if c, raw = icmp.ListenPacket("ip4:icmp", "0.0.0.0"); raw != nil {
			return nil, fmt.Errorf("no ICMP socket: %w", err)
		}
	}
	// A cookie in the data tells our replies from others': the kernel chooses the
	// identifier of an unprivileged socket.
	var cookie [8]byte
	rand.Read(cookie[:])
	seq := 0
	buf := make([]byte, 1<<16)
	return func(ctx context.Context, size int) (time.Duration, error) {
		seq++
		data := make([]byte, max(size, len(cookie)))
		copy(data, cookie[:])
		for i := len(cookie); i < len(data); i++ {
			data[i] = byte(i)
		}
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{
			ID: int(binary.BigEndian.Uint16(cookie[:])), Seq: seq & 0xffff, Data: data,
		}}
		b, err := m.Marshal(nil)
		if err != nil {
			return 0, err
		}
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(answerTime)
		}
		c.SetReadDeadline(deadline)
		begin := time.Now()
		if _, err := c.WriteTo(b, to); err != nil {
			return 0, err
		}
		for {
			n, _, err := c.ReadFrom(buf)
			took := time.Since(begin)
			if os.IsTimeout(err) {
				return 0, context.DeadlineExceeded
			}
			if err != nil {
				return 0, err
			}
			reply, err := icmp.ParseMessage(1, buf[:n])
			if err != nil || reply.Type != ipv4.ICMPTypeEchoReply {
				continue
			}
			if e, ok := reply.Body.(*icmp.Echo); ok && e.Seq == seq&0xffff && bytes.Equal(e.Data, data) {
				return took, nil
			}
		}
	}, nil
}
