package tcp

import "time"

// BBRModel is what a connection's BBR believes, for tests over simulated paths.
type BBRModel struct {
	MaxBw, Bw                 float64
	MinRTT                    time.Duration
	Rounds                    uint64
	Startup, Drain, ProbesRTT bool
	InFlight, Window          int
}

// BBR returns it. The connection's controller is BBR.
func (c *Conn) BBR() BBRModel {
	b := c.cc.(*bbr)
	return BBRModel{
		MaxBw: b.maxBw, Bw: b.bw, MinRTT: b.minRTT, Rounds: b.rounds, Startup: b.state == bbrStartup, Drain: b.state == bbrDrain,
		ProbesRTT: b.state == bbrProbeRTT, InFlight: c.inFlight() * c.payloadMSS(), Window: b.Window(),
	}
}
