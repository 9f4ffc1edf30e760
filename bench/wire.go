package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"
)

// Ports of the server.
const (
	echoPort   = 7
	sinkPort   = 9
	sourcePort = 19
	closePort  = 17 // one byte there and back, then the server closes
	httpPort   = 80
	idlePort   = 1007
)

// httpBody ends every reply of the HTTP server.
const httpBody = "hello, world\n"

// httpRequest is what the client asks it.
const httpRequest = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"

// serverSetup is the first line that a server reads.
type serverSetup struct {
	Engine     string
	Mode       mode
	Device     string       // name of the tap, or of our end of the veth
	Addr       netip.Prefix // ours
	CPUProfile string       // file to write between the first snapshot and the end
}

// snapshot is a server's state at one moment, its counts since it began.
type snapshot struct {
	Err         string        `json:",omitempty"`
	At          time.Duration // since the server's start
	CPU         time.Duration // user and system time of the process
	Mallocs     uint64        // allocations
	Count       uint64        // bytes or datagrams received or sent, by the mode
	Memory      int64         // HeapAlloc + StackInuse, after two collections if asked
	Retransmits int64         // segments sent again; -1 if the engine doesn't tell
}

// Commands to a server.
const (
	cmdSnapshot = "snapshot"
	cmdMemory   = "memory" // a snapshot after two garbage collections
)

// clientOrder asks the client for load.
type clientOrder struct {
	Mode       mode
	Server     netip.Addr
	Source     netip.Addr // of the client's connections
	Warm, Time time.Duration
}

// clientReport is what the client answers: once with Begin when the measured time
// starts, and once at its end.
type clientReport struct {
	Begin          bool          `json:",omitempty"`
	Err            string        `json:",omitempty"`
	Elapsed        time.Duration `json:",omitempty"`
	Count          uint64        `json:",omitempty"` // operations, or bytes
	P50, P99, P999 time.Duration `json:",omitempty"`
	Opening        time.Duration `json:",omitempty"` // all the connections of a crowd
}

// peer is the other end of a pair of pipes with a line of JSON a message.
type peer struct {
	in  *bufio.Reader
	out io.Writer
}

func stdioPeer() *peer { return &peer{in: bufio.NewReader(os.Stdin), out: os.Stdout} }

func (p *peer) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

func (p *peer) receive(v any) error {
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("bad message %q: %w", line, err)
	}
	return nil
}
