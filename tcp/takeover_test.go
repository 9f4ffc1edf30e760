package tcp

import (
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// A controller that replaces another goes on from its window and threshold, and a
// connection tells the new one of what follows.
func TestTakeOver(t *testing.T) {
	const mss = 1000
	now := clock.Time(time.Hour)
	for _, name := range []string{"reno", "cubic", "bbr"} {
		cc := ControllerByName(name)()
		cc.Init(now, mss, 0)
		cc.TakeOver(42*mss, 30*mss)
		if w := cc.Window(); w != 42*mss {
			t.Errorf("%s: window %d after taking over 42 segments", name, w/mss)
		}
		if th := cc.Threshold(); name != "bbr" && th != 30*mss {
			t.Errorf("%s: threshold %d after taking over 30 segments", name, th/mss)
		}
	}
	c := Conn{state: StateEstablished, sndMSS: mss, cc: NewReno()}
	c.cc.Init(now, mss, 0)
	c.cc.TakeOver(42*mss, 30*mss)
	c.SetController(now, NewCubic())
	if _, ok := c.cc.(*cubic); !ok || c.cc.Window() != 42*mss {
		t.Errorf("the connection has %T with a window of %d", c.cc, c.cc.Window())
	}
}
