package tcp

import (
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// What was sent again less than a round trip ago arrived the first time, and gives no
// sample; a round trip later it does.
func TestRateOfRepeated(t *testing.T) {
	now := clock.Time(time.Hour)
	for _, c := range []struct {
		ago   time.Duration
		flags rangeFlags
		found bool
	}{
		{10 * time.Millisecond, rangeEver, false},
		{46 * time.Millisecond, rangeEver, false},
		{48 * time.Millisecond, rangeEver, true}, // round trips vary, as for RACK
		{10 * time.Millisecond, 0, true},
	} {
		var n Conn
		n.rtt.min = 50 * time.Millisecond
		n.rateDelivered(now, &sentRange{sentAt: now.Add(-c.ago), flags: c.flags})
		if n.rate.found != c.found {
			t.Errorf("sent %v ago, flags %#x: a sample: %v", c.ago, c.flags, n.rate.found)
		}
	}
}
