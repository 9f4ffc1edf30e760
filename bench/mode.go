package main

import (
	"fmt"
	"regexp"
)

// kind is what client and server do together.
type kind string

const (
	bulkIn        kind = "bulk-in"       // the client sends
	bulkOut       kind = "bulk-out"      // the server sends
	pingPong      kind = "pingpong"      // a message there and back
	connect       kind = "connect"       // connect, one byte there and back, the client closes
	serverCloses  kind = "server-closes" // the same, closed by the server
	httpKeepAlive kind = "http"          // GET over connections that stay
	udpIn         kind = "udp-in"        // the client floods
	udpOut        kind = "udp-out"       // the server floods
	udpPingPong   kind = "udp-pingpong"  // a datagram there and back
	parked        kind = "parked"        // idle connections, nobody reading
	reading       kind = "reading"       // idle connections, each with a blocked reader
	crowd         kind = "crowd"         // messages there and back on many connections in turn
)

// mode is one thing to measure.
type mode struct {
	Kind  kind
	Conns int // connections, sockets or workers
	Size  int // bytes of a message
}

func (m mode) String() string {
	switch m.Kind {
	case bulkIn, bulkOut, connect, serverCloses, httpKeepAlive, crowd:
		return fmt.Sprintf("%s/%d", m.Kind, m.Conns)
	case pingPong, udpPingPong:
		return fmt.Sprintf("%s/%dB/%d", m.Kind, m.Size, m.Conns)
	case parked, reading:
		return fmt.Sprintf("memory/%s/%d", m.Kind, m.Conns)
	}
	return fmt.Sprintf("%s/%dB", m.Kind, m.Size)
}

// memory reports whether the mode measures bytes a connection and no rate.
func (m mode) memory() bool { return m.Kind == parked || m.Kind == reading }

// bulk reports whether the mode counts bytes and not operations.
func (m mode) bulk() bool { return m.Kind == bulkIn || m.Kind == bulkOut }

// allModes is what a run measures, idle of them with that many idle connections, and one
// with traffic on that many of many, if any.
func allModes(idle, many int) []mode {
	list := []mode{
		{bulkIn, 1, 0}, {bulkIn, 8, 0},
		{bulkOut, 1, 0}, {bulkOut, 8, 0},
		{pingPong, 1, 1}, {pingPong, 64, 1},
		{pingPong, 1, 1024}, {pingPong, 64, 1024},
		{connect, 1, 1}, {connect, 32, 1}, {serverCloses, 32, 1},
		{httpKeepAlive, 32, 0},
		{udpIn, 1, 64}, {udpOut, 1, 64}, {udpPingPong, 64, 64},
		{parked, idle, 1}, {reading, idle, 1},
	}
	if many > 0 {
		list = append(list, mode{crowd, many, 64})
	}
	return list
}

// selectModes returns those whose name re matches.
func selectModes(list []mode, re *regexp.Regexp) []mode {
	var out []mode
	for _, m := range list {
		if re.MatchString(m.String()) {
			out = append(out, m)
		}
	}
	return out
}
