package tcpsim

import (
	"io"
	"testing"
	"time"

	"github.com/netduet/netduet/tcp"
)

// TestTimeoutAfterUndo loses the first segment and its retransmission, and has all others
// arrive later than a timeout takes. Their reports take the first timeout back (RFC 5682), and the
// retransmission is believed to be in flight from then on. The next timeout has to send the
// segment again nevertheless: there is nothing else to wait for.
func TestTimeoutAfterUndo(t *testing.T) {
	for _, cc := range []string{"cubic", "reno", "bbr"} {
		for _, segments := range []int{2, 3, 5, 9} {
			path := Path{Delay: 25 * time.Millisecond}
			end := tcp.Config{MSS: 1460, NoDelay: true, NoTailLossProbe: true, Controller: tcp.ControllerByName(cc)}
			cfg := Config{Seed: 1, AtoB: path, BtoA: path, A: end, B: end}
			var first tcp.Seq
			sent := make(map[tcp.Seq]int)
			cfg.Fate = func(fromA bool, n int, seg *tcp.Segment) (f Fate) {
				if !fromA || len(seg.Payload) == 0 {
					return f
				}
				if len(sent) == 0 {
					first = seg.Seq
				}
				sent[seg.Seq]++
				if seg.Seq == first {
					f.Drop = sent[seg.Seq] <= 2
				} else if sent[seg.Seq] == 1 {
					f.Late = 300 * time.Millisecond
				}
				return f
			}
			s := New(cfg)
			tr := s.Transfer(s.A, s.B, segments*1448)
			s.Run(20*time.Second, func() bool { return tr.Err != nil || tr.End != nil })
			in := s.A.Conn.Info()
			if tr.End != io.EOF || tr.Read != segments*1448 {
				t.Errorf("%s, %d segments: %d bytes after %v, the first segment was sent %d times: %+v", cc, segments, tr.Read, s.Elapsed(), sent[first], in)
			} else if in.SpuriousTimeouts != 1 || in.Timeouts != 2 || sent[first] != 3 {
				t.Errorf("%s, %d segments: the first segment was sent %d times, %d timeouts, %d taken back: %+v", cc, segments, sent[first], in.Timeouts, in.SpuriousTimeouts, in)
			}
		}
	}
}
